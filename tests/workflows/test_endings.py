"""Each way in which a run can end, by the error that ended its work: status, reason, and how its execution ends."""

import asyncio

import pytest
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, RetryState

from baton.records.run import RunStatus
from workflows.calls.workspace_host import StepFailed
from workflows.decisions.escalation import Abort, Skip
from workflows.endings import FINISHED, STOPPED_BY_HAND, RunEnding, ending_of
from workflows.github.inbox import GitHubEnding
from workflows.github.issue_run import EndedByGitHub

FAILED_STEP = StepFailed("No space is left on the disk.", "DiskFull", retried=False)


def cancelled_activity() -> ActivityError:
    """Return an activity's error as a cancellation of the workflow causes it."""
    error = ActivityError(
        "cancelled",
        scheduled_event_id=1,
        started_event_id=2,
        identity="",
        activity_type="take_turn",
        activity_id="1",
        retry_state=RetryState.CANCEL_REQUESTED,
    )
    error.__cause__ = CancelledError("cancelled")
    return error


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (
            EndedByGitHub(GitHubEnding("merged", "The pull request was merged.")),
            RunEnding(RunStatus.DONE, "The pull request was merged.", "returns", set_aside=True),
        ),
        (EndedByGitHub(GitHubEnding("closed", "It was closed.")), RunEnding(RunStatus.STOPPED, "It was closed.")),
        (
            EndedByGitHub(GitHubEnding("stopped", "The issue was closed.")),
            RunEnding(RunStatus.STOPPED, "The issue was closed."),
        ),
        (
            Abort("The run was stopped at decision D1."),
            RunEnding(RunStatus.STOPPED, "The run was stopped at decision D1."),
        ),
        (
            Skip("skipped at decision D2"),
            RunEnding(
                RunStatus.STOPPED,
                "The merged result has not passed its tests, so it is not published: skipped at decision D2.",
            ),
        ),
        (FAILED_STEP, RunEnding(RunStatus.FAILED, "No space is left on the disk.", failure=FAILED_STEP)),
        (asyncio.CancelledError(), RunEnding(RunStatus.STOPPED, STOPPED_BY_HAND, "reraises")),
        (cancelled_activity(), RunEnding(RunStatus.STOPPED, STOPPED_BY_HAND, "reraises")),
        (ApplicationError("no such queue"), RunEnding(RunStatus.FAILED, "The run failed: no such queue")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_decides_how_the_run_ends(error: BaseException, ending: RunEnding) -> None:
    assert ending_of(error) == ending


def test_a_stop_from_github_says_who_stopped_the_run() -> None:
    ending = ending_of(asyncio.CancelledError(), "The run was stopped by @ada; its work is kept.")
    assert ending is not None
    assert ending.reason == "The run was stopped by @ada; its work is kept."


def test_a_fault_of_the_code_ends_no_run() -> None:
    assert ending_of(LookupError("a fault")) is None
    assert ending_of(GeneratorExit()) is None


def test_work_that_was_carried_out_ends_well() -> None:
    assert (FINISHED.status, FINISHED.leaves) == (RunStatus.DONE, "returns")
