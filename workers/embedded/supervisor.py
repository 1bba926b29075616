"""The supervisor: the process that starts the embedded Temporal server, restarts it, and stops it after its last user.

`workers.embedded.server` starts it, detached from the terminal:
`python -m workers.embedded.supervisor DIRECTORY PORT UI_PORT CODEC_PORT -- COMMAND...`.
It imports no third-party package, so that it starts in a few hundredths of a second and stays small.
With a CODEC_PORT it runs the codec server of the Web UI beside the server.
"""

import json
import os
import signal
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

from system.ports import PortTaken, free_port, is_free, listen_on
from workers.embedded.child_process import is_alive, wait_until
from workers.embedded.codec_process import CodecProcess
from workers.embedded.server_files import ServerFiles, ServerRecord, UserLock, read_record, write_record
from workers.embedded.server_log import describe_last_line, write_note
from workers.embedded.server_process import CannotStart, Readiness, ServerProcess

POLL = 0.1
"""Seconds between two checks of the users' lock and of the server."""

LOCK_LIMIT = 2.0
"""Seconds after which another supervisor holds a lock, and not a user that checks it."""

RESTART_WAITS = (0.2, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each of the quick restarts of a server that died."""

LONGEST_WAIT = 600.0
"""Seconds: after the quick restarts each wait is twice the one before, up to this one."""

HEALTHY_AFTER = 60.0
"""Seconds of life after which the earlier deaths of a server no longer count."""

NUDGE = signal.SIGUSR1
"""By this signal a new user asks for an immediate attempt: the cause of the deaths may have been removed."""


class Supervisor:
    """The supervisor's state: its locks, its record, and the processes of server and codec server."""

    def __init__(self, files: ServerFiles, port: int, ui_port: int, codec_port: int, command: list[str]) -> None:
        self.files = files
        self.wanted = (port, ui_port)
        self.command = command
        self.lock = UserLock(files.supervisor_lock)
        self.users = UserLock(files.users_lock)
        self.server = ServerProcess(files)
        self.codec = CodecProcess(codec_port, files.directory)
        self.record = ServerRecord(id=uuid.uuid4().hex, state="starting", keeper=os.getpid())
        self.deaths = 0
        """Deaths and failed starts of the server in a row, without a healthy time in between."""
        self.told_to_stop = False
        self.nudged = False

    def run(self) -> int:
        """Run the server until its last user has left; return the exit code of the process."""
        if not self._take_lock():
            return 0
        signal.signal(signal.SIGTERM, self._request_stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(NUDGE, self._request_attempt)
        try:
            if self._is_abandoned():
                # Of several supervisors that were started at once this one waited, and all users have left meanwhile.
                return 0
            earlier = read_record(self.files)
            orphan = earlier.server if earlier else 0
            self._update_record(state="starting", server=orphan)
            self.server.stop_orphan(orphan)
            self._start_server()
            self._watch_server()
        except CannotStart as error:
            self.server.stop_process()
            self._update_record(state="failed", message=str(error))
            return 1
        else:
            self.server.stop_process()
            self.files.record.unlink(missing_ok=True)
            return 0
        finally:
            self.codec.stop_process()
            # In this order: a process that gets the users' lock after this one finds no supervisor.
            self.lock.close()
            self.users.close()

    def _take_lock(self) -> bool:
        """Take the supervisor's lock; False if another supervisor has it.

        A user that checks whether a supervisor lives holds this lock briefly, hence more than one attempt.
        """
        deadline = time.monotonic() + LOCK_LIMIT
        while not self.lock.try_exclusive():
            record = read_record(self.files)
            if time.monotonic() > deadline or (record is not None and is_alive(record.keeper)):
                return False
            time.sleep(0.02)
        return True

    def _request_stop(self, _signal: int, _frame: object) -> None:
        self.told_to_stop = True

    def _request_attempt(self, _signal: int, _frame: object) -> None:
        self.nudged = True

    def _update_record(self, **changes: object) -> None:
        self.record = replace(self.record, **changes)  # type: ignore[arg-type]
        write_record(self.files, self.record)

    def _is_abandoned(self) -> bool:
        return self.told_to_stop or self.users.try_exclusive()

    def _watch_server(self) -> None:
        while not self._is_abandoned():
            if self.server.is_running() and self.server.door_has_ended():
                write_note("the process in front of the server (its door) is gone")
                self.server.stop_process()
            if not self.server.is_running():
                self._restart_server()
                continue
            if time.monotonic() - self.server.started > HEALTHY_AFTER and self.deaths:
                self.deaths = 0
                self._update_record(deaths=0)
            self.codec.restart_if_dead()
            time.sleep(POLL)

    def _restart_server(self) -> None:
        """Start a server that died, after a wait that grows with the deaths in a row. It never gives up."""
        wait = self._next_wait()
        code = self.server.exit_code
        ended = "" if code is None else f" with {code}"
        write_note(f"the server ended{ended} and is started again in {wait:g} s")
        self.server.stop_process()
        self.deaths += 1
        # Before the record says that the server ails: its readers may ask for an attempt at once.
        self.nudged = False
        if self.deaths > len(RESTART_WAITS):
            # No passing fault any more: the commands that use the server warn their users.
            self._update_record(
                state="ailing",
                deaths=self.deaths,
                server=0,
                message=f"The embedded Temporal server died {self.deaths} times in a row; it is started again in"
                f" {wait:g} s, or when a command asks for it. {describe_last_line(self.files)}",
            )
        else:
            self._update_record(deaths=self.deaths)
        if wait_until(lambda: self.nudged or self._is_abandoned(), wait) and not self.nudged:
            return
        try:
            self._start_server()
        except CannotStart as error:
            write_note(f"the server did not come up: {error}")
            self.server.stop_process()

    def _next_wait(self) -> float:
        """Return the seconds before the next restart."""
        if self.deaths < len(RESTART_WAITS):
            return RESTART_WAITS[self.deaths]
        return min(RESTART_WAITS[-1] * 2.0 ** (self.deaths - len(RESTART_WAITS) + 1), LONGEST_WAIT)

    def _start_server(self) -> None:
        """Start the server and wait until it answers. After a restart the ports stay the same."""
        known = self.record.address != ""
        for attempt in range(3):
            port, ui_port = self._last_ports() if known else self._choose_ports()
            taken, ready = False, None
            try:
                with listen_on(port) as api, listen_on(ui_port) as ui:
                    self._update_record(server=self.server.start_process(self.command, api, ui))
                ready = self.server.wait_until_ready(lambda: self.told_to_stop)
            except PortTaken:
                taken = True
            if ready is not None:
                self._announce(port, ui_port, ready)
                return
            self.server.stop_process()
            # Again only where another program took a port first: a server that dies does so at any port.
            if not taken or known or 0 not in self.wanted or attempt == 2:
                break
        raise CannotStart(f"The embedded Temporal server did not come up. {describe_last_line(self.files)}")

    def _announce(self, port: int, ui_port: int, ready: Readiness) -> None:
        """Write ports, profile and record for the users, and start the codec server."""
        self.files.ports.write_text(f"{port} {ui_port}\n")
        self.codec.ensure_started(ui_port)
        self._write_profile(f"127.0.0.1:{port}")
        self._update_record(
            state="running",
            message="",
            address=f"127.0.0.1:{port}",
            web_ui=f"http://127.0.0.1:{ui_port}",
            tls=True,
            inner_port=ready.inner_port,
            users_known=ready.users_known,
        )

    def _write_profile(self, address: str) -> None:
        """Write the file for the `temporal` command: https://docs.temporal.io/develop/environment-configuration"""
        tls = {"server_ca_cert_path": "ca.pem", "client_cert_path": "client.pem", "client_key_path": "client.key"}
        lines = ["[profile.default]", f'address = "{address}"', 'namespace = "default"', "", "[profile.default.tls]"]
        lines += [f"{key} = {json.dumps(str(self.files.tls / name))}" for key, name in tls.items()]
        draft = self.files.profile.with_suffix(f".{os.getpid()}")
        draft.write_text("\n".join([*lines, ""]))
        draft.replace(self.files.profile)

    def _choose_ports(self) -> tuple[int, int]:
        """Return the ports of API and Web UI for a first start; raises CannotStart if a configured one is in use."""
        for port, setting in zip(self.wanted, ("BATON_SERVER_PORT (--port)", "BATON_UI_PORT (--ui-port)"), strict=True):
            if port and not is_free(port):
                raise CannotStart(
                    f"Port {port} is in use by another program: set {setting} to another port,"
                    " or leave it out for a free one."
                )
        # The last ports, if they are free: links stay valid, and users whose supervisor was killed reconnect.
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


def main(arguments: list[str]) -> int:
    """Run the process with its command-line arguments; return the exit code."""
    directory, port, ui_port, codec_port, _, *command = arguments
    return Supervisor(ServerFiles(Path(directory)), int(port), int(ui_port), int(codec_port), command).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
