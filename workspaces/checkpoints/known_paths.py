"""Capture of known paths of a workspace, without git: it takes a few milliseconds and runs no program."""

import stat
from collections.abc import Collection, Iterable

from baton.records.left_out import DEEP, IGNORED, LARGE, NAME, SPECIAL
from system.safe_directory import SafeDirectory, is_path
from workspaces.checkpoints.file_metadata import FileMetadata, is_plain, kept_mode
from workspaces.checkpoints.ignored_paths import IgnoreRules
from workspaces.checkpoints.walk import MAX_FILE, is_deep, is_long, is_refused, nested_files
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.tree_codec import EXECUTABLE, FILE, LINK, TREE, TreeEntry


def entry_at(files: SafeDirectory, objects: ObjectDatabase, path: str) -> tuple[TreeEntry | None, int | None]:
    """Store the file or link at a path; returns its entry for a tree, and its permissions if it is a file."""
    state = files.stat(path)
    if state is None:
        return None, None
    if stat.S_ISLNK(state.st_mode):
        return TreeEntry(LINK, objects.write_blob(files.readlink(path))), None
    if not stat.S_ISREG(state.st_mode):
        return None, None
    if not state.st_mode & 0o400:
        files.chmod(path, kept_mode(state.st_mode))
    mode = EXECUTABLE if state.st_mode & 0o100 else FILE
    return TreeEntry(mode, objects.write_blob(files.read_file(path))), kept_mode(state.st_mode)


def capture_touched(
    files: SafeDirectory, objects: ObjectDatabase, tree: str, meta: FileMetadata, touched: Collection[str]
) -> tuple[str, FileMetadata, dict[str, str]]:
    """Return tree and metadata after changes at these paths only, and the paths that are not kept, with their
    reasons.
    """
    ignores = IgnoreRules(files)
    changes: dict[str, TreeEntry | None] = {}
    modes = dict(meta.modes)
    full: set[str] = set()
    unkept: dict[str, str] = {}
    for path in sorted(touched):
        if not _can_be_kept(path):
            unkept[path] = NAME
            continue
        state = files.stat(path)
        known = objects.find_entry(tree, path)
        if state is not None and state.st_size > MAX_FILE:
            unkept[path] = LARGE
            continue
        if known is None and state is not None:
            if is_long(path) or (is_deep(path) and objects.find_entry(tree, path.rpartition("/")[0]) is None):
                unkept[path] = DEEP
                continue
            if ignores.is_ignored(path):
                unkept[path] = IGNORED
                continue
        if state is not None and not _is_kept_kind(state.st_mode):
            unkept[path] = SPECIAL
        if known is not None and known.mode == TREE and state is not None and stat.S_ISDIR(state.st_mode):
            continue
        entry, mode = entry_at(files, objects, path)
        changes[path] = entry
        modes.pop(path, None)
        if mode is not None and not is_plain(mode):
            modes[path] = mode
        if entry is not None:
            full.update(_parent_paths(path))
    empty = frozenset((meta.empty - full) | meta.gitlinks.keys())
    return objects.edit_tree(tree, changes), FileMetadata(modes=modes, empty=empty, gitlinks=meta.gitlinks), unkept


def capture_nested(
    files: SafeDirectory, objects: ObjectDatabase, tree: str, nested: Iterable[str], ignored: set[str] | None = None
) -> str:
    """Return a tree with the contents of nested repositories as plain files, without their `.git`.

    Paths that they ignore themselves are added to `ignored`.
    """
    left: set[str] = set() if ignored is None else ignored
    changes: dict[str, TreeEntry | None] = {}
    for directory in nested:
        tree = objects.edit_tree(tree, {directory: None})
        for path in nested_files(files, directory, left):
            changes[path], _ = entry_at(files, objects, path)
    return objects.edit_tree(tree, changes)


def _can_be_kept(path: str) -> bool:
    return is_path(path) and not is_refused(path)


def _is_kept_kind(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)


def _parent_paths(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:count]) for count in range(1, len(names))]
