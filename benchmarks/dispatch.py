"""How long the embedded server lets a task wait before a worker gets it, with and without its dispatch limit lifted.

    python -m benchmarks.dispatch

A chain of activities with nothing to do: 100 workflow tasks and 100 activity tasks in a row, as an agent's turns are.
"""

import asyncio
import os
import statistics
import tempfile
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.worker import Worker

TURNS = 100


@activity.defn
async def nothing() -> None:
    """Return at once: a no-op."""


@workflow.defn
class Chain:
    """One activity after the other."""

    @workflow.run
    async def run(self) -> None:
        for _ in range(TURNS):
            await workflow.execute_activity(nothing, task_queue="hands", start_to_close_timeout=timedelta(seconds=10))


async def measure_dispatch(client: Client) -> tuple[list[float], list[float]]:
    """Milliseconds from scheduled to started, of workflow tasks and of activity tasks."""
    async with (
        Worker(client, task_queue="chain", workflows=[Chain]),
        Worker(client, task_queue="hands", activities=[nothing]),
    ):
        handle = await client.start_workflow(Chain.run, id=f"chain-{os.urandom(4).hex()}", task_queue="chain")
        await handle.result()
        scheduled: dict[int, int] = {}
        waits: tuple[list[float], list[float]] = ([], [])
        async for event in handle.fetch_history_events():
            at = event.event_time.ToNanoseconds()
            scheduled[event.event_id] = at
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                origin = event.workflow_task_started_event_attributes.scheduled_event_id
                waits[0].append((at - scheduled[origin]) / 1e6)
            elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                origin = event.activity_task_started_event_attributes.scheduled_event_id
                waits[1].append((at - scheduled[origin]) / 1e6)
        return waits


async def main() -> None:
    """Measure both ways and print a table."""
    from baton.settings.core import read_settings
    from workers.embedded import server
    from workers.temporal_service import connect_service

    lifted = dict(server.DYNAMIC_CONFIG)
    for name, config in (("as shipped", lifted), ("server's default", {})):
        server.DYNAMIC_CONFIG.clear()
        server.DYNAMIC_CONFIG.update(config)
        with tempfile.TemporaryDirectory() as home:
            async with connect_service(read_settings(home=Path(home)), embedded_only=True) as service:
                workflow_tasks, activity_tasks = await measure_dispatch(service.client)
        print(
            f"{name:<18} workflow task {statistics.median(workflow_tasks):5.1f} ms,"
            f" activity {statistics.median(activity_tasks):5.1f} ms (median of {TURNS})"
        )


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)
