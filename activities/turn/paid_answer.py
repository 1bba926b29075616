"""Keeping what was paid for: once an answer is here, a cancellation waits until it is in the store."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Keeping:
    """Whether an answer is here that is not kept yet. Without one, a cancellation ends the work at once."""

    def __init__(self) -> None:
        self._here = False
        self._cancelled = False

    def answered(self) -> None:
        """An answer is here."""
        self._here = True

    def kept(self) -> None:
        """It is in the store. Raises CancelledError where nobody wants the next one any more."""
        self._here = False
        if self._cancelled:
            raise asyncio.CancelledError

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of the work, also where a cancellation came too late to hinder it."""
        task = asyncio.ensure_future(work)
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                self._cancelled = True
                if not self._here:
                    task.cancel()
        return task.result()
