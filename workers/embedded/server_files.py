"""The files through which commands that share a BATON_HOME share its embedded server: locks, and a record of it.

`users.lock` is held shared by every user, for as long as it uses the server; a process that gets it exclusively knows
that no user is left. `keeper.lock` is held by the one supervisor, `server.lock` by the server itself through an
inherited descriptor. The kernel releases them when a process dies, however it dies.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from workspaces.store.private_home import close_home, make_private


@dataclass(frozen=True)
class ServerFiles:
    """Paths of the embedded server of one BATON_HOME."""

    directory: Path

    @classmethod
    def open_home(cls, home: Path) -> "ServerFiles":
        """Return the files of this home; make the directory if it is missing."""
        close_home(home)
        directory = home / "server"
        make_private(directory)
        return cls(directory)

    @property
    def users_lock(self) -> Path:
        """Held shared by every user."""
        return self.directory / "users.lock"

    @property
    def leavers_lock(self) -> Path:
        """Held exclusively by a user while it checks whether it is the last one."""
        return self.directory / "leavers.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held exclusively by the supervisor."""
        return self.directory / "keeper.lock"

    @property
    def server_lock(self) -> Path:
        """Held by the server process: held without a supervisor means that the server was orphaned."""
        return self.directory / "server.lock"

    @property
    def record(self) -> Path:
        """The supervisor's record for the users (`ServerRecord`)."""
        return self.directory / "server.json"

    @property
    def ports(self) -> Path:
        """The ports of the last start, so that links to the Web UI stay valid where that is possible."""
        return self.directory / "ports"

    @property
    def codec(self) -> Path:
        """Port and token of the codec server, so that an open Web UI reaches it after a restart."""
        return self.directory / "codec"

    @property
    def tls(self) -> Path:
        """Directory of the keys and certificates for processes of this home (`workers.embedded.certificates`)."""
        return self.directory / "tls"

    @property
    def profile(self) -> Path:
        """Configuration file for the `temporal` command: address and certificates of the running server."""
        return self.directory / "temporal.toml"

    @property
    def database(self) -> Path:
        """The server's SQLite file."""
        return self.directory / "temporal.sqlite"

    @property
    def log(self) -> Path:
        """Output of supervisor and server."""
        return self.directory / "log"


class UserLock:
    """An advisory lock (flock) on a file that never waits; the kernel releases it when the process ends."""

    def __init__(self, path: Path) -> None:
        # Closed on exec, so that no tool or server that is started later holds the lock.
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_shared(self) -> bool:
        """Take the lock shared; False if another process holds it exclusively."""
        return self._try_lock(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Take the lock exclusively; False if another process holds it. A failed attempt may lose a shared lock."""
        return self._try_lock(fcntl.LOCK_EX)

    def _try_lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Release the lock; idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def is_held(path: Path) -> bool:
    """Whether another process holds the lock exclusively now."""
    lock = UserLock(path)
    try:
        return not lock.try_shared()
    finally:
        lock.close()


@dataclass(frozen=True)
class ServerRecord:
    """The contents of `server.json`. Every supervisor writes an id of its own, so that an old record is recognised."""

    id: str
    state: Literal["starting", "running", "ailing", "failed"]
    """`ailing`: the server dies repeatedly; the supervisor waits longer each time, and `message` has the reason."""
    keeper: int
    """Process id of the supervisor."""
    server: int = 0
    address: str = ""
    web_ui: str = ""
    message: str = ""
    deaths: int = 0
    """Deaths and failed starts of the server in a row."""
    tls: bool = False
    """Whether the server asks for a certificate; that of an older Baton does not."""
    inner_port: int = 0
    """The server's own port, if every process of this machine can reach it without a certificate; 0 if none can."""
    users_known: bool = True
    """Whether the Web UI can check the user of a connection."""


def write_record(files: ServerFiles, record: ServerRecord) -> None:
    """Replace the record atomically; only the owner may read it."""
    draft = files.record.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(record), file)
    draft.replace(files.record)


def read_record(files: ServerFiles) -> ServerRecord | None:
    """Return the record; None where it is missing or invalid."""
    try:
        data = json.loads(files.record.read_text())
        return ServerRecord(**{field.name: data[field.name] for field in fields(ServerRecord) if field.name in data})
    except (OSError, ValueError, TypeError):
        return None
