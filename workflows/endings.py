"""The ways in which a run can end: one pure table from the error that ended its work to how its books are closed."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from baton.records.run import RunStatus
    from baton.text.truncation import cut_text
    from workflows.calls.workspace_host import StepFailed
    from workflows.decisions.escalation import Abort, Skip
    from workflows.github.issue_run import EndedByGitHub

STOPPED_BY_HAND = "The run was stopped; its work is kept in the store."


@dataclass(frozen=True)
class RunEnding:
    """The status and the reason with which a run is closed, and how its execution ends then."""

    status: RunStatus
    reason: str = ""
    leaves: Literal["returns", "fails", "reraises"] = "fails"
    """Return the document, fail with the reason, or raise the error again, as Temporal expects of a cancellation."""
    set_aside: bool = False
    """Whether unfinished tasks and open decisions are given up though the run ends well."""
    failure: StepFailed | None = None
    """The failed step, for the run's list of errors."""


FINISHED = RunEnding(RunStatus.DONE, leaves="returns")
"""The end of a run whose work was carried out."""


def ending_of(error: BaseException, stopped_because: str = "") -> RunEnding | None:
    """Return how a run ends by the error that ended its work; None for a fault of the code.

    Such a fault fails the workflow task and not the run, which goes on once the fault is repaired.
    `stopped_because` is why GitHub stopped the run, where it did.
    """
    match error:
        case EndedByGitHub(ending=over) if over.kind == "merged":
            return RunEnding(RunStatus.DONE, over.reason, "returns", set_aside=True)
        case EndedByGitHub(ending=over):
            return RunEnding(RunStatus.STOPPED, over.reason)
        case Abort():
            return RunEnding(RunStatus.STOPPED, str(error))
        case Skip():
            unpublished = f"The merged result has not passed its tests, so it is not published: {error}."
            return RunEnding(RunStatus.STOPPED, unpublished)
        case StepFailed():
            return RunEnding(RunStatus.FAILED, str(error), failure=error)
        case asyncio.CancelledError():
            return RunEnding(RunStatus.STOPPED, stopped_because or STOPPED_BY_HAND, "reraises")
        case Exception() if is_cancelled_exception(error):
            return RunEnding(RunStatus.STOPPED, stopped_because or STOPPED_BY_HAND, "reraises")
        case FailureError():
            return RunEnding(RunStatus.FAILED, cut_text(f"The run failed: {error.cause or error}", 2_000))
    return None
