"""The walk through a workspace, for properties that git does not record: permissions, empty directories, nested
repositories, odd names.

It works by descriptors and never follows a link. Ignored directories that are not tracked are not entered.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pygit2

from system.directory_walk import DirectoryCursor
from system.safe_directory import SafeDirectory
from workspaces.checkpoints.file_metadata import (
    PLAIN_DIRECTORY,
    PLAIN_EXECUTABLE,
    PLAIN_FILE,
    is_plain,
    kept_mode,
)
from workspaces.checkpoints.ignored_paths import IgnoreRules
from workspaces.git.loose_objects import require_whole

MAX_FILE = 100 * 1024 * 1024
"""Bytes of a file that is kept at most. Hosts refuse more (GitHub: 100 MiB), and each change would store it again."""

MAX_DEPTH = 100
"""Directories within directories; git and the system give up not far beyond."""

MAX_PATH = 4_000
"""Bytes of a path that is kept at most. The system takes 4,095, and git skips longer ones without a message."""

_MAX_NAME = 256

_PLAIN = (stat.S_IFREG | PLAIN_FILE, stat.S_IFREG | PLAIN_EXECUTABLE)
_READ_BY_GIT = (".gitignore", ".gitattributes", ".gitmodules")

# Names that git refuses in a tree because some file system takes them for `.git`.
_REFUSED = re.compile(r"(?:\.git|git~[0-9]+)[ .]*(?::.*)?", re.IGNORECASE | re.DOTALL)

Strays = frozenset[tuple[int, int]]
"""Directories by inode and time of their last change: an inode alone is soon that of another directory."""


@dataclass
class WalkResult:
    """The result of a walk; paths are relative to the workspace."""

    repository: Path
    """Where the tree is that the walk compares with."""
    closed: frozenset[str] = frozenset()
    """Directories that are not entered."""
    modes: dict[str, int] = field(default_factory=dict)
    """Permissions of files and directories where they are not the plain ones."""
    empty: set[str] = field(default_factory=set)
    nested: list[str] = field(default_factory=list)
    """Directories that have a `.git`, the outer ones only."""
    gits: list[str] = field(default_factory=list)
    """Every directory but the top that has a `.git`."""
    refused: list[str] = field(default_factory=list)
    """Files and directories with a name that git refuses, or too deep to keep."""
    large: list[str] = field(default_factory=list)
    deep: set[str] = field(default_factory=set)
    """Those of `refused` that are too deep, or whose path is too long."""
    special: list[str] = field(default_factory=list)
    """Pipes, sockets and devices: git passes over them."""
    strays: Strays = frozenset()
    """Directories with contents of submodules that stood elsewhere."""
    moved: list[str] = field(default_factory=list)
    """Where those are now."""
    traps: list[str] = field(default_factory=list)
    """Pipes and the like under names that git reads: it would wait there without end."""


def is_refused(path: str) -> bool:
    """Whether git refuses a path because of one of its names."""
    return any(_REFUSED.fullmatch(part) for part in re.split(r"[/\\]", path))


def walk_workspace(
    files: SafeDirectory,
    repo: pygit2.Repository,
    tree: str,
    gitlinks: Collection[str] = (),
    strays: Strays = frozenset(),
) -> WalkResult:
    """Walk the workspace; `tree` is the one it is at, for tracked files are never left out.

    The contents of submodules (`gitlinks`) are not examined.

    The owner is given permission to read files and enter directories that forbid it, since they could not be kept
    otherwise.
    """
    found = WalkResult(repository=Path(repo.path), closed=frozenset(gitlinks), strays=strays)
    require_whole(found.repository, tree)
    tracked = repo.get(tree, None)
    with files.open_directory() as top, DirectoryCursor(top) as at:
        _walk_levels(at, tracked if isinstance(tracked, pygit2.Tree) else None, found, IgnoreRules(files))
    return found


def walk_and_disarm(
    files: SafeDirectory,
    repo: pygit2.Repository,
    tree: str,
    gitlinks: Collection[str] = (),
    strays: Strays = frozenset(),
) -> WalkResult:
    """Walk the workspace and remove the traps for git, and contents of submodules that were moved elsewhere."""
    found = walk_workspace(files, repo, tree, gitlinks, strays)
    for path in [*found.traps, *found.moved]:
        files.remove(path)
    return found


@dataclass
class _Level:
    """A directory on the way down, with its subdirectories that are still to be entered."""

    tree: pygit2.Tree | None
    nested: bool
    waiting: list[tuple[str, str]]
    """Directories by name and path, the last one first."""


def _walk_levels(at: DirectoryCursor, tree: pygit2.Tree | None, found: WalkResult, ignores: IgnoreRules) -> None:
    levels = [_scan_directory(at, "", tree, False, found, ignores)]
    while levels:
        level = levels[-1]
        if not level.waiting:
            levels.pop()
            if levels:
                at.leave_directory()
            continue
        name, below = level.waiting.pop()
        if below in found.closed:
            continue
        subtree = _open_subtree(level.tree, name, found.repository)
        if subtree is None:
            if ignores.is_ignored(below, directory=True):
                continue
            if is_deep(below + "/") or is_long(below):
                found.refused.append(below)
                found.deep.add(below)
                continue
        mode = _enter_directory(at, name)
        if mode != PLAIN_DIRECTORY:
            found.modes[below] = mode
        levels.append(_scan_directory(at, below, subtree, level.nested, found, ignores))


def _scan_directory(
    at: DirectoryCursor, path: str, tree: pygit2.Tree | None, nested: bool, found: WalkResult, ignores: IgnoreRules
) -> _Level:
    """Record the entries of one directory; returns its level, with the directories to enter."""
    entries = at.list_entries()
    if not entries and path:
        found.empty.add(path)
    if path and any(entry.name == ".git" for entry in entries):
        found.gits.append(path)
        if not nested:
            found.nested.append(path)
            nested = True
    near_the_end = is_long(path, room=_MAX_NAME)
    directories: list[tuple[str, str]] = []
    # The hot loop: tens of thousands of plain files must cost little more than asking for their state.
    for entry in entries:
        name = entry.name
        if name == ".git":
            continue
        below = f"{path}/{name}" if path else name
        if (name[0] in ".gG" or "\\" in name) and is_refused(name):
            if not ignores.is_ignored(below, directory=entry.is_dir(follow_symlinks=False)):
                found.refused.append(below)
        elif entry.is_dir(follow_symlinks=False):
            if found.strays and below not in found.closed and _entry_identity(entry) in found.strays:
                found.moved.append(below)
            else:
                directories.append((name, below))
        elif near_the_end and is_long(below) and not _is_tracked(tree, name):
            if not ignores.is_ignored(below):
                found.refused.append(below)
                found.deep.add(below)
        elif entry.is_file(follow_symlinks=False):
            state = entry.stat(follow_symlinks=False)
            if state.st_mode not in _PLAIN:
                if not is_plain(state.st_mode):  # setuid and the like are not kept
                    found.modes[below] = kept_mode(state.st_mode)
                if not state.st_mode & 0o400:
                    _set_mode(name, at.current_descriptor, kept_mode(state.st_mode))
            if state.st_size > MAX_FILE and not ignores.is_ignored(below):
                found.large.append(below)
        elif not entry.is_symlink():
            found.special.append(below)
            if name in _READ_BY_GIT:
                found.traps.append(below)
    return _Level(tree, nested, directories[::-1])


def _entry_identity(entry: "os.DirEntry[str]") -> tuple[int, int]:
    state = entry.stat(follow_symlinks=False)
    return state.st_ino, state.st_mtime_ns


def _open_subtree(tree: pygit2.Tree | None, name: str, repository: Path) -> pygit2.Tree | None:
    if tree is None:
        return None
    try:
        below = tree[name]
    except (KeyError, ValueError):  # ValueError: not UTF-8, which this lookup does not take
        return None
    if not isinstance(below, pygit2.Tree):
        return None
    require_whole(repository, str(below.id))
    return below


def _is_tracked(tree: pygit2.Tree | None, name: str) -> bool:
    try:
        return tree is not None and name in tree
    except ValueError:  # not UTF-8, which this lookup does not take
        return False


def _enter_directory(at: DirectoryCursor, name: str) -> int:
    """Enter a directory, after giving its owner permission; returns its permissions."""
    mode = stat.S_IMODE(os.stat(name, dir_fd=at.current_descriptor, follow_symlinks=False).st_mode) & 0o777
    if mode & 0o700 != 0o700:
        mode |= 0o700
        _set_mode(name, at.current_descriptor, mode)
    at.enter_directory(name)
    return mode


def _set_mode(name: str, parent: int, mode: int) -> None:
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", mode)
    finally:
        os.close(descriptor)


def is_deep(path: str) -> bool:
    """Whether a path lies in more directories than are kept."""
    return path.count("/") > MAX_DEPTH


def is_long(path: str, *, room: int = 0) -> bool:
    """Whether a path is too long to be kept, with `room` more bytes behind it."""
    return len(path) * 4 + room > MAX_PATH and len(os.fsencode(path)) + room > MAX_PATH


def nested_files(files: SafeDirectory, directory: str, ignored: set[str]) -> Iterator[str]:
    """Yield the files and links of a nested repository that its project would keep, without any `.git`.

    Paths that its `.gitignore` files leave out are added to `ignored`, a directory with a `/` at its end.
    """
    ignores = IgnoreRules(files)
    waiting = [directory]
    while waiting:
        at = waiting.pop()
        for name in sorted(files.list_names(at)):
            path = f"{at}/{name}"
            if name == ".git" or is_refused(name):
                continue
            state = files.stat(path)
            if state is None:
                continue
            if stat.S_ISDIR(state.st_mode):
                if ignores.is_ignored(path, directory=True):
                    ignored.add(f"{path}/")
                elif path.count("/") < MAX_DEPTH and not is_long(path):
                    waiting.append(path)
            elif is_long(path) or not (stat.S_ISREG(state.st_mode) or stat.S_ISLNK(state.st_mode)):
                continue
            elif ignores.is_ignored(path):
                ignored.add(path)
            elif state.st_size <= MAX_FILE:
                yield path
