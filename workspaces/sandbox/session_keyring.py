"""The start of processes for commands, each with a new, empty session keyring.

A keyring belongs to the credentials of a thread, and processes that the thread starts inherit it. So one thread of this
process starts them all and changes its keyring before each start: the keyrings of other threads do not change, and no
code runs between fork and exec. The thread lives as long as the process, because to the kernel it is the parent
(PR_SET_PDEATHSIG, which bubblewrap sets).
"""

import asyncio
import ctypes
import errno
import os
import platform
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

_KEYCTL = {"x86_64": 250, "aarch64": 219}
_JOIN_SESSION_KEYRING = 1


class SpawnedProcess:
    """A started process; call `wait` on the event loop that started it."""

    def __init__(self, process: "subprocess.Popen[bytes]", pidfd: int) -> None:
        self._process = process
        self._pidfd = pidfd
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait_ended(self) -> int:
        """Wait for its end, reap it and return its exit code."""
        if self._pidfd < 0:
            return await asyncio.to_thread(self._process.wait)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._pidfd, ended.set)
        try:
            await ended.wait()
            return self._process.wait()
        finally:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


async def spawn_process(
    argv: Sequence[str], *, output: int, env: Mapping[str, str], cwd: Path | None = None, pass_fds: Sequence[int] = ()
) -> SpawnedProcess:
    """Start a process in a session of its own, without input. Raises OSError if it cannot be started."""
    start: partial[subprocess.Popen[bytes]] = partial(
        subprocess.Popen,
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=dict(env),
        cwd=cwd,
        pass_fds=list(pass_fds),
        start_new_session=True,
    )
    process = await asyncio.wrap_future(_spawn_thread().submit_start(start))
    try:
        return SpawnedProcess(process, os.pidfd_open(process.pid))
    except (AttributeError, OSError):
        return SpawnedProcess(process, -1)


class _SpawnThread:
    """The thread that starts processes, one after the other."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._asked: queue.SimpleQueue[tuple[partial[subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
        self._asked = queue.SimpleQueue()
        threading.Thread(target=self._serve_starts, name="spawning", daemon=True).start()

    def submit_start(self, start: "partial[subprocess.Popen[bytes]]") -> "Future[subprocess.Popen[bytes]]":
        done: Future[subprocess.Popen[bytes]] = Future()
        self._asked.put((start, done))
        return done

    def _serve_starts(self) -> None:
        own = False
        while True:
            start, done = self._asked.get()
            try:
                own = _new_keyring() or own
                if not own:
                    raise OSError(errno.EDQUOT, "no session keyring can be made for a command")
                done.set_result(start())
            except BaseException as error:  # the caller gets the error; the thread goes on
                done.set_exception(error)


def _new_keyring() -> bool:
    """Give the calling thread a new, empty session keyring. Returns whether it has one that is not the process's.

    True also if the kernel has no keyrings, or if a container's filter forbids the call: then no keys can be read.
    False if the quota of keys is used up: an earlier keyring of this thread serves as well.
    """
    number = _KEYCTL.get(platform.machine())
    if number is None:
        return True
    call = ctypes.CDLL(None, use_errno=True).syscall
    if call(ctypes.c_long(number), ctypes.c_long(_JOIN_SESSION_KEYRING), None) >= 0:
        return True
    return ctypes.get_errno() in (errno.ENOSYS, errno.EPERM, errno.EACCES)


_threads: list[_SpawnThread] = []


def _spawn_thread() -> _SpawnThread:
    if not _threads or _threads[-1].owner != os.getpid():
        _threads[:] = [_SpawnThread()]
    return _threads[-1]
