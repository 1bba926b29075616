"""Warns in the log while the disk of the home has little room; a worker keeps one for as long as it runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from baton.logs import get_logger
from baton.settings.core import Settings
from workspaces.store.disk_space import room

EVERY = timedelta(seconds=30)
AGAIN = timedelta(minutes=30)
"""Until a warning is repeated."""

_log = get_logger(__name__)


@asynccontextmanager
async def watching_the_disk(settings: Settings) -> AsyncIterator[None]:
    """Look now and then while the context is open."""
    looking = asyncio.create_task(_look_for_ever(settings))
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


async def _look_for_ever(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    warned = float("-inf")
    while True:
        with suppress(OSError):
            found = room(settings)
            if not found.low:
                warned = float("-inf")
            elif loop.time() - warned > AGAIN.total_seconds():
                warned = loop.time()
                _log.warning("the disk is nearly full", free_bytes=found.free, advice=found.words)
        await asyncio.sleep(EVERY.total_seconds())
