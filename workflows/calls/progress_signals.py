"""What tasks and sessions tell the pipeline of their run: where they stand, and what they wait for."""

from collections.abc import Awaitable, Callable

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from baton.steps.task import TaskNews


async def send(pipeline: str, news: TaskNews) -> None:
    """Tell a pipeline. One that is gone needs no news."""
    try:
        await workflow.get_external_workflow_handle(pipeline).signal("news", news)
    except ApplicationError:
        workflow.logger.warning("the pipeline of this task is gone")


def waits_told(run: str, task: str, round_number: Callable[[], int]) -> Callable[[str], Awaitable[None]]:
    """What a child workflow gives its `Host`, so that people see in the run what it waits for; empty: no more."""

    async def tell(what: str) -> None:
        if workflow.info().parent is None or not workflow.patched("tell-waits"):
            return
        await send(run, TaskNews(task=task, stage="", round=round_number(), waiting_for=what))

    return tell
