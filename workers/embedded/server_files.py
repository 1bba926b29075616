"""The files through which commands that share a BATON_HOME share its embedded server: locks, and a record of it.

`users.lock` is held shared by every user, for as long as it uses the server; whoever gets it exclusively knows that
nobody is left. `keeper.lock` is held by the one keeper process, `server.lock` by the server itself through an inherited
descriptor. The kernel lets go of all of them when a process dies, however it dies.
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
    """Where the embedded server of one BATON_HOME keeps its things."""

    directory: Path

    @classmethod
    def under(cls, home: Path) -> "ServerFiles":
        """The files of this home; the directory is made when it is missing."""
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
        """Held exclusively by a user for the moment in which it finds out whether it is the last one."""
        return self.directory / "leavers.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held exclusively by the keeper."""
        return self.directory / "keeper.lock"

    @property
    def server_lock(self) -> Path:
        """Held by the server process: busy without a keeper means that a server was orphaned."""
        return self.directory / "server.lock"

    @property
    def record(self) -> Path:
        """What the keeper tells the users."""
        return self.directory / "server.json"

    @property
    def ports(self) -> Path:
        """The ports of the last start, so that links to the Web UI stay true where that is possible."""
        return self.directory / "ports"

    @property
    def codec(self) -> Path:
        """Port and token of the codec server, so that an open Web UI finds it again."""
        return self.directory / "codec"

    @property
    def tls(self) -> Path:
        """Directory of the keys and certificates that let processes of this home in
        (`workers.embedded.certificates`).
        """
        return self.directory / "tls"

    @property
    def profile(self) -> Path:
        """Configuration file for the `temporal` command: address and certificates of the server that runs."""
        return self.directory / "temporal.toml"

    @property
    def database(self) -> Path:
        """The server's SQLite file."""
        return self.directory / "temporal.sqlite"

    @property
    def log(self) -> Path:
        """Output of keeper and server."""
        return self.directory / "log"


class FileLock:
    """An advisory lock (flock) on a file, never waiting; it is gone when the process is."""

    def __init__(self, path: Path) -> None:
        # Closed on exec, so that no tool or server that is started later keeps a lock alive.
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_shared(self) -> bool:
        """Take the lock together with others; False when somebody holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Take the lock alone; False when anybody holds it. A shared lock held before may be lost in the attempt."""
        return self._try(fcntl.LOCK_EX)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let go; calling it again does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock exclusively right now."""
    lock = FileLock(path)
    try:
        return not lock.try_shared()
    finally:
        lock.close()


@dataclass(frozen=True)
class ServerRecord:
    """What `server.json` says. Every keeper writes under an id of its own, so that an old record is known as old."""

    id: str
    state: Literal["starting", "running", "ailing", "failed"]
    """`ailing`: the server dies again and again; the keeper waits longer each time, and says why in `message`."""
    keeper: int
    server: int = 0
    address: str = ""
    web_ui: str = ""
    message: str = ""
    deaths: int = 0
    """How often in a row the server has died or not come up."""
    tls: bool = False
    """Whether the server asks for a certificate; one that an older Baton started does not."""
    inner_port: int = 0
    """The port behind the door, where it is open to every process of this machine; 0 where it is not."""
    users_known: bool = True
    """Whether the Web UI tells users of this machine apart."""


def write_record(files: ServerFiles, record: ServerRecord) -> None:
    """Replace the record as a whole; only the owner may read it."""
    draft = files.record.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(record), file)
    draft.replace(files.record)


def read_record(files: ServerFiles) -> ServerRecord | None:
    """The record, or None where there is none that can be read."""
    try:
        data = json.loads(files.record.read_text())
        return ServerRecord(**{field.name: data[field.name] for field in fields(ServerRecord) if field.name in data})
    except (OSError, ValueError, TypeError):
        return None
