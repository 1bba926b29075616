"""Captures paths of a workspace that are known, without git: a few milliseconds, and nothing of theirs is run."""

import stat
from collections.abc import Collection, Iterable

from workspaces.beneath import Beneath
from workspaces.ignored import Ignores
from workspaces.meta import Meta, is_plain, kept_mode
from workspaces.objects import Objects
from workspaces.survey import LARGEST_FILE, is_refused, nested_files
from workspaces.trees import EXECUTABLE, FILE, LINK, TREE, Entry, is_path


def entry_at(files: Beneath, objects: Objects, path: str) -> tuple[Entry | None, int | None]:
    """What a tree would hold for a path, its contents stored, and its permissions where it is a file."""
    state = files.stat(path)
    if state is None:
        return None, None
    if stat.S_ISLNK(state.st_mode):
        return Entry(LINK, objects.blob(files.readlink(path))), None
    if not stat.S_ISREG(state.st_mode):
        return None, None
    if not state.st_mode & 0o400:
        files.chmod(path, kept_mode(state.st_mode))
    mode = EXECUTABLE if state.st_mode & 0o100 else FILE
    return Entry(mode, objects.blob(files.read(path))), kept_mode(state.st_mode)


def capture_touched(
    files: Beneath, objects: Objects, tree: str, meta: Meta, touched: Collection[str]
) -> tuple[str, Meta, list[str]]:
    """The tree and meta data after changes at these paths only, and what of them cannot be kept."""
    ignores = Ignores(files)
    changes: dict[str, Entry | None] = {}
    modes = dict(meta.modes)
    full: set[str] = set()
    left_out: list[str] = []
    for path in sorted(touched):
        state = files.stat(path) if _can_be_kept(path) else None
        known = objects.entry(tree, path) if _can_be_kept(path) else None
        if not _can_be_kept(path) or (state is not None and state.st_size > LARGEST_FILE):
            left_out.append(path)
            continue
        if known is None and state is not None and ignores.ignored(path):
            continue
        if known is not None and known.mode == TREE and state is not None and stat.S_ISDIR(state.st_mode):
            continue
        entry, mode = entry_at(files, objects, path)
        changes[path] = entry
        modes.pop(path, None)
        if mode is not None and not is_plain(mode):
            modes[path] = mode
        if entry is not None:
            full.update(_above(path))
    empty = frozenset(meta.empty - full)
    return objects.edit(tree, changes), Meta(modes=modes, empty=empty, gitlinks=meta.gitlinks), left_out


def capture_nested(files: Beneath, objects: Objects, tree: str, nested: Iterable[str]) -> str:
    """A tree with the contents of nested repositories as plain files, without their `.git`."""
    changes: dict[str, Entry | None] = {}
    for directory in nested:
        tree = objects.edit(tree, {directory: None})
        for path in nested_files(files, directory):
            changes[path], _ = entry_at(files, objects, path)
    return objects.edit(tree, changes)


def _can_be_kept(path: str) -> bool:
    return is_path(path) and not is_refused(path)


def _above(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:count]) for count in range(1, len(names))]
