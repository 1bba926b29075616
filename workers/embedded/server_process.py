"""The process of the embedded Temporal server, behind its door (`workers.embedded.private_network`)."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.embedded.child_process import die_with_parent, wait_until
from workers.embedded.server_files import ServerFiles, UserLock

START_LIMIT = 30.0
"""Seconds for the server to answer."""

STOP_LIMIT = 10.0
"""Seconds for the server to stop before it is killed. It takes about one."""

_DOOR = str(Path(__file__).with_name("private_network.py"))


class CannotStart(Exception):
    """The server does not come up; the message is for the person."""


@dataclass(frozen=True)
class Readiness:
    """The message of the door once the server answers."""

    inner_port: int
    """Port that is open to every process of this machine; 0 in a network namespace."""
    users_known: bool
    """Whether the kernel tells the users of connections apart."""


class ServerProcess:
    """One server process at a time, with the lock that it inherits and the pipe of its door."""

    def __init__(self, files: ServerFiles) -> None:
        self._files = files
        self.lock = UserLock(files.server_lock)
        self.started = 0.0
        """Time of the last start (`time.monotonic`)."""
        self._process: subprocess.Popen[bytes] | None = None
        self._door = -1
        """The reading end of the door's pipe, which ends with the door."""

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last process; None where there was none, or it still runs."""
        return None if self._process is None else self._process.returncode

    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    def start_process(self, command: Sequence[str], api: socket.socket, ui: socket.socket) -> int:
        """Start the server behind its door, which takes the listening sockets over; return the process id.

        Raises CannotStart if the command cannot be executed.
        """
        self._door, status = os.pipe()
        os.set_blocking(self._door, False)
        inherited = (status, api.fileno(), ui.fileno(), self.lock.descriptor)
        self.started = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _DOOR, *map(str, inherited), str(self._files.tls), "--", *command],
                stdin=subprocess.DEVNULL,
                cwd=self._files.directory,
                env=_server_environment(self._files.directory),
                pass_fds=inherited,
                preexec_fn=die_with_parent(),
            )
        except OSError as error:
            raise CannotStart(f"{command[0]} cannot be started: {error.strerror}.") from error
        finally:
            os.close(status)
        return self._process.pid

    def wait_until_ready(self, is_stopping: Callable[[], bool]) -> Readiness | None:
        """Wait for the message of the door; None if the server ended, did not answer in time, or is to stop."""
        message = b""

        def is_decided() -> bool:
            nonlocal message
            with contextlib.suppress(BlockingIOError):
                piece = os.read(self._door, 100)
                message += piece
                return piece == b"" or message.endswith(b"\n")
            return not self.is_running() or is_stopping()

        wait_until(is_decided, START_LIMIT)
        fields = message.decode("ascii", "replace").split()
        return Readiness(int(fields[1]), bool(int(fields[2]))) if len(fields) == 3 else None

    def door_has_ended(self) -> bool:
        """Whether the door's process is gone, so that no client reaches the server any more."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._door, 100) == b""
        return False

    def stop_process(self) -> None:
        """Stop the server, by SIGKILL after `STOP_LIMIT`; a no-op where none runs."""
        if self._door >= 0:
            os.close(self._door)
            self._door = -1
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def stop_orphan(self, process: int) -> None:
        """Stop the server of a supervisor that was killed: two servers must not share a database.

        `process` is its recorded id; 0 where none is known. Raises CannotStart if it does not end.
        """
        if self.lock.try_exclusive():
            return
        # While its lock is held the process lives, so the recorded id still is its own.
        for number, limit in ((signal.SIGTERM, STOP_LIMIT), (signal.SIGKILL, 5.0)):
            if process:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            if wait_until(self.lock.try_exclusive, limit):
                return
        raise CannotStart(
            f"Another Temporal server still uses {self._files.database} (process {process or 'unknown'}): end it."
        )


def _server_environment(directory: Path) -> dict[str, str]:
    """Return the server's environment: no key, and no setting that would change its behaviour.

    A user that is not in /etc/passwd (`docker -u`, LDAP) has no name but the one in `USER`, and without a name and a
    home the server does not start: https://pkg.go.dev/os/user#Current
    """
    return {
        "HOME": str(directory),
        "USER": "baton",
        "PATH": os.defpath,
        "TEMPORAL_VERSION_CHECK_DISABLED": "1",
    }
