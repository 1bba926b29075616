"""The run's branch in the target repository after it was published: commits of others, and feedback as new tasks."""

import json
import re
from collections.abc import Mapping, Sequence

from temporalio import activity

from activities.runtime.failures import with_posture
from activities.runtime.heartbeat import heartbeating
from activities.runtime.stores import (
    Stores,
    holding,
    run_base,
    run_config,
    task_file,
    to_json,
    write_run_files,
)
from activities.session.journal import dump
from agents.messages.untrusted_text import fence
from baton import naming
from baton.errors import StaleAttempt, WorkspaceError
from baton.records.run import Maker
from baton.steps.github import FeedbackItem, OpenRoundInput, ResetInput, RoundOpened, TakeInInput, TakenIn
from baton.text.truncation import cut, first
from workspaces.checkpoints.checkpoint_files import conflict_file
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.delivery.merge import commit_tree, merge
from workspaces.delivery.published_branch import Theirs, branch_head, look_at
from workspaces.project.baton_toml import ProjectConfig
from workspaces.project.scopes import is_clean, scope_for
from workspaces.store.store import Store

_INSTRUCTIONS_LIMIT = 20_000
_MOST_RACES = 10
_MOST_WORDS = 300
_BETWEEN = re.compile(r"[\s`'\"()<>\[\],:;]+")
"""What stands around the path of a file in somebody's words."""
_LONGEST_PATH = 250
_MAKERS: tuple[Maker, ...] = ("backend", "frontend")


class UpstreamActivities:
    """The activities `take_in`, `take_theirs` and `open_round`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @activity.defn(name="take_in")
    @with_posture
    @heartbeating
    async def take_in(self, taking: TakeInInput) -> TakenIn:
        """Bring what others pushed to the run's branch into the integrated line; nothing of theirs is ever lost."""
        store = await self._stores.get(taking.repo)
        await store.catch_up(taking.run)
        theirs = await look_at(store, taking.branch, taking.published)
        if theirs.head is None or theirs.relation != "ahead":
            return TakenIn(relation=theirs.relation, head=theirs.head or "")
        async with holding(store, taking.run, taking.task) as checkpoints:
            for _ in range(_MOST_RACES):
                try:
                    return await self._merge(store, checkpoints, taking, theirs, theirs.head)
                except StaleAttempt:
                    continue
        raise WorkspaceError("The integrated line kept moving at the same moment; try again.")

    @activity.defn(name="take_theirs")
    @with_posture
    @heartbeating
    async def take_theirs(self, reset: ResetInput) -> TakenIn:
        """Let the integrated line be the branch as others left it; what we had stays in the store."""
        store = await self._stores.get(reset.repo)
        await store.catch_up(reset.run)
        head = await branch_head(store, reset.branch)
        if head is None:
            return TakenIn(relation="gone")
        ref = naming.integration_ref(reset.run)
        await store.move(ref, head, expected=await store.head(ref))
        return TakenIn(relation="same", head=head, moved=True)

    @activity.defn(name="open_round")
    @with_posture
    @heartbeating
    async def open_round(self, opening: OpenRoundInput) -> RoundOpened:
        """Write down a task of the engine's own: what people and checks say about the pull request, as data."""
        store = await self._stores.get(opening.repo)
        config = await run_config(store, opening.run)
        named = await self._named(store, opening)
        role = _role(named or await self._changed(store, opening.run), config, opening.role)
        task = {
            "id": opening.task,
            "title": opening.title,
            "role": role,
            "instructions": _instructions(opening.items),
            "acceptance": ["Each point is dealt with, or there is a reason why it is not", "The tests succeed"],
            "depends_on": [],
        }
        await self._write(store, opening.run, opening.task, task)
        return RoundOpened(role=role)

    async def _named(self, store: Store, opening: OpenRoundInput) -> list[str]:
        """Files that the feedback is about: those it is attached to, and those of the project that it names."""
        named = [item.path for item in opening.items if item.path]
        words = dict.fromkeys(
            word.strip(".")
            for item in opening.items
            for word in _BETWEEN.split(item.text)
            if "." in word and len(word) < _LONGEST_PATH
        )
        head = await store.head(naming.integration_ref(opening.run))
        tree = store.tree(head) if head else None
        for word in [*words][:_MOST_WORDS]:
            if tree and is_clean(word) and store.objects.entry(tree, word) is not None:
                named.append(word)
        return named

    async def _changed(self, store: Store, run: str) -> list[str]:
        """The files that the run has changed so far."""
        base = await run_base(store, run)
        head = await store.head(naming.integration_ref(run))
        return await store.changed_paths(base, head) if head else []

    async def _merge(
        self, store: Store, checkpoints: Checkpoints, taking: TakeInInput, theirs: Theirs, head: str
    ) -> TakenIn:
        ref, at = naming.integration_ref(taking.run), activity.info().scheduled_time
        lane = Lane(taking.run, taking.task)
        ours = await store.head(ref)
        if ours is None:
            raise store.elsewhere(taking.run, "integrated commit")
        opened = await checkpoints.head(lane)
        if opened is not None:
            # An earlier attempt found a conflict and got as far as opening the task for it.
            record = await store.read(opened, conflict_file(0))
            if record is not None and checkpoints.project_commit(opened) == head:
                return await self._conflict(store, taking, theirs, ours)
        if ours == head or await self._contains(store, ours, head):
            return TakenIn(relation="ahead", head=head, commits=theirs.commits, moved=True)
        if ours == taking.published:
            await store.move(ref, head, expected=ours)
            return TakenIn(relation="ahead", head=head, commits=theirs.commits, moved=True)
        merged = await merge(store, base=taking.published, ours=head, theirs=ours)
        if merged.tree is not None:
            message = f"Merge what others pushed to {taking.branch}\n\nBaton-Run: {taking.run}\n"
            # Ours comes first: the line of integrated commits is that of first parents.
            target = await commit_tree(store, merged.tree, [ours, head], message, at)
            await store.move(ref, target, expected=ours)
            return TakenIn(relation="ahead", head=head, commits=theirs.commits, moved=True)
        files = {conflict_file(0): dump({"paths": merged.conflicts, "ours": head, "theirs": ours})}
        await checkpoints.begin(lane, head, at=at, tree=merged.conflict_tree, files=files)
        return await self._conflict(store, taking, theirs, ours)

    async def _conflict(self, store: Store, taking: TakeInInput, theirs: Theirs, ours: str) -> TakenIn:
        """The task that resolves it goes on top of what others pushed; our side is in its workspace."""
        assert theirs.head is not None
        opened = await store.head(naming.task_ref(taking.run, taking.task))
        assert opened is not None
        paths = await _recorded(store, opened)
        role = _role(paths, await run_config(store, taking.run), taking.role)
        task = {
            "id": taking.task,
            "title": f"Bring our work and what others pushed to {taking.branch} together",
            "role": role,
            "instructions": (
                "While this work was made, others pushed commits to the same branch. Theirs stay as they are. The"
                " workspace holds both sides: resolve the conflict markers so that the intentions of both survive."
            ),
            "acceptance": ["No conflict marker is left", "The tests succeed"],
            "depends_on": [],
        }
        await self._write(store, taking.run, taking.task, task)
        if ours != theirs.head:
            await store.move(naming.integration_ref(taking.run), theirs.head, expected=ours)
        return TakenIn(
            relation="ahead",
            head=theirs.head,
            commits=theirs.commits,
            moved=True,
            conflicts=first(paths, 50),
            role=role,
        )

    async def _contains(self, store: Store, commit: str, other: str) -> bool:
        """Whether an earlier attempt has merged the other commit already."""
        return other in await store.parents(commit)

    async def _write(self, store: Store, run: str, task_id: str, task: Mapping[str, object]) -> None:
        at = activity.info().scheduled_time
        await write_run_files(store, run, {task_file(task_id): to_json(task)}, f"task {task_id}", at)


def _role(paths: Sequence[str], config: ProjectConfig, otherwise: str) -> str:
    """The maker that may change most of the paths; where they do not say, the one that was asked last."""
    counts = {role: len(paths) - len(scope_for(role, config).outside(paths)) for role in _MAKERS}
    best = max(_MAKERS, key=lambda role: (counts[role], role == otherwise))
    return best if counts[best] else otherwise


def _instructions(items: Sequence[FeedbackItem]) -> str:
    room = _INSTRUCTIONS_LIMIT // max(1, len(items)) - 300
    parts = ["The change is in a pull request. People and checks say this about it; deal with each point:"]
    for item in items:
        place = f" on {item.path}{f', line {item.line}' if item.line else ''}" if item.path else ""
        parts.append(fence(f"{item.source}{place}", item.text, limit=max(room, 200), keep="both"))
    return cut("\n\n".join(parts), _INSTRUCTIONS_LIMIT)


async def _recorded(store: Store, checkpoint: str) -> list[str]:
    data = await store.read(checkpoint, conflict_file(0))
    return [str(path) for path in json.loads(data)["paths"]] if data else []
