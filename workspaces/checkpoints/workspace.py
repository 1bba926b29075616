"""A task's workspace: a directory at exactly a checkpoint, and what has become of it since.

<home>/workspaces/<run>/<task>/work    what agents see, at /workspace in their sandbox
                              /index   git's memory of it, which makes a scan cheap
                              /clean   says which tree and meta data it is at, while nobody works in it
                              /lock    held by the one attempt that works in it
"""

import contextlib
import hashlib
import json
import os
import shutil
import stat
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

from baton.errors import WorkspaceError
from baton.naming import is_run_key
from baton.policies import WORKSPACE_WAIT
from baton.records.left_out import DEEP, EMPTY, IGNORED, LARGE, NAME, NESTED, REFUSED, SPECIAL
from baton.settings.core import SandboxMode
from system.uncancellable import in_thread
from workspaces.checkpoints import agent_git_dir, agent_refs
from workspaces.checkpoints.agent_pack import NotKept, pack_objects, unpack_objects
from workspaces.checkpoints.agent_refs import GitState, new_state, untold
from workspaces.checkpoints.checkpoint_files import GIT_PACK, GIT_STATE
from workspaces.checkpoints.checkpoints import Checkpoints, Lane, Snapshot
from workspaces.checkpoints.file_metadata import Meta, parse_meta
from workspaces.checkpoints.gitlinks import is_within, put_in_order, without_gitlinks
from workspaces.checkpoints.known_paths import capture_nested, capture_touched
from workspaces.checkpoints.restore import put_back_path, rebuild, remove_empty_upwards, restore_in_place
from workspaces.checkpoints.sandboxed_git import Quarantine, add_all
from workspaces.checkpoints.walk import Strays, Survey, disarm, is_refused
from workspaces.git.errors import translated
from workspaces.git.file_lock import LockHeld, locked
from workspaces.git.run import git
from workspaces.git.safe_directory import Beneath, clear_away
from workspaces.git.tree_codec import GITLINK, TREE, Entry, is_path
from workspaces.sandbox.command import INSIDE
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store
from workspaces.store.submodules import Filling, digest_of, place_copy

_IN_THE_WAY = frozenset({NAME, LARGE, DEEP})
"""Reasons for which a path is in the way: a role that may not write there has it put back."""
_MOST_TOLD = 100
"""Things that are remembered as told to the agent."""
_GONE = (
    "The workspace was built anew. Its files are as you left them, but the branches, tags, commits and stashes that you"
    " had made in its .git could not be kept and are gone."
)
_NOT_KEPT = (
    "Of your own git this is not kept: {}. It can be gone with your next call; what you need of it has to be in files."
)
_TOO_MUCH = (
    "Your commits, branches, tags and stashes {}, so they are not kept: they are there until the workspace is built"
    " anew, which can happen at any time. Bring what you need of them into files now, for instance by `git stash pop`."
)

__all__ = ["Snapshot", "Workspace", "discard_run", "exclusive"]


def _directory(store: Store, lane: Lane) -> Path:
    return store.home / "workspaces" / lane.run / lane.task


@asynccontextmanager
async def exclusive(store: Store, lane: Lane, limit: timedelta = WORKSPACE_WAIT) -> AsyncIterator[None]:
    """Hold a lane's workspace: a zombie attempt and its successor never work in it at once. Waits without blocking.

    Raises WorkspaceError, which names the holder, where it is not free in time.
    """
    try:
        async with locked(_directory(store, lane) / "lock", limit):
            yield
    except LockHeld as held:
        raise WorkspaceError(
            f"The workspace of {lane.run}/{lane.task} has been held for {limit.total_seconds():g} s by {held.holder}: "
            "an earlier attempt that was given up and does not end. Kill that process, and try again."
        ) from held


async def discard_run(store: Store, run: str) -> None:
    """Remove all workspaces of a run, each once nobody works in it; the checkpoints stay."""
    if not is_run_key(run):
        raise WorkspaceError(f"{run!r} is not the id of a run.")
    directory = store.home / "workspaces" / run
    if not directory.is_dir():
        return
    for task in sorted(directory.iterdir()):
        async with locked(task / "lock"):
            await in_thread(_remove, task)
    with contextlib.suppress(OSError):
        directory.rmdir()


class Workspace:
    """The workspace of one lane, to be used by whoever holds it (`exclusive`)."""

    def __init__(self, store: Store, lane: Lane, sandbox: Sandbox) -> None:
        self._store = store
        self._checkpoints = Checkpoints(store)
        self._sandbox = sandbox
        self._home = _directory(store, lane)
        self.path = self._home / "work"
        self._files = Beneath(self.path)
        self._index = self._home / "index"
        self._index_tree = self._home / "index.tree"
        self._marker = self._home / "clean"
        self._quarantine = Quarantine(self._home / "quarantine")
        self._tree = ""
        self._meta = Meta()
        self._meta_id: str | None = None
        self._fillings: dict[str, Filling] = {}
        self._strays: Strays = frozenset()
        self._kept = Quarantine(self._home / "kept")
        self._commit = ""
        self._git = GitState("", "", {})
        self._git_gone = False
        self.notices: list[str] = []
        """What the agent must be told of the workspace as it was given out, a sentence each."""

    @classmethod
    async def materialise(
        cls,
        store: Store,
        lane: Lane,
        checkpoint: str,
        *,
        sandbox: Sandbox | None = None,
        fillings: Mapping[str, Filling] | None = None,
    ) -> "Workspace":
        """The lane's workspace at exactly this checkpoint; nothing is done where it is there already.

        `sandbox` is for git when it looks at what an agent left; without one the machine's is used, and nothing where
        there is none (SandboxUnavailable). `fillings` are the contents of submodules, by path. Raises DiskFull.
        """
        workspace = cls(store, lane, sandbox or await _own_sandbox())
        workspace._fillings = dict(fillings or {})
        await workspace._go_to(checkpoint)
        with translated("placing submodules"):
            await in_thread(workspace._keep_submodules)
        return workspace

    def mounts(self) -> dict[Path, str]:
        """What commands see read-only (host path -> path inside): the project's history, contents of submodules."""
        objects = self._store.source_path / "objects"
        inside = {self.path / path: f"{INSIDE}/{path}" for path in self._filled()}
        return {objects: str(objects), **inside}

    @property
    def submodules(self) -> frozenset[str]:
        """The places of the project's submodules: the engine puts back whatever happens there."""
        return frozenset(self._meta.gitlinks)

    def mark_dirty(self) -> None:
        """Say that from now on the files may be anything: an attempt that ends here leaves work for the next one."""
        self._marker.unlink(missing_ok=True)

    def mark_clean(self, checkpoint: str) -> None:
        """Say that the files are those of a checkpoint, which was just made from a snapshot of them."""
        self._take_for(checkpoint)
        with translated("marking a workspace"):
            self._marker.write_text(self._state())

    async def snapshot(self, touched: Collection[str] | None) -> Snapshot:
        """What the workspace holds now, and what differs from the checkpoint it was at; `Checkpoints.record` stores it.

        `touched` are the only paths that can have changed, which makes it quick; None means that anything can have:
        then git looks at all of it, in a sandbox. Raises DiskFull; whatever is raised, no ref of the store has moved.
        """
        with translated("putting submodules back"):
            undone = tuple(await in_thread(self._keep_submodules))
        if touched is None:
            scanned = await self._scan()
            return replace(scanned, put_back=(*undone, *scanned.put_back))

        def capture() -> Snapshot:
            paths = [path for path in touched if not is_within(path, self._meta.gitlinks)]
            captured = capture_touched(self._files, self._store.objects, self._tree, self._meta, paths)
            return replace(self._compare(*captured), put_back=undone, git=self._git_reset())

        with translated("keeping a snapshot"):
            return await in_thread(capture)

    def states(self, paths: Iterable[str]) -> dict[str, str]:
        """What can be told cheaply of what stands at these paths: size and time of a file, for each that is there."""
        found: dict[str, str] = {}
        for path in paths:
            with contextlib.suppress(OSError, ValueError):
                state = self._files.stat(path.rstrip("/"))
                if state is not None:
                    found[path] = "" if stat.S_ISDIR(state.st_mode) else f"{state.st_size} {state.st_mtime_ns}"
        return found

    def files_in(self, directory: str, limit: int = 100) -> list[str] | None:
        """What is in a directory and all below it, but directories; None where that is more than a few."""
        found: list[str] = []
        waiting, seen = [directory.rstrip("/")], 0
        while waiting:
            at = waiting.pop()
            with contextlib.suppress(OSError, ValueError):
                for name in self._files.names(at):
                    path, seen = f"{at}/{name}", seen + 1
                    if seen > limit:
                        return None
                    state = self._files.stat(path)
                    if state is not None:
                        (waiting if stat.S_ISDIR(state.st_mode) else found).append(path)
        return found

    def holds(self, snapshot: Snapshot, path: str) -> bool:
        """Whether a path is in a snapshot's tree."""
        path = path.rstrip("/")
        return is_path(path) and self._store.objects.entry(snapshot.tree, path) is not None

    async def put_back(self, snapshot: Snapshot, paths: Collection[str]) -> Snapshot:
        """Undo what happened at these paths since the checkpoint: contents, permissions, what was added or deleted."""
        with translated("putting files back"):
            return await in_thread(self._put_back, snapshot, sorted(set(paths)))

    async def discard(self) -> None:
        """Remove the workspace; its checkpoints stay. The next `materialise` makes it anew."""
        with translated("removing a workspace"):
            await in_thread(_remove, self._home, keep_lock=True)

    async def _go_to(self, checkpoint: str) -> None:
        self._take_for(checkpoint)
        with translated("making a workspace"):
            if self._is_clean():
                if not await in_thread(self._is_git_kept):
                    await self._make_git(checkpoint)
                return
            self.mark_dirty()
        arguments = (self._store, self.path, self._quarantine)
        if not await restore_in_place(self._sandbox, *arguments, self._index, self._tree, self._meta):
            await rebuild(*arguments, self._tree, self._meta)
        with translated("making a workspace"):
            await in_thread(self._adopt_index, self._tree, fresh=True)
            await self._make_git(checkpoint)
            self._marker.write_text(self._state())

    def _take_for(self, checkpoint: str) -> None:
        self._tree = self._checkpoints.tree(checkpoint)
        oid = self._checkpoints.meta_id(checkpoint)
        if oid is None or oid != self._meta_id:
            self._meta, self._meta_id = self._checkpoints.meta(checkpoint), oid
        self._commit, self._git = self._checkpoints.project_commit(checkpoint), self._checkpoints.git_state(checkpoint)

    def _is_git_kept(self) -> bool:
        """Whether the `.git` is as the checkpoint has it, as far as a later session could be misled by it."""
        found = agent_refs.read_state(self.path, self._commit).state
        objects = self._store.source_path / "objects"
        return found is not None and found.same(self._git) and not agent_git_dir.planted(self.path, objects)

    async def _make_git(self, checkpoint: str) -> None:
        pack = await in_thread(self._checkpoints.git_pack, checkpoint)
        state = self._git
        if not state.lost:
            await self._place_git(state)
            if state.same(new_state(self._commit)):
                return
            objects = self._store.source_path / "objects"
            if await unpack_objects(self._sandbox, self.path, objects, self._kept, state, pack):
                return
        # Said, and from now on so in the checkpoints.
        self._git, self._git_gone = replace(new_state(self._commit), told=state.told), True
        self.notices.append(_GONE)
        await self._place_git(self._git)

    async def _place_git(self, state: GitState) -> None:
        index = self._home / "agent.index"
        await in_thread(shutil.copy2, self._index, index)
        if self._store.source.tree_of(self._commit) != self._known_index()[0]:
            env = {"GIT_INDEX_FILE": str(index)}
            await git(["read-tree", "--reset", "-i", self._commit], git_dir=self._store.path, env=env)
        await in_thread(agent_git_dir.make, self.path, self._store.source_path / "objects", state, index)

    def _git_reset(self) -> dict[str, bytes | None]:
        """The files of the checkpoint after the agent's git could not be brought back."""
        return _git_files(self._git, b"", self._commit) if self._git_gone else {}

    async def _keep_git(self, nested: list[str]) -> tuple[dict[str, bytes | None], tuple[str, ...]]:
        """What changes in the checkpoint for the agent's own git, and what of it is not kept."""
        objects = self._store.source_path / "objects"
        found = await in_thread(agent_refs.read_state, self.path, self._commit)
        strange = list(found.strange)
        # Put back for the next call, so they are said each time.
        reset: list[str] = []
        if found.state is None:
            reset.append("a `.git` that was removed, replaced or damaged: it is made anew as it was before")
        else:
            strange += [f"the repository in {path}/" for path in nested[:20]]
            planted = await in_thread(agent_git_dir.planted, self.path, objects)
            reset += [f"a change to .git/{name}" for name in planted]
        state = found.state or self._git
        pack, refused = b"", ""
        if found.state is not None and not state.same(self._git):
            try:
                pack = await pack_objects(self._sandbox, self.path, objects, self._kept, state)
            except NotKept as error:
                refused = str(error)
        new = untold(strange, self._git.told)
        sentences = tuple(_NOT_KEPT.format(text) for text in [*reset, *new])
        told = (*self._git.told, *new)[-_MOST_TOLD:]
        if state.same(self._git) and not new:
            return self._git_reset(), sentences
        if state.same(self._git):
            state = replace(self._git, told=told)
            return {**self._git_reset(), GIT_STATE: state.dump()}, sentences
        if refused:
            sentences = (*sentences, _TOO_MUCH.format(refused))
        state = replace(state, lost=bool(refused), told=told)
        return _git_files(state, pack, self._commit), sentences

    async def _scan(self) -> Snapshot:
        with translated("looking through a workspace"):
            found = await in_thread(
                disarm, self._files, self._store.objects.repo, self._tree, self._meta.gitlinks, self._strays
            )
        known, fresh = self._known_index()
        seed = "" if known == self._tree else self._tree
        nested = list(found.nested)
        while True:
            with translated("looking through a workspace"):
                await in_thread(self._quarantine.prepare, self._index)
            leave_out = [*nested, *found.refused, *found.large, *self._meta.gitlinks]
            tree = await add_all(
                self._sandbox, self._store, self.path, self._quarantine, seed=seed, fresh=fresh, leave_out=leave_out
            )
            with translated("keeping a snapshot"):
                links = await in_thread(self._gitlinks, tree)
                if not links:
                    unkept = await in_thread(self._left_by_git, found, nested)
                    await in_thread(self._adopt_index, tree)
                    ignored: set[str] = set()
                    whole = await in_thread(capture_nested, self._files, self._store.objects, tree, nested, ignored)
                    whole = await in_thread(without_gitlinks, self._store.objects, whole, self._meta.gitlinks)
                    meta = await in_thread(self._surveyed, whole, found)
                    unkept |= dict.fromkeys(ignored, IGNORED)
                    snapshot = await in_thread(self._compare, whole, meta, unkept)
                    kept, not_kept = await self._keep_git(found.nested)
                    return replace(snapshot, put_back=tuple(found.moved), git=kept, not_kept=not_kept)
            if set(links) <= set(nested):
                raise WorkspaceError(f"git sees a repository at {links[0]!r} although it was told to leave it out.")
            nested += links

    def _left_by_git(self, found: Survey, nested: Collection[str]) -> dict[str, str]:
        """What a scan did not take over, with the reasons; what nested repositories ignore comes to it."""
        unkept = dict.fromkeys(self._quarantine.ignored(), IGNORED)
        unkept |= dict.fromkeys(self._quarantine.others(), REFUSED)
        beneath = tuple(f"{path}/" for path in [*nested, *found.refused, *self._meta.gitlinks])
        unkept = {path: reason for path, reason in unkept.items() if not path.startswith(beneath)}
        unkept |= dict.fromkeys(found.special, SPECIAL) | dict.fromkeys(found.large, LARGE)
        unkept |= {path: DEEP if path in found.deep else NAME for path in found.refused}
        unkept |= {f"{path}/.git/": NESTED for path in found.gits}
        fresh = found.empty - self._meta.empty - self._meta.gitlinks.keys()
        return unkept | {f"{path}/": EMPTY for path in fresh}

    def _keep_submodules(self) -> list[str]:
        """Have each place of a submodule as it has to be; gives the paths where it was not."""
        known = self._placed()
        wanted = {path: self._fillings[path] for path in self._filled()}
        intact = [path for path, one in wanted.items() if known.get(path, "") == (self._state_of(path, one) or None)]
        stray = [path for path in known if path in wanted and path not in intact]
        # Whoever moves a directory above takes the contents with it, read-only or not: a scan knows them again by
        # inode and time.
        told = [known[path].split() for path in stray if known[path]]
        self._strays = frozenset((int(inode), int(moment)) for _, inode, moment, _ in told)
        undone = put_in_order(self._files, self._meta.gitlinks, intact)
        if len(intact) == len(wanted):
            return undone
        for path, one in wanted.items():
            if path not in intact:
                place_copy(self._files, path, one.tree, self._home)
        placed = {path: self._state_of(path, one) for path, one in wanted.items()}
        (self._home / "submodules").write_text(json.dumps(placed))
        # What was placed before and is not as it was, somebody changed. Its files are many: the place stands for all.
        return sorted({*(path for path in undone if not is_within(path, wanted)), *stray})

    def _filled(self) -> list[str]:
        """The submodules whose contents are to be there."""
        links = self._meta.gitlinks
        return [path for path in sorted(self._fillings) if links.get(path) == self._fillings[path].commit]

    def _placed(self) -> dict[str, str]:
        try:
            return dict(json.loads((self._home / "submodules").read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def _state_of(self, path: str, one: Filling) -> str:
        try:
            with self._files.directory(path) as descriptor:
                state = os.fstat(descriptor)
            return f"{one.tree.name} {state.st_ino} {state.st_mtime_ns} {digest_of(self._files, path)}"
        except OSError:
            return ""

    def _gitlinks(self, tree: str) -> list[str]:
        changes = self._store.objects.differences(self._tree, tree)
        return [change.path for change in changes if change.new is not None and change.new.mode == GITLINK]

    def _surveyed(self, tree: str, found: Survey) -> Meta:
        """The meta data of what was found, for what is kept: a path in the tree, or an empty directory."""
        objects = self._store.objects
        known: dict[str, bool] = {}
        for path in found.modes:
            known[path] = path in found.empty or objects.entry(tree, path) is not None
        modes = {path: mode for path, mode in found.modes.items() if known[path]}
        empty = frozenset(found.empty | self._meta.gitlinks.keys())
        return Meta(modes=modes, empty=empty, gitlinks=self._meta.gitlinks)

    def _compare(self, tree: str, meta: Meta, unkept: Mapping[str, str]) -> Snapshot:
        objects = self._store.objects
        left_out = [path for path, reason in unkept.items() if reason in _IN_THE_WAY]
        changed = {change.path for change in objects.differences(self._tree, tree)} | set(left_out)
        for path in self._meta.modes.keys() | meta.modes.keys():
            if self._meta.modes.get(path) != meta.modes.get(path):
                entries = [objects.entry(one, path) for one in (self._tree, tree)]
                if any(entry is not None and entry.mode != TREE for entry in entries):
                    changed.add(path)
        return Snapshot(
            tree=tree,
            changed=sorted(changed),
            meta=meta.dump(),
            left_out=tuple(sorted(left_out)),
            unkept=dict(sorted(unkept.items())),
        )

    def _put_back(self, snapshot: Snapshot, paths: list[str]) -> Snapshot:
        objects, files = self._store.objects, self._files
        meta = parse_meta(snapshot.meta)
        changes: dict[str, Entry | None] = {}
        modes, empty = dict(meta.modes), set(meta.empty)
        paths = [path for path in paths if is_path(path)]  # anything else is not in a workspace
        # What was added goes first: a file may stand where a directory has to come back.
        for path in sorted(paths, key=lambda path: objects.entry(self._tree, path) is not None):
            put_back_path(files, objects, path, self._meta.modes, self._tree)
            changes[path] = objects.entry(self._tree, path)
            modes.pop(path, None)
            if path in self._meta.modes:
                modes[path] = self._meta.modes[path]
        for path in paths:
            above = path.rpartition("/")[0]
            if changes[path] is None:
                remove_empty_upwards(files, above, objects, self._tree, self._meta.empty)
            while above:
                empty.discard(above)
                there = files.stat(above)
                if there is not None and above in self._meta.empty:
                    empty.add(above)
                above = above.rpartition("/")[0]
        tree = objects.edit(snapshot.tree, {path: entry for path, entry in changes.items() if not is_refused(path)})
        kept = Meta(modes=modes, empty=frozenset(empty | meta.gitlinks.keys()), gitlinks=meta.gitlinks)
        still = {path: why for path, why in snapshot.unkept.items() if path.rstrip("/") not in changes}
        compared = self._compare(tree, kept, still)
        return replace(compared, put_back=snapshot.put_back, git=snapshot.git, not_kept=snapshot.not_kept)

    def _is_clean(self) -> bool:
        try:
            return self._marker.read_text() == self._state() and self._index.exists() and self.path.is_dir()
        except FileNotFoundError:
            return False

    def _state(self) -> str:
        """What the marker says. It holds until the machine starts anew: after a power cut files may be half written."""
        meta = hashlib.sha256(self._meta.dump()).hexdigest()
        return json.dumps({"boot": _boot(), "tree": self._tree, "meta": meta})

    def _adopt_index(self, tree: str, *, fresh: bool = False) -> None:
        self._index_tree.unlink(missing_ok=True)
        self._quarantine.index.replace(self._index)
        self._index_tree.write_text(f"{tree} {'fresh' if fresh else 'seen'}")
        clear_away(self._quarantine.path)

    def _known_index(self) -> tuple[str, bool]:
        """The tree that the index was last at, and whether no scan has been over it since; no tree where it is lost."""
        try:
            tree, state = self._index_tree.read_text().split()
        except (FileNotFoundError, ValueError):
            return "", False
        return (tree, state == "fresh") if self._index.exists() else ("", False)


def _git_files(state: GitState, pack: bytes, commit: str) -> dict[str, bytes | None]:
    """The files of `git/` in a checkpoint; none where the agent's git is as it was made."""
    plain = state.same(new_state(commit)) and not state.told
    return {GIT_STATE: None if plain else state.dump(), GIT_PACK: pack or None}


def _remove(directory: Path, *, keep_lock: bool = False) -> None:
    """Remove a workspace and all beside it; its lock last, and only by who holds it."""
    files = Beneath(directory)
    for name in files.names():
        if name != "lock":
            files.remove(name)
    if not keep_lock:
        files.remove("lock")
        with contextlib.suppress(OSError):
            directory.rmdir()


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


_sandboxes: dict[SandboxMode, Sandbox] = {}


async def _own_sandbox() -> Sandbox:
    if SandboxMode.AUTO not in _sandboxes:
        _sandboxes[SandboxMode.AUTO] = await Sandbox.open(SandboxMode.AUTO)
    return _sandboxes[SandboxMode.AUTO]
