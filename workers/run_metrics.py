"""Gauges over all runs, recorded every 15 seconds: runs by status, open decisions, free space on the disk."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.common import MetricMeter
from temporalio.service import RPCError

from baton.records.run import RunStatus
from workflows.state.visibility import PENDING_DECISIONS

RECORD_INTERVAL = timedelta(seconds=15)

_OPEN = "WorkflowType = 'Pipeline' AND ExecutionStatus = 'Running'"
_MAX_WAITING = 1_000
"""Runs with open decisions that are read one by one."""


@asynccontextmanager
async def record_run_metrics(client: Client, meter: MetricMeter, home: Path) -> AsyncIterator[None]:
    """Record the gauges while the context is open. Every process that serves metrics reports the same figures."""
    counting = asyncio.create_task(_count_repeatedly(client, meter, home))
    try:
        yield
    finally:
        counting.cancel()
        with suppress(asyncio.CancelledError):
            await counting


async def _count_repeatedly(client: Client, meter: MetricMeter, home: Path) -> None:
    runs = meter.create_gauge("baton_runs", "Runs that have not ended, by status")
    decisions = meter.create_gauge("baton_open_decisions", "Decisions that wait for a person")
    free_space = meter.create_gauge("baton_disk_free_bytes", "Free space on the disk of BATON_HOME", "By")
    while True:
        # A webhook alone needs no home, and may have none.
        with suppress(OSError):
            free_space.set(shutil.disk_usage(home).free)
        # An unreachable server is queried again later; the SDK's metrics show the failed requests.
        with suppress(RPCError):
            for status in RunStatus:
                if not status.is_final:
                    found = await client.count_workflows(f"{_OPEN} AND BatonStatus = '{status.value}'")
                    runs.set(found.count, {"status": status.value})
            decisions.set(await _count_open_decisions(client))
        await asyncio.sleep(RECORD_INTERVAL.total_seconds())


async def _count_open_decisions(client: Client) -> int:
    waiting = client.list_workflows(f"{_OPEN} AND BatonPendingDecisions > 0", limit=_MAX_WAITING)
    return sum([run.typed_search_attributes.get(PENDING_DECISIONS) or 0 async for run in waiting])
