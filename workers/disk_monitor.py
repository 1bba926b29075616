"""The disk monitor of a worker: it logs a warning while the disk of the home has little free space."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from baton.logs import get_logger
from baton.settings.core import Settings
from workspaces.store.disk_space import measure_disk_space

CHECK_INTERVAL = timedelta(seconds=30)
REPEAT_AFTER = timedelta(minutes=30)
"""Between two warnings of the same shortage."""

_log = get_logger(__name__)


@asynccontextmanager
async def monitor_disk(settings: Settings) -> AsyncIterator[None]:
    """Check the free space every `CHECK_INTERVAL` while the context is open."""
    monitoring = asyncio.create_task(_check_disk_repeatedly(settings))
    try:
        yield
    finally:
        monitoring.cancel()
        with suppress(asyncio.CancelledError):
            await monitoring


async def _check_disk_repeatedly(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    warned = float("-inf")
    while True:
        with suppress(OSError):
            found = measure_disk_space(settings)
            if not found.is_low:
                warned = float("-inf")
            elif loop.time() - warned > REPEAT_AFTER.total_seconds():
                warned = loop.time()
                _log.warning("the disk is nearly full", free_bytes=found.free, advice=found.describe_space)
        await asyncio.sleep(CHECK_INTERVAL.total_seconds())
