"""File locks that wait without blocking the event loop, between processes and between attempts in one process alike.

An flock(2) belongs to the open file, so two attempts in one process exclude each other like two processes do; it ends
with its holder, however that dies.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_FIRST_WAIT = 0.001
_LONGEST_WAIT = 0.05


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold the lock at `path`; children do not inherit it."""
    wait = _FIRST_WAIT
    while (descriptor := _try(path)) is None:
        await asyncio.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held_briefly(path: Path) -> Iterator[None]:
    """Hold the lock at `path` in a thread, which waits: for work of milliseconds, on a file that is never removed."""
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _try(path: Path) -> int | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever removed the directory meanwhile removed this lock with it: then it protects nothing.
        held, there = os.fstat(descriptor), os.stat(path)
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    if (held.st_dev, held.st_ino) != (there.st_dev, there.st_ino):
        os.close(descriptor)
        return None
    return descriptor
