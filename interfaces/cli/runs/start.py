"""The start of a run's workflow, completed even when the command that starts it is interrupted."""

from collections.abc import Coroutine
from typing import Any

from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from baton.errors import UsageError
from baton.naming import TASK_QUEUE
from baton.records.run import Guide, RunRequest, RunStatus
from baton.text.request_details import request_details
from interfaces.cli.terminal.output import one_line, program
from interfaces.cli.terminal.runner import Farewell
from system.uncancellable import finish
from workers.temporal_service import TemporalService
from workflows.state.visibility import REPO, STATUS

UNSTARTED = "Interrupted before the run was started."
"""The farewell of a command that starts a run, until the run is started."""


async def see_through(start: Coroutine[Any, Any, None], run: str, farewell: Farewell) -> None:
    """Complete the start of a run even when interrupted, so that the farewell says truly whether there is a run."""

    async def begin() -> None:
        await start
        farewell.text = (
            f"Interrupted. The run {run} keeps its work: `{program()} watch {run}` goes on with it,"
            f" `{program()} stop {run}` ends it."
        )

    await finish(begin())


async def start_run(service: TemporalService, request: RunRequest, words: Guide | None = None) -> None:
    """Start the workflow of a run, with a message to its agents; raises UsageError if its id is taken."""
    try:
        await service.client.start_workflow(
            "Pipeline",
            request,
            id=request.run,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            memo={"repo": request.repo, "task": request.task[:200], "base": request.base or ""},
            search_attributes=TypedSearchAttributes(
                [SearchAttributePair(REPO, request.repo), SearchAttributePair(STATUS, RunStatus.PLANNING.value)]
            ),
            static_summary=one_line(request.task, 180),
            static_details=request_details(request),
            start_signal="guide" if words else None,
            start_signal_args=[words] if words else [],
        )
    except WorkflowAlreadyStartedError as error:
        raise UsageError(f"There is a run {request.run} already: choose another --run-id.") from error
