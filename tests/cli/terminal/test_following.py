"""Following a run whose workflow code fails: said in one sentence, and not waited for without end."""

import asyncio

import pytest
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from baton.errors import BatonError
from interfaces.cli.views.follow import follow_run
from interfaces.cli.views.live_view import PlainView
from tests.conftest import HANGS
from workers.temporal_service import TemporalService


@workflow.defn(name="Pipeline")
class Broken:
    """A workflow of another version, whose code does not fit."""

    @workflow.run
    async def run(self) -> None:
        raise TypeError("step() got an unexpected argument")


async def test_a_workflow_that_cannot_go_on_is_no_endless_wait(
    service: TemporalService, run_id: str, task_queue: str
) -> None:
    worker = Worker(
        service.client, task_queue=task_queue, workflows=[Broken], workflow_runner=UnsandboxedWorkflowRunner()
    )
    async with worker:
        handle = await service.client.start_workflow("Pipeline", id=run_id, task_queue=task_queue)
        async with asyncio.timeout(HANGS.total_seconds()):
            with pytest.raises(
                BatonError, match=r"cannot go on with this version of Baton: step\(\) got an unexpected"
            ):
                await follow_run(service, run_id, PlainView(), None)
        await handle.terminate()
