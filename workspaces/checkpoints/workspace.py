"""A task's workspace: a directory at exactly a checkpoint, and the changes to it since.

<home>/workspaces/<run>/<task>/work    the files that agents see, at /workspace in their sandbox
                              /index   git's memory of them, which makes a scan cheap
                              /clean   the tree and metadata that they are at, while no step works on them
                              /lock    held by the one attempt that works in it
"""

import contextlib
import hashlib
import json
import stat
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

from baton.errors import WorkspaceError
from baton.identifiers import is_run_key
from baton.policies import WORKSPACE_WAIT
from baton.records.left_out import IGNORED
from baton.settings.core import SandboxMode
from system.file_lock import LockHeld, hold_lock
from system.safe_directory import SafeDirectory, is_path
from system.uncancellable import run_in_thread
from workspaces.checkpoints.agent_git import AgentGit
from workspaces.checkpoints.checkpoints import Checkpoints, Lane, WorkspaceSnapshot
from workspaces.checkpoints.file_metadata import FileMetadata
from workspaces.checkpoints.gitlinks import is_within, without_gitlinks
from workspaces.checkpoints.known_paths import capture_nested, capture_touched
from workspaces.checkpoints.restore import rebuild_workspace, restore_in_place
from workspaces.checkpoints.sandboxed_git import Quarantine, add_all
from workspaces.checkpoints.snapshots import (
    TreeState,
    added_gitlinks,
    compare_trees,
    metadata_of_walk,
    put_back_paths,
    unkept_paths,
)
from workspaces.checkpoints.submodule_places import SubmodulePlaces
from workspaces.checkpoints.walk import WalkResult, walk_and_disarm
from workspaces.checkpoints.workspace_index import WorkspaceIndex
from workspaces.git.errors import translate_errors
from workspaces.sandbox.command import INSIDE
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store
from workspaces.store.submodules import SubmoduleContents

__all__ = ["Workspace", "WorkspaceSnapshot", "discard_run", "hold_workspace"]


def _workspace_home(store: Store, lane: Lane) -> Path:
    return store.home / "workspaces" / lane.run / lane.task


@asynccontextmanager
async def hold_workspace(store: Store, lane: Lane, limit: timedelta = WORKSPACE_WAIT) -> AsyncIterator[None]:
    """Hold a lane's workspace: a zombie attempt and its successor never work in it at once. Waits without blocking.

    Raises WorkspaceError, which names the holder, if it is not free in time.
    """
    try:
        async with hold_lock(_workspace_home(store, lane) / "lock", limit):
            yield
    except LockHeld as held:
        raise WorkspaceError(
            f"The workspace of {lane.run}/{lane.task} has been held for {limit.total_seconds():g} s by {held.holder}: "
            "an earlier attempt that was given up and does not end. Kill that process, and try again."
        ) from held


async def discard_run(store: Store, run: str) -> None:
    """Remove all workspaces of a run, each once it is free; the checkpoints stay. Raises WorkspaceError for an
    invalid run id.
    """
    if not is_run_key(run):
        raise WorkspaceError(f"{run!r} is not the id of a run.")
    directory = store.home / "workspaces" / run
    if not directory.is_dir():
        return
    for task in sorted(directory.iterdir()):
        async with hold_lock(task / "lock"):
            await run_in_thread(_remove_workspace, task)
    with contextlib.suppress(OSError):
        directory.rmdir()


class Workspace:
    """The workspace of one lane, for the attempt that holds it (`exclusive`)."""

    def __init__(
        self, store: Store, lane: Lane, sandbox: Sandbox, fillings: Mapping[str, SubmoduleContents] | None = None
    ) -> None:
        self._store = store
        self._checkpoints = Checkpoints(store)
        self._sandbox = sandbox
        self._home = _workspace_home(store, lane)
        self.path = self._home / "work"
        self._files = SafeDirectory(self.path)
        self._index = WorkspaceIndex(self._home)
        self._marker = self._home / "clean"
        self._quarantine = Quarantine(self._home / "quarantine")
        self._tree = ""
        self._meta = FileMetadata()
        self._meta_id: str | None = None
        self._git = AgentGit(store, sandbox, self._home, self.path)
        self._submodules = SubmodulePlaces(self._files, self._home, fillings)

    @classmethod
    async def open_at(
        cls,
        store: Store,
        lane: Lane,
        checkpoint: str,
        *,
        sandbox: Sandbox | None = None,
        fillings: Mapping[str, SubmoduleContents] | None = None,
    ) -> "Workspace":
        """Return the lane's workspace at exactly this checkpoint; a no-op for one that is there already.

        `sandbox` is for git when it looks at the files that an agent left; without one the machine's is used. Raises
        SandboxUnavailable if there is none, and DiskFull. `fillings` are the contents of submodules, by path.
        """
        workspace = cls(store, lane, sandbox or await _own_sandbox(), fillings)
        await workspace._go_to(checkpoint)
        with translate_errors("placing submodules"):
            await run_in_thread(workspace._submodules.put_in_order, workspace._meta.gitlinks)
        return workspace

    @property
    def notices(self) -> list[str]:
        """Sentences that the agent must be told of the workspace as it was given out."""
        return self._git.notices

    def command_mounts(self) -> dict[Path, str]:
        """Return the read-only mounts of commands, host path to path inside: the project's history, submodules."""
        objects = self._store.source_path / "objects"
        filled = self._submodules.filled_paths(self._meta.gitlinks)
        return {objects: str(objects), **{self.path / path: f"{INSIDE}/{path}" for path in filled}}

    @property
    def submodules(self) -> frozenset[str]:
        """The places of the project's submodules: the engine puts back every change there."""
        return frozenset(self._meta.gitlinks)

    def mark_dirty(self) -> None:
        """Note that the files may differ from the checkpoint from now on: an attempt that ends here leaves work for
        the next.
        """
        self._marker.unlink(missing_ok=True)

    def mark_clean(self, checkpoint: str) -> None:
        """Note that the files are those of a checkpoint, which was just made from a snapshot of them."""
        self._load_checkpoint(checkpoint)
        with translate_errors("marking a workspace"):
            self._marker.write_text(self._marker_text())

    async def take_snapshot(self, touched: Collection[str] | None) -> WorkspaceSnapshot:
        """Store the files as they are now, and compare them with the checkpoint.

        `Checkpoints.record_checkpoint` commits them.

        `touched` are the only paths that can have changed, which makes it quick; None means that any can have: then git
        looks at all of them, in a sandbox. Raises DiskFull; whichever error is raised, no ref of the store has moved.
        """
        with translate_errors("putting submodules back"):
            undone = tuple(await run_in_thread(self._submodules.put_in_order, self._meta.gitlinks))
        if touched is None:
            scanned = await self._scan_all()
            return replace(scanned, put_back=(*undone, *scanned.put_back))

        def capture() -> WorkspaceSnapshot:
            objects, before = self._store.objects, self._before
            paths = [path for path in touched if not is_within(path, self._meta.gitlinks)]
            tree, meta, unkept = capture_touched(self._files, objects, *before, paths)
            compared = compare_trees(objects, before, TreeState(tree, meta), unkept)
            return replace(compared, put_back=undone, git=self._git.files_after_loss())

        with translate_errors("keeping a snapshot"):
            return await run_in_thread(capture)

    def file_states(self, paths: Iterable[str]) -> dict[str, str]:
        """Return size and time of each file that is there, as text for comparison; empty text for a directory."""
        found: dict[str, str] = {}
        for path in paths:
            with contextlib.suppress(OSError, ValueError):
                state = self._files.stat(path.rstrip("/"))
                if state is not None:
                    found[path] = "" if stat.S_ISDIR(state.st_mode) else f"{state.st_size} {state.st_mtime_ns}"
        return found

    def files_in(self, directory: str, limit: int = 100) -> list[str] | None:
        """Return all files below a directory; None if there are more entries than the limit."""
        found: list[str] = []
        waiting, seen = [directory.rstrip("/")], 0
        while waiting:
            at = waiting.pop()
            with contextlib.suppress(OSError, ValueError):
                for name in self._files.list_names(at):
                    path, seen = f"{at}/{name}", seen + 1
                    if seen > limit:
                        return None
                    state = self._files.stat(path)
                    if state is not None:
                        (waiting if stat.S_ISDIR(state.st_mode) else found).append(path)
        return found

    def has_path(self, snapshot: WorkspaceSnapshot, path: str) -> bool:
        """Whether a path is in a snapshot's tree."""
        path = path.rstrip("/")
        return is_path(path) and self._store.objects.find_entry(snapshot.tree, path) is not None

    async def put_back(self, snapshot: WorkspaceSnapshot, paths: Collection[str]) -> WorkspaceSnapshot:
        """Undo all changes at these paths since the checkpoint: contents, permissions, added and deleted files."""
        with translate_errors("putting files back"):
            objects, chosen = self._store.objects, sorted(set(paths))
            return await run_in_thread(put_back_paths, self._files, objects, self._before, snapshot, chosen)

    async def remove_files(self) -> None:
        """Remove the workspace; its checkpoints stay. The next `materialise` makes it anew."""
        with translate_errors("removing a workspace"):
            await run_in_thread(_remove_workspace, self._home, keep_lock=True)

    @property
    def _before(self) -> TreeState:
        return TreeState(self._tree, self._meta)

    async def _go_to(self, checkpoint: str) -> None:
        self._load_checkpoint(checkpoint)
        with translate_errors("making a workspace"):
            if self._is_clean():
                if not await run_in_thread(self._git.is_intact):
                    await self._git.make_git_dir(checkpoint, self._index)
                return
            self.mark_dirty()
        arguments = (self._store, self.path, self._quarantine)
        if not await restore_in_place(self._sandbox, *arguments, self._index.path, self._tree, self._meta):
            await rebuild_workspace(*arguments, self._tree, self._meta)
        with translate_errors("making a workspace"):
            await run_in_thread(self._index.adopt_index, self._quarantine, self._tree, fresh=True)
            await self._git.make_git_dir(checkpoint, self._index)
            self._marker.write_text(self._marker_text())

    def _load_checkpoint(self, checkpoint: str) -> None:
        self._tree = self._checkpoints.workspace_tree(checkpoint)
        oid = self._checkpoints.metadata_id(checkpoint)
        if oid is None or oid != self._meta_id:
            self._meta, self._meta_id = self._checkpoints.read_metadata(checkpoint), oid
        self._git.load_checkpoint(checkpoint)

    async def _scan_all(self) -> WorkspaceSnapshot:
        objects, before, gitlinks = self._store.objects, self._before, self._meta.gitlinks
        with translate_errors("looking through a workspace"):
            found = await run_in_thread(
                walk_and_disarm, self._files, objects.repo, before.tree, gitlinks, self._submodules.strays
            )
        known, fresh = self._index.read_state()
        seed = "" if known == before.tree else before.tree
        nested = list(found.nested)
        while True:
            with translate_errors("looking through a workspace"):
                await run_in_thread(self._quarantine.empty_with_index, self._index.path)
            leave_out = [*nested, *found.refused, *found.large, *gitlinks]
            tree = await add_all(
                self._sandbox, self._store, self.path, self._quarantine, seed=seed, fresh=fresh, leave_out=leave_out
            )
            with translate_errors("keeping a snapshot"):
                links = await run_in_thread(added_gitlinks, objects, before.tree, tree)
                if not links:
                    return await self._keep_scan(found, tree, nested)
            if set(links) <= set(nested):
                raise WorkspaceError(f"git sees a repository at {links[0]!r} although it was told to leave it out.")
            nested += links

    async def _keep_scan(self, found: WalkResult, tree: str, nested: list[str]) -> WorkspaceSnapshot:
        objects, before, gitlinks = self._store.objects, self._before, self._meta.gitlinks

        def keep() -> WorkspaceSnapshot:
            unkept = unkept_paths(self._quarantine, found, nested, self._meta)
            self._index.adopt_index(self._quarantine, tree)
            ignored: set[str] = set()
            whole = capture_nested(self._files, objects, tree, nested, ignored)
            whole = without_gitlinks(objects, whole, gitlinks)
            meta = metadata_of_walk(objects, whole, found, gitlinks)
            unkept |= dict.fromkeys(ignored, IGNORED)
            return compare_trees(objects, before, TreeState(whole, meta), unkept)

        snapshot = await run_in_thread(keep)
        kept, not_kept = await self._git.keep_changes(found.nested)
        return replace(snapshot, put_back=tuple(found.moved), git=kept, not_kept=not_kept)

    def _is_clean(self) -> bool:
        try:
            return self._marker.read_text() == self._marker_text() and self._index.path.exists() and self.path.is_dir()
        except FileNotFoundError:
            return False

    def _marker_text(self) -> str:
        """Return the marker's text; it holds until the next boot: a power cut may leave half-written files."""
        meta = hashlib.sha256(self._meta.dump()).hexdigest()
        return json.dumps({"boot": _boot_id(), "tree": self._tree, "meta": meta})


def _remove_workspace(directory: Path, *, keep_lock: bool = False) -> None:
    """Remove a workspace and all files beside it; its lock last, and only for the holder of the lock."""
    files = SafeDirectory(directory)
    for name in files.list_names():
        if name != "lock":
            files.remove(name)
    if not keep_lock:
        files.remove("lock")
        with contextlib.suppress(OSError):
            directory.rmdir()


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


_sandboxes: dict[SandboxMode, Sandbox] = {}


async def _own_sandbox() -> Sandbox:
    if SandboxMode.AUTO not in _sandboxes:
        _sandboxes[SandboxMode.AUTO] = await Sandbox.open_sandbox(SandboxMode.AUTO)
    return _sandboxes[SandboxMode.AUTO]
