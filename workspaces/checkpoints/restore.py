"""Restore of a workspace to exactly a checkpoint: in place if its files are there, else anew.

In place, the ignored files stay (virtual environments, caches, build results). If that fails, for any reason, the
workspace is built anew: a checkpoint holds all of its tracked state.
"""

from collections.abc import Mapping
from pathlib import Path

from baton.errors import DiskFull, SandboxUnavailable, WorkspaceError
from system.uncancellable import in_thread
from workspaces.checkpoints import agent_git_dir
from workspaces.checkpoints.file_metadata import PLAIN_DIRECTORY, Meta, plain_mode
from workspaces.checkpoints.gitlinks import put_in_order
from workspaces.checkpoints.sandboxed_git import Quarantine, reset
from workspaces.checkpoints.walk import disarm, survey
from workspaces.git.errors import translated
from workspaces.git.object_database import Objects
from workspaces.git.run import git
from workspaces.git.safe_directory import Beneath, remove_path
from workspaces.git.tree_codec import TREE
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store


async def restore_in_place(
    sandbox: Sandbox, store: Store, work: Path, quarantine: Quarantine, index: Path, tree: str, meta: Meta
) -> bool:
    """Try to bring an existing workspace to a tree; returns whether it is there now. The new index is in the
    quarantine.
    """
    if not await in_thread(_is_there, work, index):
        return False
    try:
        with translated("restoring a workspace"):
            await in_thread(quarantine.prepare, index)
            await in_thread(put_in_order, Beneath(work), meta.gitlinks)
            found = await in_thread(disarm, Beneath(work), store.objects.repo, tree, meta.gitlinks)
            for path in found.deep:  # git cannot remove entries with a longer path than the system takes
                await in_thread(Beneath(work).remove, path)
        if await reset(sandbox, store, work, quarantine, tree) != tree:
            return False
        with translated("restoring a workspace"):
            await in_thread(_settle, store.objects, work, tree, meta)
    except DiskFull:
        raise
    except (WorkspaceError, SandboxUnavailable):
        return False
    return True


async def rebuild(store: Store, work: Path, quarantine: Quarantine, tree: str, meta: Meta) -> None:
    """Build a workspace in an empty directory. No agent's process can be in it, so this needs no sandbox."""
    with translated("making a workspace"):
        await in_thread(quarantine.prepare, None)
        await in_thread(_clear, work)
    await git(
        ["read-tree", "--reset", "-u", tree],
        git_dir=store.path,
        work_tree=work,
        env={"GIT_INDEX_FILE": str(quarantine.index)},
    )
    with translated("making a workspace"):
        await in_thread(apply_meta, Beneath(work), meta)


def _is_there(work: Path, index: Path) -> bool:
    return work.is_dir() and not work.is_symlink() and index.exists()


def _clear(work: Path) -> None:
    work.parent.mkdir(parents=True, exist_ok=True)
    remove_path(work)
    work.mkdir(mode=PLAIN_DIRECTORY)
    work.chmod(PLAIN_DIRECTORY)


def apply_meta(files: Beneath, meta: Meta) -> None:
    """Set permissions and make empty directories; the deepest first, so that none stands in the way of another."""
    for path in sorted(meta.empty):
        files.make_directory(path)
    for path, mode in sorted(meta.modes.items(), reverse=True):
        files.chmod(path, mode)


def _settle(objects: Objects, work: Path, tree: str, meta: Meta) -> None:
    """Restore the metadata after git has restored files: permissions, empty directories, nested repositories."""
    files = Beneath(work)
    found = survey(files, objects.repo, tree, meta.gitlinks)
    for directory in found.gits:
        agent_git_dir.remove_git(work, directory)
    for path in [*found.refused, *found.large]:
        entry = objects.entry(tree, path)
        if entry is None:
            files.remove(path)
    for path in found.modes.keys() - meta.modes.keys():
        entry = objects.entry(tree, path)
        if entry is None and path not in meta.empty:
            continue  # an ignored file keeps its permissions
        files.chmod(path, PLAIN_DIRECTORY if entry is None or entry.mode == TREE else plain_mode(entry.mode))
    for path in sorted(found.empty - meta.empty, reverse=True):
        remove_empty_upwards(files, path, objects, tree, meta.empty)
    apply_meta(files, meta)


def remove_empty_upwards(files: Beneath, path: str, objects: Objects, tree: str, keep: frozenset[str]) -> None:
    """Remove an empty directory that the tree does not have, and those above that are empty without it."""
    while path and path not in keep and objects.entry(tree, path) is None and files.remove_empty(path):
        path = path.rpartition("/")[0]


def put_back_path(files: Beneath, objects: Objects, path: str, modes: Mapping[str, int], tree: str) -> None:
    """Make a path of the workspace the same as in the tree: a file, a link, a directory with its contents, or
    absent.
    """
    entry = objects.entry(tree, path)
    if entry is None:
        files.remove(path)
    elif entry.mode == TREE:
        files.remove(path)
        files.make_directory(path)
        for below, _ in objects.leaves(entry.oid):
            put_back_path(files, objects, f"{path}/{below}", modes, tree)
    elif entry.mode == 0o120000:
        files.link(path, objects.data(entry.oid))
    else:
        files.write(path, objects.data(entry.oid), modes.get(path, plain_mode(entry.mode)))
