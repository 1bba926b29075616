"""Makes many small files durable with one wait for the disk, as git's own `core.fsyncMethod=batch` does.

All files are handed to the disk, and then waited for, without waiting for the disk's cache (sync_file_range); then one
file is synced for all of them, which also commits the file system's journal and with it the names. That is so on ext4
and XFS; elsewhere, on btrfs for instance, the whole file system is synced (syncfs), which takes longer.
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
_AT_ONCE = 64
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
    """Whether a file system commits the names and sizes of all its files, in their order, when it syncs one of them."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    kinds = {line.partition(" - ")[2].split(" ")[0] for line in mounts if line.split(" ")[2] == wanted}
    return bool(kinds) and kinds <= {"ext4", "xfs"}


def settle(descriptor: int) -> None:
    """Return when a file's contents are on the disk before any name that it gets from now on. Raises OSError."""
    if not _has_journal(os.fstat(descriptor).st_dev) or not _pushed(descriptor, _WAIT_WRITE_WAIT):
        os.fsync(descriptor)


def _pushed(descriptor: int, flags: int) -> bool:
    """Whether a file was written out; False where that call is not to be had. Raises OSError where the disk refuses.

    After that fsync would find nothing wrong: a fault of the disk is said once.
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
    """Return when these files are on the disk; `directory` is on the same file system. Missing ones are passed over."""
    if not _has_journal(directory.stat().st_dev):
        _sync_all(directory)
        return
    remaining = iter(paths)
    while batch := list(itertools.islice(remaining, _AT_ONCE)):
        _write_out(batch)
    with tempfile.TemporaryFile(dir=directory) as last:
        last.write(b"x")
        last.flush()
        os.fsync(last.fileno())


def settle_all(directory: Path) -> None:
    """Return when the names of what any process has synced there are on the disk before any that comes from now on."""
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


class Unsynced:
    """Files of one file system that have to be on the disk before anything may name them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths: set[Path] = set()
        self._lock = threading.Lock()

    def note(self, *paths: Path) -> None:
        """Take in files."""
        with self._lock:
            self._paths.update(paths)

    def sync(self) -> list[Path]:
        """Return when all files noted so far are on the disk; gives those that are not there any more."""
        with self._lock:  # who comes second waits for the first, who may be at the second's files
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
        # Begun for all before any is waited for, so that the disk has them side by side.
        for descriptor in descriptors:
            _pushed(descriptor, _WRITE)
        for descriptor in descriptors:
            if not _pushed(descriptor, _WAIT_WRITE_WAIT):
                os.fsync(descriptor)


def sync_names(path: Path, top: Path) -> None:
    """Return when a file and the directories from it up to `top` are on the disk."""
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
    """Return when a directory with all below it is on the disk, and its own name; for what is made once."""
    below = [*directories_below(directory), *(path for path, entry in walk_files(directory) if entry.is_file())]
    for path in map(directory.__truediv__, below):
        sync_names(path, path)
    for path in (directory, *directory.parents):
        with contextlib.suppress(OSError):  # above what is ours
            sync_names(path, path)


def write_durably(path: Path, text: str) -> None:
    """Replace a file so that after a crash either the old or the new one is there, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.write_text(text, encoding="utf-8")
    sync_names(beside, beside)
    beside.replace(path)
    sync_names(path.parent, path.parent)
