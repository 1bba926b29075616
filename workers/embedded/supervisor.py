"""The keeper: the process that starts the embedded Temporal server, restarts it, and stops it when nobody is left.

`workers.embedded.server` starts it, detached from the terminal:
`python -m workers.embedded.supervisor DIRECTORY PORT UI_PORT CODEC_PORT -- COMMAND...`.
It uses the standard library only, so it is there in a few hundredths of a second and stays small.
With a CODEC_PORT it keeps the codec server of the Web UI beside the server.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from system.ports import PortTaken, free_port, is_free, listen
from workers.embedded.server_files import FileLock, ServerFiles, ServerRecord, read_record, write_record

POLL = 0.1
"""Seconds between two looks at the users' lock and at the server."""

START_LIMIT = 30.0
"""Seconds that the server may take until it answers."""

STOP_LIMIT = 10.0
"""Seconds that the server may take to stop before it is killed. It takes about one."""

LOCK_LIMIT = 2.0
"""Seconds after which a lock is held by another keeper, and not by a user that looks."""

RESTART_WAITS = (0.2, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each of the quick restarts of a server that died."""

LONGEST_WAIT = 600.0
"""After the quick ones each wait is twice the one before, up to this many seconds."""

HEALTHY_AFTER = 60.0
"""A server that has lived this many seconds has its restarts forgiven."""

NUDGE = signal.SIGUSR1
"""By this signal a newcomer asks for an attempt now: what kept the server from living may have been mended."""

_TAIL = 20_000
"""Bytes of the log's end in which its last line is looked for."""

_PR_SET_PDEATHSIG = 1  # https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html


_OWN = "keeper: "
"""Before each line that the keeper itself writes into the log."""

_DOOR = str(Path(__file__).with_name("private_network.py"))


class CannotStart(Exception):
    """The server does not come up; the message is for the person."""


class Keeper:
    """One keeper's state: its locks, its record, and the server process."""

    def __init__(self, files: ServerFiles, port: int, ui_port: int, codec_port: int, command: list[str]) -> None:
        self.files = files
        self.wanted = (port, ui_port)
        self.codec_port = codec_port
        self.codec: subprocess.Popen[bytes] | None = None
        self.codec_deaths = 0
        self.codec_due = 0.0
        """When the codec server may be started again."""
        self.command = command
        self.lock = FileLock(files.keeper_lock)
        self.users = FileLock(files.users_lock)
        self.server_lock = FileLock(files.server_lock)
        self.record = ServerRecord(id=uuid.uuid4().hex, state="starting", keeper=os.getpid())
        self.server: subprocess.Popen[bytes] | None = None
        self.door = -1
        """The reading end of the door's pipe; it ends when the door does."""
        self.started = 0.0
        self.deaths = 0
        """How often in a row the server died, or did not come up, without having lived for a while."""
        self.told_to_stop = False
        self.nudged = False

    def run(self) -> int:
        """Keep the server until nobody is left; the process's exit code."""
        if not self._take_lock():
            return 0
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(NUDGE, self._hurry)
        try:
            if self._abandoned():
                # Of several keepers that were started at once this one waited, and those who asked have left meanwhile.
                return 0
            earlier = read_record(self.files)
            orphan = earlier.server if earlier else 0
            self._say(state="starting", server=orphan)
            self._end_orphan(orphan)
            self._start()
            self._watch()
        except CannotStart as error:
            self._end_server()
            self._say(state="failed", message=str(error))
            return 1
        else:
            self._end_server()
            self.files.record.unlink(missing_ok=True)
            return 0
        finally:
            if self.codec is not None:
                self.codec.terminate()
                self.codec.wait()
            # In this order: whoever gets the users' lock after us finds no keeper.
            self.lock.close()
            self.users.close()

    def _take_lock(self) -> bool:
        """Take the keeper's lock; False where another keeper has it.

        A user that looks whether a keeper lives holds this lock for a moment, hence more than one attempt.
        """
        deadline = time.monotonic() + LOCK_LIMIT
        while not self.lock.try_exclusive():
            record = read_record(self.files)
            if time.monotonic() > deadline or (record is not None and _lives(record.keeper)):
                return False
            time.sleep(0.02)
        return True

    def _stop(self, _signal: int, _frame: object) -> None:
        self.told_to_stop = True

    def _hurry(self, _signal: int, _frame: object) -> None:
        self.nudged = True

    def _say(self, **changes: object) -> None:
        self.record = replace(self.record, **changes)  # type: ignore[arg-type]
        write_record(self.files, self.record)

    def _abandoned(self) -> bool:
        return self.told_to_stop or self.users.try_exclusive()

    def _watch(self) -> None:
        while not self._abandoned():
            if self.server is not None and self.server.poll() is None and self._door_ended():
                self._note("the server's door is gone")
                self._end_server()
            if self.server is not None and self.server.poll() is None:
                if time.monotonic() - self.started > HEALTHY_AFTER and self.deaths:
                    self.deaths = 0
                    self._say(deaths=0)
                if self.codec is not None and self.codec.poll() is not None and time.monotonic() > self.codec_due:
                    self._restart_codec(self.codec.returncode)
                time.sleep(POLL)
                continue
            self._restart()

    def _restart(self) -> None:
        """Start a server that died, after a wait that grows with the times it died in a row. This never gives up."""
        wait = self._wait()
        ended = "" if self.server is None else f" with {self.server.returncode}"
        self._note(f"the server ended{ended} and is started again in {wait:g} s")
        self._end_server()
        self.deaths += 1
        # Before the record says that the server ails: whoever reads it may ask for an attempt at once.
        self.nudged = False
        if self.deaths > len(RESTART_WAITS):
            # From here on it is no passing fault: those who use the server tell their person.
            self._say(
                state="ailing",
                deaths=self.deaths,
                server=0,
                message=f"The embedded Temporal server died {self.deaths} times in a row; it is started again in"
                f" {wait:g} s, or when a command asks for it. {last_words(self.files)}",
            )
        else:
            self._say(deaths=self.deaths)
        if _within(wait, lambda: self.nudged or self._abandoned()) and not self.nudged:
            return
        try:
            self._start()
        except CannotStart as error:
            self._note(f"the server did not come up: {error}")
            self._end_server()

    def _wait(self) -> float:
        """Seconds before the next restart."""
        if self.deaths < len(RESTART_WAITS):
            return RESTART_WAITS[self.deaths]
        return min(RESTART_WAITS[-1] * 2.0 ** (self.deaths - len(RESTART_WAITS) + 1), LONGEST_WAIT)

    def _note(self, words: str) -> None:
        sys.stderr.write(f"{_OWN}{words}\n")
        sys.stderr.flush()

    def _start(self) -> None:
        """Start the server and wait until it answers. After a restart the ports stay what they were."""
        known = self.record.address != ""
        for attempt in range(3):
            port, ui_port = self._last_ports() if known else self._ports()
            try:
                with listen(port) as api, listen(ui_port) as ui:
                    self._open(api, ui)
            except PortTaken:
                taken, ready = True, None
            else:
                taken, ready = False, self._ready()
            if ready is not None:
                self.files.ports.write_text(f"{port} {ui_port}\n")
                if self.codec_port and self.codec is None:
                    self._start_codec()
                self._write_profile(f"127.0.0.1:{port}")
                self._say(
                    state="running",
                    message="",
                    address=f"127.0.0.1:{port}",
                    web_ui=f"http://127.0.0.1:{ui_port}",
                    tls=True,
                    inner_port=ready[0],
                    users_known=bool(ready[1]),
                )
                return
            self._end_server()
            # Only where another program was quicker: a server that dies does so at any port.
            if not taken or known or 0 not in self.wanted or attempt == 2:
                break
        raise CannotStart(f"The embedded Temporal server did not come up. {last_words(self.files)}")

    def _open(self, api: socket.socket, ui: socket.socket) -> None:
        """Start the server behind its door (`workers.embedded.private_network`), which has the listening sockets."""
        self.door, status = os.pipe()
        os.set_blocking(self.door, False)
        handed = (status, api.fileno(), ui.fileno(), self.server_lock.descriptor)
        self.started = time.monotonic()
        try:
            self.server = subprocess.Popen(
                [sys.executable, "-I", "-S", _DOOR, *map(str, handed), str(self.files.tls), "--", *self.command],
                stdin=subprocess.DEVNULL,
                cwd=self.files.directory,
                env=_environment(self.files.directory),
                pass_fds=handed,
                preexec_fn=_die_with_parent(),
            )
        except OSError as error:
            raise CannotStart(f"{self.command[0]} cannot be started: {error.strerror}.") from error
        finally:
            os.close(status)
        self._say(server=self.server.pid)

    def _ready(self) -> tuple[int, int] | None:
        """Wait for the door's word: the inner port that is open to others, and whether it knows users."""
        said = b""

        def heard() -> bool:
            nonlocal said
            with contextlib.suppress(BlockingIOError):
                piece = os.read(self.door, 100)
                said += piece
                return piece == b"" or said.endswith(b"\n")
            return self._ended() or self.told_to_stop

        _within(START_LIMIT, heard)
        words = said.decode("ascii", "replace").split()
        return (int(words[1]), int(words[2])) if len(words) == 3 else None

    def _door_ended(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            return os.read(self.door, 100) == b""
        return False

    def _write_profile(self, address: str) -> None:
        """For the `temporal` command: https://docs.temporal.io/develop/environment-configuration"""
        tls = {"server_ca_cert_path": "ca.pem", "client_cert_path": "client.pem", "client_key_path": "client.key"}
        lines = ["[profile.default]", f'address = "{address}"', 'namespace = "default"', "", "[profile.default.tls]"]
        lines += [f"{key} = {json.dumps(str(self.files.tls / name))}" for key, name in tls.items()]
        draft = self.files.profile.with_suffix(f".{os.getpid()}")
        draft.write_text("\n".join([*lines, ""]))
        draft.replace(self.files.profile)

    def _restart_codec(self, code: int) -> None:
        self.codec_deaths += 1
        wait = min(2.0**self.codec_deaths, LONGEST_WAIT)
        self.codec_due = time.monotonic() + wait
        self._note(f"the codec server ended with {code} and is started again; the next time not before {wait:g} s")
        self._start_codec()

    def _start_codec(self) -> None:
        """The codec server; unlike the server's, its environment has the keys."""
        origins = [f"http://{host}:{self._last_ports()[1]}" for host in ("127.0.0.1", "localhost")]
        self.codec = subprocess.Popen(
            [sys.executable, "-P", "-m", "workers.codec_server", str(self.codec_port), *origins],
            stdin=subprocess.DEVNULL,
            cwd=self.files.directory,
            preexec_fn=_die_with_parent(),
        )

    def _ports(self) -> tuple[int, int]:
        for port, setting in zip(self.wanted, ("BATON_SERVER_PORT (--port)", "BATON_UI_PORT (--ui-port)"), strict=True):
            if port and not is_free(port):
                raise CannotStart(
                    f"Port {port} is in use by another program: set {setting} to another port,"
                    " or leave it out for a free one."
                )
        # The last ports, if they are free: links stay true, and users whose keeper was killed find the server again.
        port, ui_port = (
            wanted or free_port(last) for wanted, last in zip(self.wanted, self._last_ports(), strict=True)
        )
        return port, ui_port

    def _last_ports(self) -> tuple[int, int]:
        try:
            port, ui_port = map(int, self.files.ports.read_text().split())
        except (OSError, ValueError):
            return 0, 0
        return port, ui_port

    def _ended(self) -> bool:
        return self.server is None or self.server.poll() is not None

    def _end_server(self) -> None:
        if self.door >= 0:
            os.close(self.door)
            self.door = -1
        if self.server is None or self.server.poll() is not None:
            return
        self.server.terminate()
        try:
            self.server.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()

    def _end_orphan(self, orphan: int) -> None:
        """End the server of a keeper that was killed: two servers must never share a database."""
        if self.server_lock.try_exclusive():
            return
        # While its lock is held the process lives, so the recorded id still is its own.
        for number, limit in ((signal.SIGTERM, STOP_LIMIT), (signal.SIGKILL, 5.0)):
            if orphan:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(orphan, number)
            if _within(limit, self.server_lock.try_exclusive):
                return
        raise CannotStart(
            f"Another Temporal server still uses {self.files.database} (process {orphan or 'unknown'}): end it."
        )


def last_words(files: ServerFiles) -> str:
    """Where the log is, and the last line that the server wrote into it, in a sentence."""
    try:
        with files.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    said = [line.strip() for line in lines if line.strip() and not line.startswith(_OWN)]
    if not said:
        return f"Its log {files.log} says nothing."
    shown = "".join(letter if letter.isprintable() else "?" for letter in said[-1])
    return f"Its log is {files.log}, with the last line: {shown[:300]}"


def _environment(directory: Path) -> dict[str, str]:
    """The server's environment. It holds nothing of ours: no key, and no setting that would change its doing.

    A user that is not in /etc/passwd (`docker -u`, LDAP) has no name but the one in `USER`, and without a name and a
    home the server does not start: https://pkg.go.dev/os/user#Current
    """
    return {
        "HOME": str(directory),
        "USER": "baton",
        "PATH": os.defpath,
        "TEMPORAL_VERSION_CHECK_DISABLED": "1",
    }


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(min(POLL, 0.02))
    return True


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _die_with_parent() -> Callable[[], None] | None:
    """Linux: the server is told to stop when the keeper dies, so that a killed keeper leaves nothing behind."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask


def main(arguments: list[str]) -> int:
    """Entry of the process."""
    directory, port, ui_port, codec_port, _, *command = arguments
    keeper = Keeper(ServerFiles(Path(directory)), int(port), int(ui_port), int(codec_port), command)
    return keeper.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
