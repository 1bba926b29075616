"""What the parts of a run that works on GitHub share."""

from dataclasses import dataclass

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.records.issue import GitHubIssue
    from baton.records.run import RunRequest
    from workflows.books import Books
    from workflows.driving import Driver
    from workflows.escalation import Escalations
    from workflows.hearing import Hearing
    from workflows.insisting import Insistence
    from workflows.outward import Outward
    from workflows.steps import Host


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
