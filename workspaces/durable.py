"""Makes many small files durable with one wait for the disk, as git's own `core.fsyncMethod=batch` does.

All files are handed to the disk, and then waited for, without waiting for the disk's cache (sync_file_range); then one
file is synced for all of them, which also commits the file system's journal and with it the names. Where that call is
missing, each file is synced by itself. https://git-scm.com/docs/git-config#Documentation/git-config.txt-corefsyncMethod
"""

import contextlib
import ctypes
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

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


def sync_files(paths: Iterable[Path], directory: Path) -> None:
    """Return when these files are on the disk; `directory` is on the same file system. Missing ones are passed over."""
    remaining = iter(paths)
    while batch := list(itertools.islice(remaining, _AT_ONCE)):
        _write_out(batch)
    with tempfile.TemporaryFile(dir=directory) as last:
        last.write(b"x")
        last.flush()
        os.fsync(last.fileno())


def _write_out(paths: list[Path]) -> None:
    push = _range_sync()
    with contextlib.ExitStack() as opened:
        descriptors = []
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                opened.callback(os.close, descriptors[-1])
        # Begun for all before any is waited for, so that the disk has them side by side.
        if push is not None:
            for descriptor in descriptors:
                push(descriptor, 0, 0, _WRITE)
        for descriptor in descriptors:
            if push is None or push(descriptor, 0, 0, _WAIT_WRITE_WAIT) != 0:
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


def write_durably(path: Path, text: str) -> None:
    """Replace a file so that after a crash either the old or the new one is there, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.write_text(text, encoding="utf-8")
    sync_names(beside, beside)
    beside.replace(path)
    sync_names(path.parent, path.parent)
