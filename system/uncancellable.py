"""Work that runs to its end even if the waiter is cancelled, once or many times.

A thread cannot be stopped. To abandon it would release locks and workspaces while it still writes to them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

_P = ParamSpec("_P")
_T = TypeVar("_T")

THREADS_PER_STEP = 2
"""A step blocks in one thread at a time; a second one serves its side work, such as the check of a command's bounds."""

SPARE_THREADS = 16
"""Threads for work that belongs to no step: name resolution, disk checks, the helpers of a command."""

_sizes: "WeakKeyDictionary[asyncio.AbstractEventLoop, int]" = WeakKeyDictionary()


def provide_threads(steps: int) -> None:
    """Give the running loop enough threads for `steps` concurrent steps; the number never falls.

    By default a loop has four threads more than processors. If a step in each of them waits for a lock or a disk, all
    other steps and every name resolution wait, too. Threads start when they are needed and are kept.
    """
    loop, wanted = asyncio.get_running_loop(), steps * THREADS_PER_STEP + SPARE_THREADS
    if wanted > _sizes.get(loop, 0):
        loop.set_default_executor(ThreadPoolExecutor(wanted, thread_name_prefix="baton"))
        _sizes[loop] = wanted


async def run_in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run `function` in a thread and return its result; a cancellation is raised after the function has ended."""
    return await finish_work(asyncio.to_thread(function, *args, **kwargs))


async def finish_work(work: Awaitable[_T]) -> _T:
    """Return the result of `work`, which runs to its end; a cancellation meanwhile is raised after that."""
    task, cancelled = await wait_for_end(work)
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # mark it as retrieved: the cancellation takes its place
        raise cancelled
    return task.result()


async def wait_for_end(work: Awaitable[_T]) -> tuple["asyncio.Future[_T]", asyncio.CancelledError | None]:
    """Wait until `work` has ended; return its future and the last cancellation meanwhile, which the caller raises."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    return task, cancelled
