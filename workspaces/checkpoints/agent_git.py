"""The agent's own git in one workspace, kept from checkpoint to checkpoint: HEAD, refs, stash, and their objects.

Its `.git` is hostile: it is read as data (`agent_refs`) and made anew (`agent_git_dir`), and git packs and unpacks its
objects in a sandbox only (`agent_pack`).
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from baton.steps.store_paths import GIT_PACK, GIT_STATE
from system.uncancellable import run_in_thread
from workspaces.checkpoints import agent_git_dir, agent_refs
from workspaces.checkpoints.agent_pack import AgentObjectsRefused, pack_objects, unpack_objects
from workspaces.checkpoints.agent_refs import AgentRefs, new_state, not_yet_told
from workspaces.checkpoints.checkpoints import Checkpoints
from workspaces.checkpoints.sandboxed_git import Quarantine
from workspaces.checkpoints.workspace_index import WorkspaceIndex
from workspaces.git.run import call_git
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store

_MAX_TOLD = 100
"""Sentences that the agent was told, of which each is said once."""
_MAX_NESTED = 20
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

Files = Mapping[str, bytes | None]
"""Files of `git/` in a checkpoint that change; None for one that goes."""


class AgentGit:
    """The `.git` of one workspace, and its state in the checkpoint that the workspace is at."""

    def __init__(self, store: Store, sandbox: Sandbox, home: Path, work: Path) -> None:
        self._store = store
        self._checkpoints = Checkpoints(store)
        self._sandbox = sandbox
        self._home = home
        self._work = work
        self._objects = store.source_path / "objects"
        self._quarantine = Quarantine(home / "kept")
        self._commit = ""
        self._state = AgentRefs("", "", {})
        self._is_lost = False
        self.notices: list[str] = []
        """Sentences that the agent must be told of its git as it was given out."""

    def load_checkpoint(self, checkpoint: str) -> None:
        """Take the state of a checkpoint for the one that the `.git` has or will have."""
        self._commit = self._checkpoints.project_commit(checkpoint)
        self._state = self._checkpoints.git_state(checkpoint)

    def is_intact(self) -> bool:
        """Whether the `.git` is as the checkpoint has it, as far as a later session could be misled by it."""
        found = agent_refs.read_state(self._work, self._commit).state
        return (
            found is not None
            and found.equals(self._state)
            and not agent_git_dir.find_planted(self._work, self._objects)
        )

    async def make_git_dir(self, checkpoint: str, index: WorkspaceIndex) -> None:
        """Make the `.git` anew with the refs and objects of a checkpoint; without them, and noted so, if that fails."""
        pack = await run_in_thread(self._checkpoints.git_pack, checkpoint)
        state = self._state
        if not state.lost:
            await self._place_git_dir(state, index)
            if state.equals(new_state(self._commit)):
                return
            if await unpack_objects(self._sandbox, self._work, self._objects, self._quarantine, state, pack):
                return
        self._state, self._is_lost = replace(new_state(self._commit), told=state.told), True
        self.notices.append(_GONE)
        await self._place_git_dir(self._state, index)

    async def _place_git_dir(self, state: AgentRefs, index: WorkspaceIndex) -> None:
        own = self._home / "agent.index"
        await run_in_thread(shutil.copy2, index.path, own)
        if self._store.source.tree_of(self._commit) != index.read_state()[0]:
            env = {"GIT_INDEX_FILE": str(own)}
            await call_git(["read-tree", "--reset", "-i", self._commit], git_dir=self._store.path, env=env)
        await run_in_thread(agent_git_dir.make_git_dir, self._work, self._objects, state, own)

    def files_after_loss(self) -> Files:
        """Return the checkpoint's files of a `.git` that could not be brought back; empty if it could."""
        return _checkpoint_files(self._state, b"", self._commit) if self._is_lost else {}

    async def keep_changes(self, nested: list[str]) -> tuple[Files, tuple[str, ...]]:
        """Return the files of the checkpoint that change with the `.git`, and a sentence for each loss not yet told."""
        found = await run_in_thread(agent_refs.read_state, self._work, self._commit)
        strange = list(found.strange)
        # These are undone for the next call, so they are reported each time.
        reset: list[str] = []
        if found.state is None:
            reset.append("a `.git` that was removed, replaced or damaged: it is made anew as it was before")
        else:
            strange += [f"the repository in {path}/" for path in nested[:_MAX_NESTED]]
            planted = await run_in_thread(agent_git_dir.find_planted, self._work, self._objects)
            reset += [f"a change to .git/{name}" for name in planted]
        state = found.state or self._state
        new = not_yet_told(strange, self._state.told)
        sentences = tuple(_NOT_KEPT.format(text) for text in [*reset, *new])
        told = (*self._state.told, *new)[-_MAX_TOLD:]
        if state.equals(self._state):
            changed = {GIT_STATE: replace(self._state, told=told).dump()} if new else {}
            return {**self.files_after_loss(), **changed}, sentences
        pack, refused = b"", ""
        try:
            pack = await pack_objects(self._sandbox, self._work, self._objects, self._quarantine, state)
        except AgentObjectsRefused as error:
            refused = str(error)
            sentences = (*sentences, _TOO_MUCH.format(refused))
        return _checkpoint_files(replace(state, lost=bool(refused), told=told), pack, self._commit), sentences


def _checkpoint_files(state: AgentRefs, pack: bytes, commit: str) -> Files:
    """Return the files of `git/` in a checkpoint; all go if the agent's git is as it was made."""
    plain = state.equals(new_state(commit)) and not state.told
    return {GIT_STATE: None if plain else state.dump(), GIT_PACK: pack or None}
