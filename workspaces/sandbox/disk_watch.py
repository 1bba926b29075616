"""Watches the disk under a command: what it adds to its working directory, and what the disk has left.

Free space is asked for ten times a second, which costs next to nothing; the directory is measured only when the disk
has lost enough for it to matter. So a command that fills the disk is told from those that merely run meanwhile.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from system.directory_walk import DIRECTORY, walk

_GB = 1_000_000_000
_STEP = 64_000_000
_ROOM_TO_CLEAN_UP = 64_000_000
_MAX_TRIES = 3


class DiskLimits(Protocol):
    """The bounds on the disk, in bytes."""

    @property
    def disk(self) -> int:
        """The most that a command may add."""

    @property
    def disk_floor(self) -> int:
        """What stays free."""


@dataclass(frozen=True)
class Full:
    """A bound of the disk that was met."""

    words: str
    disk_full: bool
    """Whether the disk is short of room altogether, which may be no fault of this command."""


class DiskWatch:
    """The watch over one command."""

    def __init__(self, directory: Path, limits: DiskLimits) -> None:
        self._directory = directory
        self._free = free = _free(directory)
        above = free - limits.disk_floor
        # A command that begins with too little room can still remove things.
        self._stop_at = limits.disk_floor if above > 0 else free - _ROOM_TO_CLEAN_UP
        self._most = min(limits.disk, max(above // 2, _ROOM_TO_CLEAN_UP))
        self._lost = 0
        self._measure_at = self._most
        # The clock of files is a few milliseconds behind.
        self._began = time.time() - 0.02

    def look(self) -> Full | None:
        """The bound that the command has met by now."""
        try:
            free = _free(self._directory)
        except OSError:
            return None
        self._lost += max(0, self._free - free)
        self._free = free
        if self._lost > self._measure_at:
            # No more than the disk has lost can be this command's; what it did not touch is not.
            self._measure_at = self._lost + _STEP
            if size_of(self._directory, since=self._began) > self._most:
                return Full(
                    f"killed: it wrote more than {_words(self._most)} to the disk; remove what it left"
                    " (BATON_SANDBOX_DISK raises it, up to half of what is free)",
                    disk_full=False,
                )
        if free < self._stop_at:
            return Full(
                f"killed: only {_words(free)} are left on the disk, less than BATON_DISK_FLOOR_GB allows; make room",
                disk_full=True,
            )
        return None


def size_of(directory: Path, *, since: float = 0.0) -> int:
    """Bytes on the disk of all in a directory that changed since a moment, links not followed."""
    most = 0
    for _ in range(_MAX_TRIES):
        total = 0
        try:
            for state in _states(directory):
                total += state.st_blocks * 512 if state.st_ctime >= since else 0
        except OSError:  # directories are moved at this moment, and the way back was lost
            most = max(most, total)
            continue
        return total
    return most


def _states(directory: Path) -> Iterator[os.stat_result]:
    try:
        top = os.open(directory, DIRECTORY)
    except OSError:
        return
    try:
        for _, entries in walk(top):
            for entry in entries:
                with contextlib.suppress(OSError):
                    yield entry.stat(follow_symlinks=False)
    finally:
        os.close(top)


def _free(directory: Path) -> int:
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize


def _words(size: int) -> str:
    return f"{size / _GB:.1f} GB" if size >= _GB else f"{size / 1e6:.0f} MB"
