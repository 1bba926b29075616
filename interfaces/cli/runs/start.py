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
from baton.identifiers import TASK_QUEUE, is_run_queue, run_queue
from baton.records.run import Guide, RunRequest, RunStatus
from baton.text.request_details import request_details
from interfaces.cli.terminal.output import one_line, program_name
from interfaces.cli.terminal.runner import Farewell
from system.uncancellable import finish_work
from workers.run_queues import RunOrigin
from workers.temporal_service import TemporalService
from workflows.state.visibility import REPO, STATUS

UNSTARTED = "Interrupted before the run was started."
"""The farewell of a command that starts a run, until the run is started."""


async def complete_start(start: Coroutine[Any, Any, None], run: str, farewell: Farewell) -> None:
    """Complete the start of a run even when interrupted, so that the farewell says truly whether there is a run."""

    async def begin() -> None:
        await start
        farewell.text = (
            f"Interrupted. The run {run} keeps its work: `{program_name()} watch {run}` goes on with it,"
            f" `{program_name()} stop {run}` ends it."
        )

    await finish_work(begin())


def choose_queue(service: TemporalService, request: RunRequest, *, detached: bool) -> str:
    """Return the task queue for a new run.

    At a configured service a command works on its own run only. A detached run goes to the workers of the service,
    unless its repository is a path: that is a path of this machine, so a worker of this machine adopts the run.
    """
    if service.embedded or (detached and not RunOrigin.from_here(request.repo).machine):
        return TASK_QUEUE
    return run_queue(request.run)


async def start_run(
    service: TemporalService,
    request: RunRequest,
    words: Guide | None = None,
    *,
    queue: str = TASK_QUEUE,
    host: str = "",
    home: str = "",
) -> None:
    """Start the workflow of a run on a task queue, with a message to its agents.

    `host` is the id of the host whose command works on the run; empty for a detached run, whose
    starter's host id is `home`. Raises UsageError where the run's id is taken.
    """
    origin = RunOrigin.from_here(request.repo, host, home).to_memo() if is_run_queue(queue) else {"repo": request.repo}
    try:
        await service.client.start_workflow(
            "Pipeline",
            request,
            id=request.run,
            task_queue=queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            memo={**origin, "task": request.task[:200], "base": request.base or ""},
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
