"""Control groups of commands: the kernel bounds the memory and the processes of each, and of all together.

A worker makes a group of its own beneath the one it runs in, `baton-<pid>-<random>`, and in it one for each command.
It holds a lock on it for as long as it lives: a group without a lock was left by a worker that was killed, and the next
one to start ends what is in it and removes it. Version 1 needs a writable hierarchy only; in version 2 a group with
processes cannot have controlled children, so the worker first moves into one beneath, where systemd delegated that
(`Delegate=yes`) or where the group is a container's own.
"""

import contextlib
import fcntl
import os
import re
import secrets
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = "baton-"
_OURS = re.compile(r"baton-\d+-[0-9a-f]{8}")
"""The names that `_make_locked` gives; a container, a slice or a service of others may begin like them, too."""
LEAF = "baton-worker"
"""Where the worker itself is in version 2; `DelegateSubgroup=` of the units names it, too."""

_REMOVE_SECONDS = 0.25


class NoGroups(Exception):
    """No groups can be made here; the message says why."""


@dataclass(frozen=True)
class Place:
    """A directory of the kernel's in which groups can be made, and which controllers bound them there."""

    path: Path
    version: int
    controllers: frozenset[str]

    def bound(self, group: Path, memory: int, processes: int) -> None:
        """Write a group's limits."""
        if "memory" in self.controllers and self.version == 1:
            _write(group / "memory.limit_in_bytes", memory)
            if (group / "memory.memsw.limit_in_bytes").exists():
                _write(group / "memory.memsw.limit_in_bytes", memory)
        elif "memory" in self.controllers:
            _write(group / "memory.max", memory)
            if (group / "memory.swap.max").exists():
                _write(group / "memory.swap.max", 0)
        if "pids" in self.controllers:
            _write(group / "pids.max", processes)


@dataclass(frozen=True)
class Met:
    """How often a group met its limits."""

    killed: int = 0
    """Processes that the kernel killed for memory."""
    at_limit: bool = False
    """Whether it was the group's own limit, not that of all groups."""
    refused: int = 0
    """Processes or threads that could not be started."""


class Group:
    """The group of one command."""

    def __init__(self, places: list[tuple[Place, Path]], memory: int) -> None:
        self._places = places
        self._memory = memory

    @property
    def entrances(self) -> list[str]:
        """Files into which a process writes 0 to enter."""
        return [str(path / "cgroup.procs") for _, path in self._places]

    def met(self) -> Met:
        """What the limits did so far."""
        killed = refused = 0
        at_limit = False
        for place, path in self._places:
            if "memory" in place.controllers:
                events = _numbers(path / ("memory.oom_control" if place.version == 1 else "memory.events"))
                killed += events.get("oom_kill", 0)
                if place.version == 1:
                    at_limit = at_limit or _number(path / "memory.max_usage_in_bytes") >= self._memory - (1 << 20)
                else:
                    at_limit = at_limit or events.get("oom", 0) > 0
            if "pids" in place.controllers:
                refused += _numbers(path / "pids.events").get("max", 0)
        return Met(killed, at_limit, refused)

    def remove(self, patience: float = _REMOVE_SECONDS) -> bool:
        """End what is left in it and remove it; whether all of it is gone after so many seconds."""
        gone = [_remove(path, patience) for _, path in self._places]
        return all(gone)


class Groups:
    """A worker's own group, and those of its commands beneath it."""

    def __init__(self, memory_total: int, processes_total: int) -> None:
        """Raises NoGroups where none can be made."""
        self._owner = os.getpid()
        self._tops: list[tuple[Place, Path, int]] = []
        self._left: list[Group] = []
        self._count = 0
        try:
            for place in places():
                sweep(place.path)
                top, lock = _make_locked(place.path)
                self._tops.append((place, top, lock))
                if place.version == 2:
                    (top / "cgroup.subtree_control").write_text("+memory +pids")
                place.bound(top, memory_total, processes_total)
        except OSError as error:
            self.close()
            raise NoGroups(f"{error.filename or 'control groups'}: {error.strerror or error}") from error
        except NoGroups:
            self.close()
            raise

    @property
    def version(self) -> int:
        """Of control groups: 1 or 2."""
        return self._tops[0][0].version

    def make(self, memory: int, processes: int) -> Group:
        """A group for one command; raises OSError where that is not possible any more."""
        self._left = [group for group in self._left if not group.remove()]
        self._count += 1
        made: list[tuple[Place, Path]] = []
        group = Group(made, memory)
        try:
            for place, top, _ in self._tops:
                path = top / f"command-{self._count}"
                path.mkdir()
                made.append((place, path))
                place.bound(path, memory, processes)
                if place.version == 2 and (path / "memory.oom.group").exists():
                    # The command as a whole: half of a test run would only hang.
                    _write(path / "memory.oom.group", 1)
        except OSError:
            group.remove()
            raise
        return group

    def end(self, group: Group) -> None:
        """Remove a command's group; what cannot be removed yet is when the next is made."""
        if not group.remove():
            self._left.append(group)

    def close(self) -> None:
        """Remove everything; only in the process that made it, for a fork has the same objects."""
        if self._owner != os.getpid():
            return
        for _, top, lock in self._tops:
            _remove(top)
            os.close(lock)
        self._tops = []


def places() -> list[Place]:
    """Where groups can be made for this process; raises NoGroups with the reason where they cannot."""
    own = _own_groups()
    if "memory" in own and "pids" in own:
        found = [Place(own["memory"], 1, frozenset({"memory"})), Place(own["pids"], 1, frozenset({"pids"}))]
        if own["memory"] == own["pids"]:
            found = [Place(own["memory"], 1, frozenset({"memory", "pids"}))]
        for place in found:
            if not os.access(place.path, os.W_OK):
                raise NoGroups(f"{place.path} cannot be written")
        return found
    if "" in own:
        return [Place(_delegated(own[""]), 2, frozenset({"memory", "pids"}))]
    raise NoGroups("there are no control groups with the controllers memory and pids")


def sweep(parent: Path) -> None:
    """Remove the groups of workers that are no more."""
    for path in parent.glob(f"{PREFIX}*"):
        if not _OURS.fullmatch(path.name) or not path.is_dir():
            continue
        with contextlib.suppress(OSError), _locked(path):
            _remove(path)


def memory_of_this_group() -> int | None:
    """The least of the limits on the memory of this process's groups; None where there is none."""
    try:
        own = _own_groups()
        if "memory" in own:
            limit = _numbers(own["memory"] / "memory.stat").get("hierarchical_memory_limit")
            return limit if limit and limit < 1 << 60 else None
        limits = [_number(path / "memory.max") for path in [own[""], *own[""].parents]] if "" in own else []
        return min((limit for limit in limits if limit), default=None)
    except (OSError, NoGroups):
        return None


def processes_of_this_group() -> int | None:
    """The least of the limits on the number of this process's groups; None where there is none."""
    try:
        own = _own_groups()
        path = own.get("pids") or own.get("")
        limits = [_number(above / "pids.max") for above in [path, *path.parents]] if path else []
        return min((limit for limit in limits if limit), default=None)
    except (OSError, NoGroups):
        return None


def _own_groups(proc: Path = Path("/proc/self")) -> dict[str, Path]:
    """The directory of this process's group by controller (version 1); under an empty name that of version 2."""
    mounts: dict[str, tuple[str, str]] = {}
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, mounted = before.split(" ")[3:5]
        if kind == "cgroup2":
            mounts.setdefault("", (root, mounted))
        elif kind == "cgroup":
            for option in options.split(" ")[-1].split(","):
                mounts.setdefault(option, (root, mounted))
    found: dict[str, Path] = {}
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in mounts:
                root, mounted = mounts[controller]
                # In a container the mount shows a part: the group is named from the top or, with a name space, from it.
                inside = path.removeprefix(root) if root != "/" and path.startswith(root) else path
                directory = Path(mounted, inside.lstrip("/"))
                if ".." not in directory.parts and directory.is_dir():
                    found[controller] = directory
    return found


def _delegated(own: Path) -> Path:
    """The group of version 2 beneath which a worker may make its own; moves this process where that is needed."""
    base = own.parent if own.name == LEAF else own
    if not {"memory", "pids"} <= set(_words(base / "cgroup.controllers")):
        raise NoGroups(f"{base} has not the controllers memory and pids")
    if not os.access(base, os.W_OK) or not os.access(base / "cgroup.procs", os.W_OK):
        raise NoGroups(f"{base} cannot be written; a service has it with Delegate=yes")
    control = base / "cgroup.subtree_control"
    if {"memory", "pids"} <= set(_words(control)):
        return base
    top = not (base / "cgroup.type").exists()
    if not top and not _is_ours(base):
        raise NoGroups(f"{base} is not delegated to this service (Delegate=yes)")
    if not top:
        leaf = base / LEAF
        leaf.mkdir(exist_ok=True)
        for _ in range(10):
            left = _words(base / "cgroup.procs")
            for number in left:
                with contextlib.suppress(ProcessLookupError):
                    (leaf / "cgroup.procs").write_text(number)
            if not left:
                break
    control.write_text("+memory +pids")
    return base


def _is_ours(base: Path) -> bool:
    """Whether systemd gave the group away, or it is the top of what a container sees."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(base, name) == b"1":
                return True
    return not (base.parent / "cgroup.procs").exists()


def _make_locked(parent: Path) -> tuple[Path, int]:
    while True:
        path = parent / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        path.mkdir(mode=0o755)
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except BaseException:  # whatever it was, the descriptor is nobody else's to close
            os.close(lock)
            raise
        if path.exists():
            return path, lock
        # A worker that starts just now took it for one that was left.
        os.close(lock)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a group that is nobody's; raises BlockingIOError where it is somebody's."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _remove(path: Path, patience: float = _REMOVE_SECONDS) -> bool:
    """Kill what is in a group and those beneath it, and remove them; whether they are gone."""
    deadline = time.monotonic() + patience
    while True:
        try:
            for below in [entry for entry in path.iterdir() if entry.is_dir()]:
                _remove(below, patience)
            path.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            _kill(path)
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.002)
        else:
            return True


def _kill(path: Path) -> None:
    with contextlib.suppress(OSError):
        if (path / "cgroup.kill").exists():
            (path / "cgroup.kill").write_text("1")
            return
        for number in _words(path / "cgroup.procs"):
            # Never this process, whatever stands there: 0 is how one of another name space is shown.
            if int(number) not in (0, os.getpid()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(number), signal.SIGKILL)


def _write(path: Path, value: int) -> None:
    path.write_text(str(value))


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def _number(path: Path) -> int:
    """The number in a file; 0 where it says `max`, or is not there."""
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _numbers(path: Path) -> dict[str, int]:
    """The lines `name number` of a file."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
