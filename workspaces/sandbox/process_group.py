"""The run of one process: own session, empty environment, streamed output; time-out and cancellation kill its group.

`sandbox.py` builds the command line. One gap is known: bubblewrap asks the kernel to die with its parent only after the
sandbox is set up, so a worker that gets SIGKILL in the first milliseconds of a command leaves the command running,
isolated and within its limits, until it ends by itself.
"""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from baton.errors import DiskFull
from system.uncancellable import wait_for_end
from workspaces.sandbox.bounds import CommandBound, KillReason
from workspaces.sandbox.command import TIMED_OUT, TOO_MUCH_OUTPUT, CommandResult
from workspaces.sandbox.output_capture import OutputCollector
from workspaces.sandbox.session_keyring import SpawnedProcess, spawn_process

OUTPUT_KILL_LIMIT = 1 << 30
"""Bytes after which a command that does not stop writing is killed, before it fills the disk with its log."""

_PIECE = 1 << 18
_BEGIN_SECONDS = 0.8
_DEATH_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_DRAIN_SECONDS = 0.5
"""Time for a process that escaped its group to close the output pipe; only possible without isolation."""


@dataclass(frozen=True)
class ProcessOutcome:
    """The end of a process; `began` says whether the sandboxed program was started, None without a sandbox."""

    result: CommandResult
    began: bool | None


class _PipeReader:
    """Feeds the bytes of a pipe to a sink, on the event loop, until the pipe ends."""

    def __init__(self, descriptor: int, sink: Callable[[bytes], None]) -> None:
        self._descriptor = descriptor
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read_piece)

    def _read_piece(self) -> None:
        try:
            piece = os.read(self._descriptor, _PIECE)
            if piece:
                self._sink(piece)
                return
            self._finish_reading(None)
        except BlockingIOError:
            return
        except Exception as error:  # errors of the sink, such as a full disk, go to the waiter instead of the loop
            self._finish_reading(error)

    def _finish_reading(self, error: Exception | None) -> None:
        self.close_pipe()
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)

    def close_pipe(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


class _BwrapStatus:
    """Bubblewrap's status lines (`--json-status-fd`): the sandbox's first process, and whether the program ran."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._seen = 0
        self.pidfd = -1
        self.known: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.exited = False

    def add_piece(self, piece: bytes) -> None:
        self._text += piece[: 4096 - len(self._text)]
        *lines, _rest = bytes(self._text).split(b"\n")
        for line in lines[self._seen :]:
            with contextlib.suppress(ValueError, AttributeError):
                document = json.loads(line)
                if self.pidfd < 0 and isinstance(document.get("child-pid"), int):
                    with contextlib.suppress(OSError):
                        self.pidfd = os.pidfd_open(document["child-pid"])
                    if not self.known.done():
                        self.known.set_result(None)
                self.exited = self.exited or "exit-code" in document
        self._seen = len(lines)


async def run_process(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout: float,
    output_limit: int,
    cwd: Path | None = None,
    log: Path | None = None,
    pass_fds: Sequence[int] = (),
    status_fds: tuple[int, int] | None = None,
    bound: CommandBound | None = None,
) -> ProcessOutcome:
    """Run `argv` to its end. Raises OSError if it cannot be started, DiskFull if its log cannot be written.

    `timeout` is in seconds. `status_fds` is the pipe (read, write) for bubblewrap's status; both ends are closed here.
    `bound` decides when the process uses too much. On cancellation all processes of the command are dead before
    CancelledError is raised.
    """
    with contextlib.ExitStack() as unused:  # only this function knows the descriptors if the log or the pipe fails
        for descriptor in status_fds or ():
            unused.callback(os.close, descriptor)
        collector = OutputCollector(output_limit, log)
        unused.callback(_close_collector, collector)
        output_read, output_write = os.pipe()
        unused.pop_all()
    status = _BwrapStatus() if status_fds else None
    readers: list[_PipeReader] = []
    began = time.monotonic()
    timed_out = flooded = False
    stop: KillReason | None = None
    try:
        start = spawn_process(
            argv,
            output=output_write,
            env=env,
            cwd=cwd,
            pass_fds=[*pass_fds, *([status_fds[1]] if status_fds else [])],
        )
        try:
            # To its end: a cancelled start would kill bubblewrap and lose the processes that it has started.
            started, cancelled = await wait_for_end(start)
            process = started.result()
        except BaseException:  # a cancellation, too: only this function knows the descriptors
            os.close(output_read)
            if status_fds:
                os.close(status_fds[0])
            raise
        finally:
            os.close(output_write)
            if status_fds:
                os.close(status_fds[1])
        readers.append(_PipeReader(output_read, collector.add_piece))
        if status_fds and status:
            readers.append(_PipeReader(status_fds[0], status.add_piece))
        exited = asyncio.ensure_future(process.wait_ended())
        try:
            if cancelled is not None:
                raise cancelled
            look = partial(bound.check_usage, process.pid) if bound else None
            timed_out, flooded, stop = await _watch_process(exited, readers[0], collector, began + timeout, look)
        finally:
            killed, again = await wait_for_end(_kill_process(process, exited, status))
            killed.result()
        if again is not None:
            raise again
        # All processes are dead, so both pipes end; only one that escaped without isolation can keep the output open.
        await asyncio.wait([reader.done for reader in readers], timeout=_DRAIN_SECONDS)
        if readers[0].done.done():
            readers[0].done.result()
        collector.close_log()
    finally:
        for reader in readers:
            reader.close_pipe()
            if reader.done.done():
                reader.done.exception()
        if status and status.pidfd >= 0:
            os.close(status.pidfd)
        _close_collector(collector)
    code = process.returncode if process.returncode is not None else -signal.SIGKILL
    exit_code = TIMED_OUT if timed_out else TOO_MUCH_OUTPUT if flooded else code if code >= 0 else 128 - code
    exit_code = stop.exit_code if stop else exit_code
    result = CommandResult(
        exit_code=exit_code,
        output=collector.shortened_text(),
        output_bytes=collector.size,
        digest=collector.content_digest,
        timed_out=timed_out,
        seconds=time.monotonic() - began,
        exceeded=stop.words if stop else "",
        disk_full=stop.disk_full if stop else False,
    )
    ended_here = timed_out or flooded or stop is not None
    return ProcessOutcome(result, (status.exited or ended_here or code < 0) if status else None)


def _close_collector(collector: OutputCollector) -> None:
    with contextlib.suppress(OSError, DiskFull):
        collector.close_log()


async def _watch_process(
    exited: "asyncio.Future[int]",
    output: _PipeReader,
    collector: OutputCollector,
    deadline: float,
    look: Callable[[], KillReason | None] | None,
) -> tuple[bool, bool, KillReason | None]:
    """Wait until the process ends or meets a bound. Returns (timed out, wrote too much, reason to kill it)."""
    waiting: set[asyncio.Future[int] | asyncio.Future[None]] = {exited, output.done}
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return not exited.done(), False, None
        # Poll, because no event tells the size of the output or the usage of the process.
        often = _LOOK_SECONDS if look else 1.0
        done, _ = await asyncio.wait(waiting, timeout=min(left, often), return_when=asyncio.FIRST_COMPLETED)
        if exited in done or exited.done():
            return False, False, None
        if collector.size > OUTPUT_KILL_LIMIT:
            return False, True, None
        if look and not done and (stop := await asyncio.to_thread(look)) and not exited.done():
            return False, False, stop
        if output.done in done:
            if output.done.exception() is not None:
                return False, False, None
            waiting = {exited}


async def _kill_process(process: SpawnedProcess, exited: "asyncio.Future[int]", status: _BwrapStatus | None) -> None:
    if status is not None and status.pidfd < 0:
        # Bubblewrap's child asks to die with its parent only after the sandbox is set up. If the parent is killed
        # before that, the child goes on. So wait for the child's id first, which takes milliseconds.
        first: set[asyncio.Future[int] | asyncio.Future[None]] = {exited, status.known}
        await asyncio.wait(first, timeout=_BEGIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # The session is its own, so the group has its id; daemons that stayed in the group die with it.
        os.killpg(process.pid, signal.SIGKILL)
    waits: list[asyncio.Future[int]] = [exited]
    if status is not None and status.pidfd >= 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(status.pidfd, signal.SIGKILL)
        waits.append(_death_of(status.pidfd))
    await asyncio.wait(waits, timeout=_DEATH_SECONDS)
    if status is not None and status.pidfd >= 0:
        # Bubblewrap does not wait for its child. If this process is the first of a container, it inherits the child and
        # must reap it.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, status.pidfd, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 - WNOHANG does not wait
    for wait in waits:
        wait.cancel()


def _death_of(pidfd: int) -> "asyncio.Future[int]":
    """Return a future that is done when the process of a pidfd is dead, with its PID namespace if it is the first."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    # A separate descriptor, because the caller may close its own.
    watched = os.dup(pidfd)

    def on_death() -> None:
        loop.remove_reader(watched)
        if not future.done():
            future.set_result(0)

    def on_done(_future: "asyncio.Future[int]") -> None:
        loop.remove_reader(watched)
        os.close(watched)

    loop.add_reader(watched, on_death)
    future.add_done_callback(on_done)
    return future
