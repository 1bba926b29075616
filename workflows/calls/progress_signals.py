"""Signals of tasks and sessions to the pipeline of their run: their stage and their waits."""

import asyncio
from collections.abc import Awaitable, Callable

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from baton.steps.task import TaskProgressSignal


async def signal_pipeline(pipeline: str, news: TaskProgressSignal) -> None:
    """Tell a pipeline. One that is gone needs no news."""
    try:
        await workflow.get_external_workflow_handle(pipeline).signal("news", news)
    except ApplicationError:
        workflow.logger.warning("the pipeline of this task is gone")


class ProgressSignals:
    """Sends a task's progress to its pipeline, one signal after the other, while the task goes on.

    The command of the signal is given together with that of the stage it tells of, so that the acknowledgement of the
    one and the start of the other share a workflow task.
    """

    def __init__(self) -> None:
        self._sending: asyncio.Task[None] | None = None

    def send_progress(self, news: TaskProgressSignal) -> None:
        """Send progress after the signals before it; a no-op for a task without a parent."""
        parent = workflow.info().parent
        if parent is not None:
            self._sending = asyncio.create_task(self._send_in_order(self._sending, parent.workflow_id, news))

    async def await_delivery(self) -> None:
        """Wait until all signals are delivered: the server drops those that are pending when the workflow closes."""
        if self._sending is not None:
            await self._sending

    @staticmethod
    async def _send_in_order(before: "asyncio.Task[None] | None", pipeline: str, news: TaskProgressSignal) -> None:
        if before is not None:
            await before
        await signal_pipeline(pipeline, news)


def make_wait_reporter(run: str, task: str, round_number: Callable[[], int]) -> Callable[[str], Awaitable[None]]:
    """Return a callback for `WorkspaceHost` that shows a child's waits in its run; an empty text ends a wait."""

    async def tell(what: str) -> None:
        if workflow.info().parent is None or not workflow.patched("tell-waits"):
            return
        await signal_pipeline(run, TaskProgressSignal(task=task, stage="", round=round_number(), waiting_for=what))

    return tell
