"""The context that the GitHub parts of a run share."""

from dataclasses import dataclass

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.records.issue import GitHubIssue
    from workflows.calls.github_queues import GitHubQueues
    from workflows.decisions.escalation import Escalations
    from workflows.github.inbox import GitHubInbox
    from workflows.stages.run_steps import RunSteps
    from workflows.stages.task_scheduler import TaskScheduler
    from workflows.state.run_context import RunContext


@dataclass(frozen=True)
class GitHubContext:
    """One run, its issue, and the parts that serve it."""

    context: RunContext
    issue: GitHubIssue
    escalations: Escalations
    steps: RunSteps
    driver: TaskScheduler
    hearing: GitHubInbox
    outward: GitHubQueues
