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
    CgroupParent,
    CgroupsUnavailable,
    find_parents,
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
class LimitEvents:
    """The events of a group's limits."""

    killed: int = 0
    """Number of processes that the kernel killed for their memory."""
    at_limit: bool = False
    """Whether the group's own limit was met instead of that of all groups."""
    refused: int = 0
    """Number of processes and threads that could not be started."""


class CommandCgroup:
    """The group of one command."""

    def __init__(self, places: list[tuple[CgroupParent, Path]], memory: int) -> None:
        self._places = places
        self._memory = memory

    @property
    def entry_files(self) -> list[str]:
        """Files into which a process writes 0 to enter the group."""
        return [str(path / "cgroup.procs") for _, path in self._places]

    def read_events(self) -> LimitEvents:
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
        return LimitEvents(killed, at_limit, refused)

    def remove_group(self, patience: float = _REMOVE_SECONDS) -> bool:
        """Kill the remaining processes and remove the group; return whether it is gone after `patience` seconds."""
        gone = [_remove_directory(path, patience) for _, path in self._places]
        return all(gone)


class WorkerCgroups:
    """A worker's own group, with the groups of its commands in it."""

    def __init__(self, memory_total: int, processes_total: int) -> None:
        """Make the worker's group. Raises NoGroups if that is impossible."""
        self._owner = os.getpid()
        self._tops: list[tuple[CgroupParent, Path, int]] = []
        self._left: list[CommandCgroup] = []
        self._count = 0
        try:
            for place in find_parents():
                remove_stale_groups(place.path)
                top, lock = _make_locked(place.path)
                self._tops.append((place, top, lock))
                if place.version == 2:
                    (top / "cgroup.subtree_control").write_text("+memory +pids")
                place.write_limits(top, memory_total, processes_total)
        except OSError as error:
            self.remove_all()
            raise CgroupsUnavailable(f"{error.filename or 'control groups'}: {error.strerror or error}") from error
        except CgroupsUnavailable:
            self.remove_all()
            raise

    @property
    def cgroup_version(self) -> int:
        """Version of the control groups: 1 or 2."""
        return self._tops[0][0].version

    def create_group(self, memory: int, processes: int) -> CommandCgroup:
        """Make a group for one command. Raises OSError if that has become impossible."""
        self._left = [group for group in self._left if not group.remove_group()]
        self._count += 1
        made: list[tuple[CgroupParent, Path]] = []
        group = CommandCgroup(made, memory)
        try:
            for place, top, _ in self._tops:
                path = top / f"command-{self._count}"
                path.mkdir()
                made.append((place, path))
                place.write_limits(path, memory, processes)
                if place.version == 2 and (path / "memory.oom.group").exists():
                    # Kill the command as a whole, because the rest of a test run would only hang.
                    write_number(path / "memory.oom.group", 1)
        except OSError:
            group.remove_group()
            raise
        return group

    def discard_group(self, group: CommandCgroup) -> None:
        """Remove a command's group; one that cannot be removed yet is removed when the next is made."""
        if not group.remove_group():
            self._left.append(group)

    def remove_all(self) -> None:
        """Remove all groups; a no-op in a fork, which has the same objects."""
        if self._owner != os.getpid():
            return
        for _, top, lock in self._tops:
            _remove_directory(top)
            os.close(lock)
        self._tops = []


def remove_stale_groups(parent: Path) -> None:
    """Remove the groups of workers that were killed."""
    for path in parent.glob(f"{PREFIX}*"):
        if not _OURS.fullmatch(path.name) or not path.is_dir():
            continue
        with contextlib.suppress(OSError), _hold_lock(path):
            _remove_directory(path)


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
def _hold_lock(path: Path) -> Iterator[None]:
    """Hold the lock of an abandoned group. Raises BlockingIOError if a worker holds it."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _remove_directory(path: Path, patience: float = _REMOVE_SECONDS) -> bool:
    """Kill the processes of a group and of those in it, and remove the groups; return whether they are gone."""
    deadline = time.monotonic() + patience
    while True:
        try:
            for below in [entry for entry in path.iterdir() if entry.is_dir()]:
                _remove_directory(below, patience)
            path.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            _kill_members(path)
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.002)
        else:
            return True


def _kill_members(path: Path) -> None:
    with contextlib.suppress(OSError):
        if (path / "cgroup.kill").exists():
            (path / "cgroup.kill").write_text("1")
            return
        for number in read_words(path / "cgroup.procs"):
            # Never this process; 0 stands for a process of another namespace.
            if int(number) not in (0, os.getpid()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(number), signal.SIGKILL)
