"""Restore of a workspace to exactly a checkpoint: in place if its files are there, else anew.

In place, the ignored files stay (virtual environments, caches, build results). If that fails, for any reason, the
workspace is built anew: a checkpoint holds all of its tracked state.
"""

from collections.abc import Mapping
from pathlib import Path

from baton.errors import DiskFull, SandboxUnavailable, WorkspaceError
from system.safe_directory import SafeDirectory, remove_path
from system.uncancellable import run_in_thread
from workspaces.checkpoints import agent_git_dir
from workspaces.checkpoints.file_metadata import PLAIN_DIRECTORY, FileMetadata, plain_mode
from workspaces.checkpoints.gitlinks import clear_places
from workspaces.checkpoints.sandboxed_git import Quarantine, reset_workspace
from workspaces.checkpoints.walk import walk_and_disarm, walk_workspace
from workspaces.git.errors import translate_errors
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.run import call_git
from workspaces.git.tree_codec import TREE
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store


async def restore_in_place(
    sandbox: Sandbox, store: Store, work: Path, quarantine: Quarantine, index: Path, tree: str, meta: FileMetadata
) -> bool:
    """Try to bring an existing workspace to a tree; returns whether it is there now. The new index is in the
    quarantine.
    """
    if not await run_in_thread(_is_there, work, index):
        return False
    try:
        with translate_errors("restoring a workspace"):
            await run_in_thread(quarantine.empty_with_index, index)
            await run_in_thread(clear_places, SafeDirectory(work), meta.gitlinks)
            found = await run_in_thread(walk_and_disarm, SafeDirectory(work), store.objects.repo, tree, meta.gitlinks)
            for path in found.deep:  # git cannot remove entries with a longer path than the system takes
                await run_in_thread(SafeDirectory(work).remove, path)
        if await reset_workspace(sandbox, store, work, quarantine, tree) != tree:
            return False
        with translate_errors("restoring a workspace"):
            await run_in_thread(_restore_metadata, store.objects, work, tree, meta)
    except DiskFull:
        raise
    except (WorkspaceError, SandboxUnavailable):
        return False
    return True


async def rebuild_workspace(store: Store, work: Path, quarantine: Quarantine, tree: str, meta: FileMetadata) -> None:
    """Build a workspace in an empty directory. No agent's process can be in it, so this needs no sandbox."""
    with translate_errors("making a workspace"):
        await run_in_thread(quarantine.empty_with_index, None)
        await run_in_thread(_make_empty, work)
    await call_git(
        ["read-tree", "--reset", "-u", tree],
        git_dir=store.path,
        work_tree=work,
        env={"GIT_INDEX_FILE": str(quarantine.index)},
    )
    with translate_errors("making a workspace"):
        await run_in_thread(apply_meta, SafeDirectory(work), meta)


def _is_there(work: Path, index: Path) -> bool:
    return work.is_dir() and not work.is_symlink() and index.exists()


def _make_empty(work: Path) -> None:
    work.parent.mkdir(parents=True, exist_ok=True)
    remove_path(work)
    work.mkdir(mode=PLAIN_DIRECTORY)
    work.chmod(PLAIN_DIRECTORY)


def apply_meta(files: SafeDirectory, meta: FileMetadata) -> None:
    """Set permissions and make empty directories; the deepest first, so that none stands in the way of another."""
    for path in sorted(meta.empty):
        files.make_directory(path)
    for path, mode in sorted(meta.modes.items(), reverse=True):
        files.chmod(path, mode)


def _restore_metadata(objects: ObjectDatabase, work: Path, tree: str, meta: FileMetadata) -> None:
    """Restore the metadata after git has restored files: permissions, empty directories, nested repositories."""
    files = SafeDirectory(work)
    found = walk_workspace(files, objects.repo, tree, meta.gitlinks)
    for directory in found.gits:
        agent_git_dir.remove_git(work, directory)
    for path in [*found.refused, *found.large]:
        entry = objects.find_entry(tree, path)
        if entry is None:
            files.remove(path)
    for path in found.modes.keys() - meta.modes.keys():
        entry = objects.find_entry(tree, path)
        if entry is None and path not in meta.empty:
            continue  # an ignored file keeps its permissions
        files.chmod(path, PLAIN_DIRECTORY if entry is None or entry.mode == TREE else plain_mode(entry.mode))
    for path in sorted(found.empty - meta.empty, reverse=True):
        remove_empty_upwards(files, path, objects, tree, meta.empty)
    apply_meta(files, meta)


def remove_empty_upwards(
    files: SafeDirectory, path: str, objects: ObjectDatabase, tree: str, keep: frozenset[str]
) -> None:
    """Remove an empty directory that the tree does not have, and those above that are empty without it."""
    while path and path not in keep and objects.find_entry(tree, path) is None and files.remove_empty(path):
        path = path.rpartition("/")[0]


def put_back_path(
    files: SafeDirectory, objects: ObjectDatabase, path: str, modes: Mapping[str, int], tree: str
) -> None:
    """Make a path of the workspace the same as in the tree: a file, a link, a directory with its contents, or
    absent.
    """
    entry = objects.find_entry(tree, path)
    if entry is None:
        files.remove(path)
    elif entry.mode == TREE:
        files.remove(path)
        files.make_directory(path)
        for below, _ in objects.list_leaves(entry.oid):
            put_back_path(files, objects, f"{path}/{below}", modes, tree)
    elif entry.mode == 0o120000:
        files.make_link(path, objects.read_blob(entry.oid))
    else:
        files.write_file(path, objects.read_blob(entry.oid), modes.get(path, plain_mode(entry.mode)))
