"""Runs work to its end even when the waiter is cancelled, once or many times.

A thread cannot be stopped. Letting go of it would release locks and workspaces while it still writes to them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

_P = ParamSpec("_P")
_T = TypeVar("_T")

THREADS_PER_STEP = 2
"""A step blocks one at a time; another serves what it runs beside that, as the look at a command's bounds."""

SPARE_THREADS = 16
"""For all that is no step: names to resolve, looks at the disk, what a command does beside its worker."""

_sizes: "WeakKeyDictionary[asyncio.AbstractEventLoop, int]" = WeakKeyDictionary()


def provide_threads(steps: int) -> None:
    """Give the running loop threads for so many steps at once; it never gets fewer than it has.

    By itself it has four more than there are processors, and a step that waits in each of them for a lock or a disk
    would hold up all others, and every name to resolve. Threads are started when they are needed, and kept.
    """
    loop, wanted = asyncio.get_running_loop(), steps * THREADS_PER_STEP + SPARE_THREADS
    if wanted > _sizes.get(loop, 0):
        loop.set_default_executor(ThreadPoolExecutor(wanted, thread_name_prefix="baton"))
        _sizes[loop] = wanted


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
