"""File locks that wait without blocking the event loop, between processes and between attempts in one process alike.

An flock(2) belongs to the open file, so two attempts in one process exclude each other as two processes do. The lock
ends with the process that holds it, also after SIGKILL.
"""

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_FIRST_WAIT = 0.001
_MAX_WAIT = 0.05
_MAX_BRIEF_WAIT = 0.01


@asynccontextmanager
async def hold_lock(path: Path, limit: timedelta | None = None) -> AsyncIterator[None]:
    """Hold the lock at `path`; child processes do not inherit it.

    With a limit, raises LockHeld if another process or attempt holds it for longer.
    """
    clock = asyncio.get_running_loop().time
    ending = None if limit is None else clock() + limit.total_seconds()
    wait = _FIRST_WAIT
    while (descriptor := _try_lock(path)) is None:
        if ending is not None and clock() > ending:
            raise LockHeld(_describe_holder(path))
        await asyncio.sleep(wait)
        wait = min(wait * 2, _MAX_WAIT)
    try:
        yield
    finally:
        os.close(descriptor)


class LockHeld(Exception):
    """The error for a lock that is not free in time; `holder` describes the process that has it."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"the lock is held by {holder}")
        self.holder = holder


def _describe_holder(path: Path) -> str:
    """Return the process that has the lock, and whether it is stopped (SIGSTOP): such a process keeps the lock without
    end.
    """
    try:
        process = _find_locker(path) or int(path.read_text())
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return "another process"
    return f"process {process}, which is stopped" if state in "Tt" else f"process {process}"


def _find_locker(path: Path) -> int | None:
    """Return the process that the kernel names as the holder; None if it lists no lock on this file (proc_locks(5)).

    A holder cannot always write its id into the file, for instance on a full disk: then the id of an earlier one is
    there.
    """
    status = path.stat()
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for entry in Path("/proc/locks").read_text().splitlines():
        words = entry.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == file:
            return int(words[4])
    return None


@contextmanager
def held_briefly(path: Path, limit: timedelta) -> Iterator[None]:
    """Hold the lock at `path` in a thread, which waits: for work of milliseconds, on a file that is never removed.

    Raises LockHeld if another process holds it for longer than the limit.
    """
    ending = time.monotonic() + limit.total_seconds()
    wait = _FIRST_WAIT
    while (descriptor := _try_lock(path)) is None:
        if time.monotonic() > ending:
            raise LockHeld(_describe_holder(path))
        time.sleep(wait)
        wait = min(wait * 2, _MAX_BRIEF_WAIT)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock at `path` if it is free; yields whether it is. For work that may be left to another process."""
    descriptor = _try_lock(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _try_lock(path: Path) -> int | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The directory may have been removed meanwhile, and this lock with it: then it protects no one.
        held, there = os.fstat(descriptor), os.stat(path)
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        return None
    except BaseException:  # for any error: no one else closes the descriptor
        os.close(descriptor)
        raise
    if (held.st_dev, held.st_ino) != (there.st_dev, there.st_ino):
        os.close(descriptor)
        return None
    with contextlib.suppress(OSError):  # on a full disk the lock holds without the holder's id
        us = b"%d" % os.getpid()
        if os.pread(descriptor, len(us) + 1, 0) != us:  # a change of the file costs a tenth of a millisecond
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, us, 0)
    return descriptor
