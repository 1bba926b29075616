"""The bounds on the disk of a command: the bytes that it adds to its working directory, and the free space of the disk.

Free space is read ten times a second, which is cheap; the directory is measured only after the disk has lost enough for
the bound to matter. So a command that fills the disk is distinguished from others that run at the same time.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from system.directory_walk import DIRECTORY, walk_directories

GB = 1_000_000_000
_STEP = 64_000_000
_ROOM_TO_CLEAN_UP = 64_000_000
_MAX_TRIES = 3


class DiskLimits(Protocol):
    """The bounds on the disk, in bytes."""

    @property
    def disk(self) -> int:
        """The maximum that a command may add."""

    @property
    def disk_floor(self) -> int:
        """The free space that commands must leave."""


@dataclass(frozen=True)
class DiskBoundMet:
    """A bound on the disk that a command has met."""

    words: str
    disk_full: bool
    """Whether the disk as a whole is short of space, which may not be caused by this command."""


class DiskWatch:
    """Measures the disk use of one command."""

    def __init__(self, directory: Path, limits: DiskLimits) -> None:
        self._directory = directory
        self._free = free = _free_bytes(directory)
        above = free - limits.disk_floor
        # A command that begins with too little space can still remove files.
        self._stop_at = limits.disk_floor if above > 0 else free - _ROOM_TO_CLEAN_UP
        self._most = min(limits.disk, max(above // 2, _ROOM_TO_CLEAN_UP))
        self._lost = 0
        self._measure_at = self._most
        # The clock of files is a few milliseconds behind.
        self._began = time.time() - 0.02

    def check_disk(self) -> DiskBoundMet | None:
        """Return the bound that the command has met by now, or None."""
        try:
            free = _free_bytes(self._directory)
        except OSError:
            return None
        self._lost += max(0, self._free - free)
        self._free = free
        if self._lost > self._measure_at:
            # The command cannot have written more than the disk has lost; files that it did not touch do not count.
            self._measure_at = self._lost + _STEP
            if size_of(self._directory, since=self._began) > self._most:
                return DiskBoundMet(
                    f"killed: it wrote more than {format_size(self._most)} to the disk; remove what it left"
                    " (BATON_SANDBOX_DISK raises it, up to half of what is free)",
                    disk_full=False,
                )
        if free < self._stop_at:
            return DiskBoundMet(
                f"killed: only {format_size(free)} are left on the disk, less than BATON_DISK_FLOOR_GB allows; free"
                " some",
                disk_full=True,
            )
        return None


def size_of(directory: Path, *, since: float = 0.0) -> int:
    """Return the bytes on the disk of all files in a directory that changed since a time; links are not followed."""
    most = 0
    for _ in range(_MAX_TRIES):
        total = 0
        try:
            for state in _file_states(directory):
                total += state.st_blocks * 512 if state.st_ctime >= since else 0
        except OSError:  # a directory was moved at this moment, and the walk lost its way back
            most = max(most, total)
            continue
        return total
    return most


def _file_states(directory: Path) -> Iterator[os.stat_result]:
    try:
        top = os.open(directory, DIRECTORY)
    except OSError:
        return
    try:
        for _, entries in walk_directories(top):
            for entry in entries:
                with contextlib.suppress(OSError):
                    yield entry.stat(follow_symlinks=False)
    finally:
        os.close(top)


def _free_bytes(directory: Path) -> int:
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize


def format_size(size: int) -> str:
    """Return a number of bytes as text in GB or MB."""
    return f"{size / GB:.1f} GB" if size >= GB else f"{size / 1e6:.0f} MB"
