"""Durability of many small files with one flush of the disk's cache, as in git's `core.fsyncMethod=batch`.

All files are written out with sync_file_range, which does not flush the disk's cache. Then one file is synced, which
flushes the cache and commits the file system's journal, and with it the names of all files. This holds on ext4 and
XFS; on other file systems, such as btrfs, the whole file system is synced (syncfs), which takes longer.
https://git-scm.com/docs/git-config#Documentation/git-config.txt-corefsyncMethod
"""

import contextlib
import ctypes
import errno
import itertools
import os
import tempfile
import threading
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

from system.directory_walk import directories_below, walk_files

_WRITE = 2
_WAIT_WRITE_WAIT = 1 | 2 | 4
_MAX_OPEN = 64
"""Files that are open at the same time."""


@cache
def _range_sync() -> Callable[[int, int, int, int], int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]


@cache
def _has_journal(device: int) -> bool:
    """Whether a file system commits the names and sizes of all its files, in order, when it syncs one of them."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    kinds = {line.partition(" - ")[2].split(" ")[0] for line in mounts if line.split(" ")[2] == wanted}
    return bool(kinds) and kinds <= {"ext4", "xfs"}


def sync_contents(descriptor: int) -> None:
    """Ensure that a file's contents reach the disk before any name that it gets from now on. Raises OSError."""
    if not _has_journal(os.fstat(descriptor).st_dev) or not _write_range(descriptor, _WAIT_WRITE_WAIT):
        os.fsync(descriptor)


def _write_range(descriptor: int, flags: int) -> bool:
    """Whether a file was written out; False if the system has no such call. Raises OSError if the disk fails.

    The error must not be dropped: the kernel reports a failed write once, and a later fsync would succeed.
    """
    push = _range_sync()
    if push is None:
        return False
    if push(descriptor, 0, 0, flags) == 0:
        return True
    error = ctypes.get_errno()
    if error in (errno.ENOSYS, errno.EINVAL, errno.ESPIPE):
        return False
    raise OSError(error, os.strerror(error))


def sync_files(paths: Collection[Path], directory: Path) -> None:
    """Make these files durable; `directory` is on the same file system. Missing files are skipped."""
    if not _has_journal(directory.stat().st_dev):
        _sync_all(directory)
        return
    remaining = iter(paths)
    while batch := list(itertools.islice(remaining, _MAX_OPEN)):
        _write_out(batch)
    with tempfile.TemporaryFile(dir=directory) as last:
        last.write(b"x")
        last.flush()
        os.fsync(last.fileno())


def sync_metadata(directory: Path) -> None:
    """Ensure that the names of all files synced in `directory` so far reach the disk before any later name."""
    if not _has_journal(directory.stat().st_dev):
        _sync_all(directory)


def _sync_all(directory: Path) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        os.sync()
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if function(descriptor) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(directory))
    finally:
        os.close(descriptor)


class UnsyncedFiles:
    """Files of one file system that must be durable before a ref or a file refers to them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths: set[Path] = set()
        self._lock = threading.Lock()

    def add_paths(self, *paths: Path) -> None:
        """Add files to those that the next `sync` makes durable."""
        with self._lock:
            self._paths.update(paths)

    def sync_added(self) -> list[Path]:
        """Make all files added so far durable, and return those that are gone."""
        with self._lock:  # a second caller waits, because the first may be syncing the files of the second
            if not self._paths:
                return []
            sync_files(self._paths, self._directory)
            gone = [path for path in self._paths if not path.exists()]
            self._paths.clear()
            return gone


def _write_out(paths: list[Path]) -> None:
    with contextlib.ExitStack() as opened:
        descriptors = []
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                opened.callback(os.close, descriptors[-1])
        # Begin all writes before waiting for the first, so that the disk gets them together.
        for descriptor in descriptors:
            _write_range(descriptor, _WRITE)
        for descriptor in descriptors:
            if not _write_range(descriptor, _WAIT_WRITE_WAIT):
                os.fsync(descriptor)


def sync_names(path: Path, top: Path) -> None:
    """Make a file and the directories from it up to `top` durable."""
    while True:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if path == top:
            return
        path = path.parent


def sync_tree(directory: Path) -> None:
    """Make a directory, all that is below it, and its own name durable; for trees that are written once."""
    below = [*directories_below(directory), *(path for path, entry in walk_files(directory) if entry.is_file())]
    for path in map(directory.__truediv__, below):
        sync_names(path, path)
    for path in (directory, *directory.parents):
        with contextlib.suppress(OSError):  # a directory above Baton's own may be unreadable
            sync_names(path, path)


def write_durably(path: Path, text: str) -> None:
    """Replace a file so that after a crash either the complete old or the complete new file exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.write_text(text, encoding="utf-8")
    sync_names(beside, beside)
    beside.replace(path)
    sync_names(path.parent, path.parent)
