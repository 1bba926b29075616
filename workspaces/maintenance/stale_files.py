"""Stale files of crashes in a home: half-written objects, locks, quarantines, scratch directories.

Files younger than the longest git command of the engine may be in use and are left alone, and so is a workspace that a
step holds.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from baton.policies import GIT_TIMEOUT
from system.directory_walk import walk_files
from system.file_lock import held_if_free
from system.safe_directory import remove_path

LEFT_ALONE = GIT_TIMEOUT + timedelta(minutes=1)

_IN_A_REPOSITORY = (
    "*.lock",
    "*.new",
    "objects/tmp_*",
    "objects/??/tmp_*",
    "objects/pack/tmp_*",
    "objects/pack/.tmp-*",
    "objects/pack/*.keep.tmp",
    "objects/info/*.lock",
    "objects/pack/*.lock",
)
_IN_A_STORE = ("scratch/*", "*.new")
_IN_A_WORKSPACE = ("quarantine", "kept", "agent.index", "index.lock", "index.new", "agent.index.lock")


def in_store(root: Path, now: float | None = None) -> list[Path]:
    """List the stale files in the directory of a store, sorted."""
    limit = (now or time.time()) - LEFT_ALONE.total_seconds()
    found = [path for pattern in _IN_A_STORE for path in root.glob(pattern)]
    for repository in (root / "source.git", root / "store.git"):
        found += [path for pattern in _IN_A_REPOSITORY for path in repository.glob(pattern)]
        found += [repository / "refs" / path for path, _ in walk_files(repository / "refs") if path.endswith(".lock")]
    found += [root / "pushed" / path for path, entry in walk_files(root / "pushed") if entry.name.startswith(".")]
    return sorted({path for path in found if _is_old(path, limit)})


def in_workspace(home: Path) -> list[Path]:
    """List the stale files beside a workspace, at any age; none while a step holds it."""
    with hold_if_free(home) as free:
        return [home / name for name in _IN_A_WORKSPACE if free and os.path.lexists(home / name)]


def remove_stale(path: Path) -> None:
    """Remove a stale file, or a directory with its contents; links are not followed."""
    remove_path(path)


@contextmanager
def hold_if_free(workspace: Path) -> Iterator[bool]:
    """Hold a workspace if it is free, without waiting; yields whether it is held."""
    with contextlib.ExitStack() as stack:
        free = False
        if workspace.is_dir():
            with contextlib.suppress(OSError):
                # The lock of every step that works in it: one that waits for it learns who has it.
                free = stack.enter_context(held_if_free(workspace / "lock"))
        yield free


def measure_path(path: Path) -> int:
    """Return the bytes of a file, or of all files below a directory."""
    if path.is_dir() and not path.is_symlink():
        return sum(entry.stat(follow_symlinks=False).st_size for _, entry in walk_files(path))
    return path.lstat().st_size


def _is_old(path: Path, limit: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_mtime < limit
    return False
