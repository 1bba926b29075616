"""Checkpoints: the commits that hold workspace and transcript of a task after each turn.

Tree of a checkpoint: `workspace/` (the project's tree, byte for byte), `meta.json` (file metadata that git cannot
hold), `base` (the project commit it began from), `git/` (the state of an agent's own `.git`), and the task's own files
such as the transcript (`baton.steps.store_paths`). Author and dates are given, so a retry makes the same commit.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pygit2

from baton import identifiers
from baton.errors import WorkspaceError
from baton.steps.store_paths import BASE, GIT, GIT_PACK, GIT_STATE, META, WORKSPACE
from system.uncancellable import run_in_thread
from workspaces.checkpoints.agent_refs import AgentRefs, new_state, parse_state
from workspaces.checkpoints.file_metadata import FileMetadata, parse_metadata
from workspaces.git.errors import translate_errors
from workspaces.git.run import call_git
from workspaces.git.tree_codec import EMPTY_TREE, TREE, TreeEntry
from workspaces.store.store import Store


@dataclass(frozen=True)
class Lane:
    """One task's line of checkpoints, and the workspace that belongs to it."""

    run: str
    task: str

    def __post_init__(self) -> None:
        if not identifiers.is_run_key(self.run) or not identifiers.is_task_id(self.task):
            raise WorkspaceError(f"{self.run!r}/{self.task!r} cannot name a line of checkpoints.")

    @property
    def ref(self) -> str:
        """The ref of the newest checkpoint."""
        return identifiers.task_ref(self.run, self.task)


@dataclass(frozen=True)
class WorkspaceSnapshot:
    """The state of a workspace: its objects are in the store, and no ref leads to them before its checkpoint."""

    tree: str
    changed: list[str]
    """Files, links and permissions that differ from the checkpoint the workspace was at, sorted."""
    meta: bytes
    """The `meta.json` that goes with the tree."""
    left_out: tuple[str, ...] = ()
    """Files that cannot be kept (too large, or a name that git refuses); they are also in `changed`."""
    unkept: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Every examined path that will not be in the branch, with its reason (`baton.records.left_out`).

    Of a whole workspace all such paths; an ignored directory is one, with a `/` at its end.
    """
    put_back: tuple[str, ...] = ()
    """What the engine itself undid at the places of submodules before it looked; not in `changed`."""
    git: Mapping[str, bytes | None] = field(default_factory=dict, compare=False)
    """Files of `git/` that change with this snapshot; None for one that goes."""
    not_kept: tuple[str, ...] = field(default=(), compare=False)
    """What of the agent's own git is not kept and has not been said before, a sentence each."""


@dataclass(frozen=True)
class CheckpointInfo:
    """One checkpoint of a history."""

    commit: str
    parent: str | None
    summary: str
    at: datetime


class Checkpoints:
    """The checkpoints of a store, by lane."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def begin_lane(
        self,
        lane: Lane,
        project_commit: str,
        *,
        at: datetime,
        replace: str | None = None,
        tree: str | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> str:
        """Make checkpoint 0 of a lane: the files of a project commit, or of `tree` instead (a merge with
        conflicts).

        An existing one is returned if it began from the same commit. With `replace`, the lane's checkpoint of that id,
        the lane goes on from the new base, and its files outside the workspace stay. `files` are added to them. Raises
        StaleAttempt if the lane is elsewhere.
        """
        current = await self.read_head(lane)
        with translate_errors("beginning a task"):
            began = tree or self.store.source.tree_of(project_commit)
        if current is not None and current != replace:
            if await self._began_from(current, project_commit, began):
                return current
            if replace is None:
                raise WorkspaceError(
                    f"{lane.run}/{lane.task} has begun from another commit than {project_commit[:12]}."
                )
        gitlinks = await self._list_gitlinks(began)

        def build() -> str:
            objects = self.store.objects
            plain = objects.edit_tree(began, dict.fromkeys(gitlinks))
            base = objects.tree_of(replace) if replace else EMPTY_TREE
            meta = FileMetadata(empty=frozenset(gitlinks), gitlinks=gitlinks)
            own = {META: meta.dump(), BASE: f"{project_commit}\n{began}\n".encode()}
            changes = self.store.write_blobs({**(files or {}), **own})
            return objects.edit_tree(base, {**changes, WORKSPACE: TreeEntry(TREE, plain)})

        message = f"begin from {project_commit[:12]}"
        return await self.store.commit_tree(lane.ref, build, expected=replace, message=message, at=at)

    async def read_head(self, lane: Lane) -> str | None:
        """Return the newest checkpoint of a lane; None before it has begun."""
        return await self.store.read_head(lane.ref)

    async def claim_lane(self, lane: Lane, wanted: Callable[[], Awaitable[None]] | None = None) -> str | None:
        """Return the newest checkpoint of a lane after this host, where there are several, has taken the lane over.

        The caller is about to write, at a step's start, and holds the lane's workspace: the other hosts' checkpoints
        are fetched, and their later writes are rejected. Raises StateRemoteAway. `wanted` is called before the lane is
        taken from another host, and raises if that may not be.
        """
        await self.store.catch_up(lane.run, lane.ref, wanted)
        return await self.read_head(lane)

    def stands_at(self, head: str, checkpoint: str) -> bool:
        """Whether a lane's head is this checkpoint, apart from commits of hosts that took the lane over since
        (`replication`).
        """
        objects = self.store.objects
        with translate_errors("reading checkpoints"):
            while head != checkpoint:
                parents = objects.list_parents(head)
                if len(parents) != 1 or objects.tree_of(parents[0]) != objects.tree_of(head):
                    return False
                head = parents[0]
        return True

    async def record_checkpoint(
        self,
        lane: Lane,
        *,
        expected: str,
        files: Mapping[str, bytes],
        workspace: WorkspaceSnapshot | None,
        summary: str,
        at: datetime,
    ) -> str:
        """Make a checkpoint on top of `expected`: files outside the workspace, and the workspace if it changed.

        The same call gives the same id. Raises StaleAttempt if the lane is not at `expected`.
        """
        if taken := [path for path in files if path.split("/")[0] in (WORKSPACE, META, BASE, GIT)]:
            raise WorkspaceError(f"{taken[0]!r} is kept by the checkpoint itself and cannot be written as a file.")

        def build() -> str:
            objects = self.store.objects
            tree = objects.tree_of(expected)
            changes = self.store.write_blobs(files)
            if workspace is not None:
                if not objects.has_object(workspace.tree):
                    raise KeyError(workspace.tree)
                changes[WORKSPACE] = TreeEntry(TREE, workspace.tree)
                known = objects.find_entry(tree, META)
                if known is None or known.oid != objects.blob_id(workspace.meta):
                    changes |= self.store.write_blobs({META: workspace.meta})
                changes |= self.store.write_blobs(
                    {path: data for path, data in workspace.git.items() if data is not None}
                )
                changes |= {path: None for path, data in workspace.git.items() if data is None}
            return objects.edit_tree(tree, changes)

        return await self.store.commit_tree(lane.ref, build, expected=expected, message=summary, at=at)

    async def list_history(self, lane: Lane) -> list[CheckpointInfo]:
        """List the checkpoints of a lane, the oldest first."""
        head = await self.read_head(lane)
        if head is None:
            return []

        def walk() -> list[CheckpointInfo]:
            found: list[CheckpointInfo] = []
            commit: str | None = head
            while commit is not None:
                found.append(_describe_commit(self.store.objects.commit_object(commit)))
                commit = found[-1].parent
            return found[::-1]

        with translate_errors("reading checkpoints"):
            return await run_in_thread(walk)

    def project_commit(self, checkpoint: str) -> str:
        """Return the project commit that a checkpoint's workspace began from."""
        return self._read_base(checkpoint)[0]

    def workspace_tree(self, checkpoint: str) -> str:
        """Return the tree of a checkpoint's workspace."""
        return self.store.find_tree(f"{checkpoint}:{WORKSPACE}")

    def read_metadata(self, checkpoint: str) -> FileMetadata:
        """Return the file metadata of a checkpoint's workspace."""
        with translate_errors("reading a checkpoint"):
            return parse_metadata(self._read(checkpoint, META))

    def metadata_id(self, checkpoint: str) -> str | None:
        """Return the id of a checkpoint's `meta.json`; None if it has none."""
        with translate_errors("reading a checkpoint"):
            objects = self.store.objects
            entry = objects.find_entry(objects.tree_of(checkpoint), META)
            return entry.oid if entry else None

    def git_state(self, checkpoint: str) -> AgentRefs:
        """Return HEAD, refs and stash of the agent's own git in a checkpoint's workspace."""
        with translate_errors("reading a checkpoint"):
            data = self._read(checkpoint, GIT_STATE)
        state = parse_state(data) if data is not None else None
        commit = self.project_commit(checkpoint)
        return state.rebased_on(commit) if state else new_state(commit)

    def git_pack(self, checkpoint: str) -> bytes:
        """Return the pack with the objects of the agent's own git."""
        with translate_errors("reading a checkpoint"):
            return self._read(checkpoint, GIT_PACK) or b""

    def _read_base(self, checkpoint: str) -> tuple[str, str]:
        with translate_errors("reading a checkpoint"):
            data = self._read(checkpoint, BASE)
            if data is None:
                raise WorkspaceError(f"{checkpoint[:12]} is not a checkpoint.")
            commit, files = data.decode().split()
            return commit, files

    def _read(self, checkpoint: str, path: str) -> bytes | None:
        objects = self.store.objects
        entry = objects.find_entry(objects.tree_of(checkpoint), path)
        return objects.read_blob(entry.oid) if entry else None

    async def _began_from(self, checkpoint: str, project_commit: str, tree: str) -> bool:
        return self._read_base(checkpoint) == (project_commit, tree)

    async def _list_gitlinks(self, tree: str) -> dict[str, str]:
        if tree == EMPTY_TREE:
            return {}
        listed = await call_git(["ls-tree", "-r", "-z", tree], git_dir=self.store.path)
        found = {}
        for line in listed.split_names():
            if line.startswith("160000 "):
                about, _, path = line.partition("\t")
                found[path] = about.split()[2]
        return found


def _describe_commit(commit: pygit2.Commit) -> CheckpointInfo:
    return CheckpointInfo(
        commit=str(commit.id),
        parent=str(commit.parent_ids[0]) if commit.parent_ids else None,
        summary=commit.message.strip(),
        at=datetime.fromtimestamp(commit.commit_time, UTC),
    )
