"""Processes of Baton from the side of the tests: forked from the nursery, signalled, watched until they are dead."""

import asyncio
import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.server_guard import is_refused
from tests.support.time_limits import HANGS

_OURS = ("BATON_", "ANTHROPIC_", "TEMPORAL_")


def inherited_environment(**settings: str) -> dict[str, str]:
    """The environment of the tests with these settings, and no others of ours than the (empty) Temporal profile."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, "TEMPORAL_CONFIG_FILE": os.environ["TEMPORAL_CONFIG_FILE"], **settings}


class BatonProcess:
    """One process."""

    def __init__(self, nursery: "ForkServer", number: int, pid: int) -> None:
        self._nursery = nursery
        self.number = number
        self.pid = pid

    @property
    def returncode(self) -> int | None:
        """Its exit code once it has ended, negative where a signal ended it."""
        return self.wait_for_exit(0)

    def wait_for_exit(self, within: float) -> int | None:
        """Its exit code; None where it lives on so many seconds."""
        return self._nursery.wait_for_exit(self.number, within)

    async def wait(self) -> int:
        """Its exit code, however long that takes."""
        while (code := self.returncode) is None:
            await asyncio.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it still lives."""
        if self.returncode is None:
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.send_signal(signal.SIGKILL)
        await self.wait()

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(HANGS.total_seconds()):
                return await self.wait()
        except TimeoutError:
            await self.kill()
            return -signal.SIGKILL


class PipedProcess(BatonProcess):
    """A process whose streams are pipes; it is used as an `asyncio.subprocess.Process` is."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    async def attach(self, given: int, out: int, err: int) -> None:
        """Take hold of our ends of its stdin, stdout and stderr."""
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(given, "wb", buffering=0)
        )
        self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        (self.stdout, told), (self.stderr, complained) = [await _reader(descriptor) for descriptor in (out, err)]
        self._pipes = [transport, told, complained]

    async def communicate(self, given: bytes = b"") -> tuple[bytes, bytes]:
        """Write to it and close its stdin; what it said, once it has ended."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.stdin.write(given)
            await self.stdin.drain()
        self.stdin.close()
        out, err = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, err

    async def wait(self) -> int:
        """Its exit code, however long that takes."""
        code = await super().wait()
        for pipe in self._pipes:
            pipe.close()
        return code


async def _reader(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader, transport


class ForkServer:
    """`tests.support.nursery`: forks processes of Baton, which spares each the seconds that its imports take."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno())],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Some of its processes are stopped, and the kernel hangs up on whoever is in a group with such a one
                # when the group loses its last tie to a shell: https://man7.org/linux/man-pages/man2/_exit.2.html
                start_new_session=True,
            )
        self._begun: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._number = 0

    def start(
        self, environment: dict[str, str], streams: Sequence[int], cwd: Path | None = None, **be: Any
    ) -> BatonProcess:
        """Start a process with this environment, and these descriptors as its stdin, stdout and stderr."""
        self._number += 1
        place = {"environment": environment, "cwd": str(cwd or Path.cwd()), "refused": is_refused()}
        order = {"id": self._number, **place, **be}
        socket.send_fds(self._socket, [json.dumps(order).encode()], list(streams))
        while self._number not in self._begun:
            self._listen(None)
        return BatonProcess(self, self._number, self._begun[self._number])

    async def start_piped(self, environment: dict[str, str], cwd: Path, **be: Any) -> PipedProcess:
        """Start a process whose streams are pipes to here."""
        pipes = [os.pipe() for _ in range(3)]
        (given, to_it), (out, from_it), (err, also) = pipes
        begun = self.start(environment, [given, from_it, also], cwd, **be)
        for theirs in (given, from_it, also):
            os.close(theirs)
        command = PipedProcess(self, begun.number, begun.pid)
        await command.attach(to_it, out, err)
        return command

    def start_logged(self, environment: dict[str, str], log: Path, **be: Any) -> BatonProcess:
        """Start a process that says what it has to say in a file."""
        with open(os.devnull, "rb") as nothing, log.open("ab") as out:
            return self.start(environment, [nothing.fileno(), out.fileno(), out.fileno()], **be)

    def wait_for_exit(self, number: int, within: float) -> int | None:
        """The exit code of a process; None where it lives on so many seconds."""
        deadline = time.monotonic() + within
        while number not in self._ended:
            left = deadline - time.monotonic()
            if not self._listen(max(left, 0)) and left <= 0:
                return None
        return self._ended[number]

    def close(self) -> None:
        """End the nursery, and with it what is left of its processes."""
        self._socket.close()
        self._process.wait()

    def _listen(self, within: float | None) -> bool:
        if not select.select([self._socket], [], [], within)[0]:
            return False
        told = json.loads(self._socket.recv(1024) or b'{"id": -1}')
        assert told["id"] >= 0, "the nursery has ended"
        (self._begun if "pid" in told else self._ended)[told["id"]] = told.get("pid", told.get("ended"))
        return True


@cache
def fork_server() -> ForkServer:
    """The one of this test process."""
    made = ForkServer()
    atexit.register(made.close)
    return made
