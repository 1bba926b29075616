"""Runs work to its end even when the waiter is cancelled, once or many times.

A thread cannot be stopped. Letting go of it would release locks and workspaces while it still writes to them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """The result of `function`; a cancellation is raised once it has come to its end."""
    return await finish(asyncio.to_thread(function, *args, **kwargs))


async def finish(work: Awaitable[_T]) -> _T:
    """The result of work that comes to its end however often the waiter is cancelled; a cancellation is raised then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # read, so that asyncio does not complain of it: the cancellation takes its place
        raise cancelled
    return task.result()
