"""Snapshots by their trees: the paths that differ from the checkpoint, and changes to some of them undone."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from baton.records.left_out import DEEP, EMPTY, IGNORED, LARGE, NAME, NESTED, REFUSED, SPECIAL
from system.safe_directory import SafeDirectory, is_path
from workspaces.checkpoints.checkpoints import WorkspaceSnapshot
from workspaces.checkpoints.file_metadata import FileMetadata, parse_metadata
from workspaces.checkpoints.restore import put_back_path, remove_empty_upwards
from workspaces.checkpoints.sandboxed_git import Quarantine
from workspaces.checkpoints.walk import WalkResult, is_refused
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.tree_codec import GITLINK, TREE, TreeEntry

_IN_THE_WAY = frozenset({NAME, LARGE, DEEP})
"""Reasons for which a path is in the way: a role that may not write there has it put back."""


class TreeState(NamedTuple):
    """The files of a workspace as a checkpoint has them."""

    tree: str
    meta: FileMetadata


def compare_trees(
    objects: ObjectDatabase, before: TreeState, after: TreeState, unkept: Mapping[str, str]
) -> WorkspaceSnapshot:
    """Return the snapshot of a tree, with the paths that differ from `before`; `unkept` are paths with reasons."""
    left_out = [path for path, reason in unkept.items() if reason in _IN_THE_WAY]
    changed = {change.path for change in objects.diff_trees(before.tree, after.tree)} | set(left_out)
    for path in before.meta.modes.keys() | after.meta.modes.keys():
        if before.meta.modes.get(path) != after.meta.modes.get(path):
            entries = [objects.find_entry(one, path) for one in (before.tree, after.tree)]
            if any(entry is not None and entry.mode != TREE for entry in entries):
                changed.add(path)
    return WorkspaceSnapshot(
        tree=after.tree,
        changed=sorted(changed),
        meta=after.meta.dump(),
        left_out=tuple(sorted(left_out)),
        unkept=dict(sorted(unkept.items())),
    )


def put_back_paths(
    files: SafeDirectory,
    objects: ObjectDatabase,
    before: TreeState,
    snapshot: WorkspaceSnapshot,
    paths: Collection[str],
) -> WorkspaceSnapshot:
    """Undo the changes at these paths of a workspace; gives the snapshot as it is then."""
    meta = parse_metadata(snapshot.meta)
    changes: dict[str, TreeEntry | None] = {}
    modes, empty = dict(meta.modes), set(meta.empty)
    paths = [path for path in paths if is_path(path)]  # other texts name no path of a workspace
    # Added paths go first: a file may stand where a directory has to come back.
    for path in sorted(paths, key=lambda path: objects.find_entry(before.tree, path) is not None):
        put_back_path(files, objects, path, before.meta.modes, before.tree)
        changes[path] = objects.find_entry(before.tree, path)
        modes.pop(path, None)
        if path in before.meta.modes:
            modes[path] = before.meta.modes[path]
    for path in paths:
        above = path.rpartition("/")[0]
        if changes[path] is None:
            remove_empty_upwards(files, above, objects, before.tree, before.meta.empty)
        while above:
            empty.discard(above)
            there = files.stat(above)
            if there is not None and above in before.meta.empty:
                empty.add(above)
            above = above.rpartition("/")[0]
    tree = objects.edit_tree(snapshot.tree, {path: entry for path, entry in changes.items() if not is_refused(path)})
    kept = FileMetadata(modes=modes, empty=frozenset(empty | meta.gitlinks.keys()), gitlinks=meta.gitlinks)
    still = {path: why for path, why in snapshot.unkept.items() if path.rstrip("/") not in changes}
    compared = compare_trees(objects, before, TreeState(tree, kept), still)
    return replace(compared, put_back=snapshot.put_back, git=snapshot.git, not_kept=snapshot.not_kept)


def added_gitlinks(objects: ObjectDatabase, old: str, new: str) -> list[str]:
    """Return the paths that are gitlinks in a new tree and were none, or other ones, in the old."""
    changes = objects.diff_trees(old, new)
    return [change.path for change in changes if change.new is not None and change.new.mode == GITLINK]


def metadata_of_walk(
    objects: ObjectDatabase, tree: str, found: WalkResult, gitlinks: Mapping[str, str]
) -> FileMetadata:
    """Return the meta data of a walk, for the paths that are kept: those in the tree, and empty directories."""
    modes = {
        path: mode
        for path, mode in found.modes.items()
        if path in found.empty or objects.find_entry(tree, path) is not None
    }
    return FileMetadata(modes=modes, empty=frozenset(found.empty | gitlinks.keys()), gitlinks=dict(gitlinks))


def unkept_paths(
    quarantine: Quarantine, found: WalkResult, nested: Collection[str], meta: FileMetadata
) -> dict[str, str]:
    """Return the paths that a scan did not take over, with the reasons; without those within nested repositories."""
    unkept = dict.fromkeys(quarantine.list_ignored(), IGNORED) | dict.fromkeys(quarantine.list_others(), REFUSED)
    beneath = tuple(f"{path}/" for path in [*nested, *found.refused, *meta.gitlinks])
    unkept = {path: reason for path, reason in unkept.items() if not path.startswith(beneath)}
    unkept |= dict.fromkeys(found.special, SPECIAL) | dict.fromkeys(found.large, LARGE)
    unkept |= {path: DEEP if path in found.deep else NAME for path in found.refused}
    unkept |= {f"{path}/.git/": NESTED for path in found.gits}
    return unkept | {f"{path}/": EMPTY for path in found.empty - meta.empty - meta.gitlinks.keys()}
