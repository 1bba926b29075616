"""Control groups of commands: the kernel bounds the memory and the processes of each command, and of all together.

A worker makes a group `baton-<pid>-<random>` inside the one it runs in, and in it one group for each command. It holds
a lock on its group for as long as it lives. A group without a lock was left by a worker that was killed; the next
worker that starts kills its processes and removes it.
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

from workspaces.sandbox.cgroup_hierarchy import (
    NoGroups,
    Place,
    places,
    read_counters,
    read_number,
    read_words,
    write_number,
)

PREFIX = "baton-"
_OURS = re.compile(r"baton-\d+-[0-9a-f]{8}")
"""Matches the names of `_make_locked`; groups of other programs may have the same prefix."""
_REMOVE_SECONDS = 0.25


@dataclass(frozen=True)
class Met:
    """The events of a group's limits."""

    killed: int = 0
    """Number of processes that the kernel killed for their memory."""
    at_limit: bool = False
    """Whether the group's own limit was met instead of that of all groups."""
    refused: int = 0
    """Number of processes and threads that could not be started."""


class Group:
    """The group of one command."""

    def __init__(self, places: list[tuple[Place, Path]], memory: int) -> None:
        self._places = places
        self._memory = memory

    @property
    def entrances(self) -> list[str]:
        """Files into which a process writes 0 to enter the group."""
        return [str(path / "cgroup.procs") for _, path in self._places]

    def met(self) -> Met:
        """Return the events of the limits so far."""
        killed = refused = 0
        at_limit = False
        for place, path in self._places:
            if "memory" in place.controllers:
                events = read_counters(path / ("memory.oom_control" if place.version == 1 else "memory.events"))
                killed += events.get("oom_kill", 0)
                if place.version == 1:
                    at_limit = at_limit or read_number(path / "memory.max_usage_in_bytes") >= self._memory - (1 << 20)
                else:
                    at_limit = at_limit or events.get("oom", 0) > 0
            if "pids" in place.controllers:
                refused += read_counters(path / "pids.events").get("max", 0)
        return Met(killed, at_limit, refused)

    def remove(self, patience: float = _REMOVE_SECONDS) -> bool:
        """Kill the remaining processes and remove the group; return whether it is gone after `patience` seconds."""
        gone = [_remove(path, patience) for _, path in self._places]
        return all(gone)


class Groups:
    """A worker's own group, with the groups of its commands in it."""

    def __init__(self, memory_total: int, processes_total: int) -> None:
        """Make the worker's group. Raises NoGroups if that is impossible."""
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
        """Version of the control groups: 1 or 2."""
        return self._tops[0][0].version

    def make(self, memory: int, processes: int) -> Group:
        """Make a group for one command. Raises OSError if that has become impossible."""
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
                    # Kill the command as a whole, because the rest of a test run would only hang.
                    write_number(path / "memory.oom.group", 1)
        except OSError:
            group.remove()
            raise
        return group

    def end(self, group: Group) -> None:
        """Remove a command's group; one that cannot be removed yet is removed when the next is made."""
        if not group.remove():
            self._left.append(group)

    def close(self) -> None:
        """Remove all groups; a no-op in a fork, which has the same objects."""
        if self._owner != os.getpid():
            return
        for _, top, lock in self._tops:
            _remove(top)
            os.close(lock)
        self._tops = []


def sweep(parent: Path) -> None:
    """Remove the groups of workers that were killed."""
    for path in parent.glob(f"{PREFIX}*"):
        if not _OURS.fullmatch(path.name) or not path.is_dir():
            continue
        with contextlib.suppress(OSError), _locked(path):
            _remove(path)


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
        except BaseException:  # on any error: only this function knows the descriptor
            os.close(lock)
            raise
        if path.exists():
            return path, lock
        # A worker that is starting took it for an abandoned one and removed it.
        os.close(lock)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of an abandoned group. Raises BlockingIOError if a worker holds it."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _remove(path: Path, patience: float = _REMOVE_SECONDS) -> bool:
    """Kill the processes of a group and of those in it, and remove the groups; return whether they are gone."""
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
        for number in read_words(path / "cgroup.procs"):
            # Never this process; 0 stands for a process of another namespace.
            if int(number) not in (0, os.getpid()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(number), signal.SIGKILL)
