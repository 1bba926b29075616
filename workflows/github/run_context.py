"""What the parts of a run that works on GitHub share."""

from dataclasses import dataclass

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.records.issue import GitHubIssue
    from baton.records.run import RunRequest
    from workflows.calls.github_queues import Outward
    from workflows.calls.workspace_host import Host
    from workflows.decisions.ask_on_failure import Insistence
    from workflows.decisions.escalation import Escalations
    from workflows.github.inbox import Hearing
    from workflows.stages.task_scheduler import Driver
    from workflows.state.run_state import Books


@dataclass(frozen=True)
class Ties:
    """One run, and whoever serves it."""

    request: RunRequest
    issue: GitHubIssue
    books: Books
    host: Host
    escalations: Escalations
    insistence: Insistence
    driver: Driver
    hearing: Hearing
    outward: Outward
