"""The protection of a paid answer: a cancellation waits until a received answer is in the store."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class PaidAnswer:
    """The state of an answer between its receipt and its commit; only in between is a cancellation delayed."""

    def __init__(self) -> None:
        self._here = False
        self._cancelled = False

    def mark_received(self) -> None:
        """Mark that an answer is received."""
        self._here = True

    def mark_stored(self) -> None:
        """Mark that the answer is in the store. Raises CancelledError if a cancellation came meanwhile."""
        self._here = False
        if self._cancelled:
            raise asyncio.CancelledError

    async def run_uncancelled(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run the work and return its result, also if a cancellation came after the answer."""
        task = asyncio.ensure_future(work)
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                self._cancelled = True
                if not self._here:
                    task.cancel()
        return task.result()
