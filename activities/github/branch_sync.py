"""The sync of a published branch: commits that others pushed to it, and feedback on it as new tasks."""

import json
import re
from collections.abc import Sequence

from temporalio import activity

from activities.runtime.engine_tasks import write_engine_task
from activities.runtime.step import step
from activities.runtime.stores import Stores, hold_lane, read_run_base, read_run_config
from activities.session.journal import dump_json
from agents.messages.untrusted_text import fence_text
from baton import identifiers
from baton.errors import StaleAttempt, WorkspaceError
from baton.records.run import Maker
from baton.steps.github import BranchSynced, FeedbackItem, OpenRoundInput, RoundOpened, SyncBranchInput, TakeBranchInput
from baton.steps.store_paths import conflict_file
from baton.text.truncation import cut_text, first_items
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.delivery.merge import commit_tree, merge_commits
from workspaces.delivery.published_branch import PublishedBranch, branch_head, compare_branch
from workspaces.project.baton_toml import ProjectConfig
from workspaces.project.scopes import is_clean, scope_for
from workspaces.store.store import Store

_MAX_INSTRUCTIONS = 20_000
_MAX_RACES = 10
_MAX_WORDS = 300
_BETWEEN = re.compile(r"[\s`'\"()<>\[\],:;]+")
"""Separators around the path of a file in a comment."""
_MAX_PATH = 250
_MAKERS: tuple[Maker, ...] = ("backend", "frontend")


class BranchSyncActivities:
    """The activities `take_in`, `take_theirs` and `open_round`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @step("take_in")
    async def take_in(self, taking: SyncBranchInput) -> BranchSynced:
        """Merge the commits that others pushed to the run's branch into the integrated line, and keep each of them."""
        store = await self._stores.open_store(taking.repo)
        await store.catch_up(taking.run)
        theirs = await compare_branch(store, taking.branch, taking.published)
        if theirs.head is None or theirs.relation != "ahead":
            return BranchSynced(relation=theirs.relation, head=theirs.head or "")
        async with hold_lane(store, taking.run, taking.task) as checkpoints:
            for _ in range(_MAX_RACES):
                try:
                    return await self._merge_published(store, checkpoints, taking, theirs, theirs.head)
                except StaleAttempt:
                    continue
        raise WorkspaceError("The integrated line kept moving at the same moment; try again.")

    @step("take_theirs")
    async def take_theirs(self, reset: TakeBranchInput) -> BranchSynced:
        """Reset the integrated line to the branch as others left it; the replaced commits stay in the store."""
        store = await self._stores.open_store(reset.repo)
        await store.catch_up(reset.run)
        head = await branch_head(store, reset.branch)
        if head is None:
            return BranchSynced(relation="gone")
        ref = identifiers.integration_ref(reset.run)
        await store.move_ref(ref, head, expected=await store.read_head(ref))
        return BranchSynced(relation="same", head=head)

    @step("open_round")
    async def open_round(self, opening: OpenRoundInput) -> RoundOpened:
        """Write a task of the engine's own with the feedback on the pull request, quoted as data."""
        store = await self._stores.open_store(opening.repo)
        config = await read_run_config(store, opening.run)
        named = await self._named_paths(store, opening)
        role = _best_maker(named or await self._changed_paths(store, opening.run), config, opening.role)
        await write_engine_task(
            store,
            opening.run,
            opening.task,
            title=opening.title,
            role=role,
            instructions=_feedback_instructions(opening.items),
            acceptance=["Each point is dealt with, or there is a reason why it is not", "The tests succeed"],
            at=activity.info().scheduled_time,
        )
        return RoundOpened(role=role)

    async def _named_paths(self, store: Store, opening: OpenRoundInput) -> list[str]:
        """Return the files that the feedback is attached to, and the files of the project that its text names."""
        named = [item.path for item in opening.items if item.path]
        words = dict.fromkeys(
            word.strip(".")
            for item in opening.items
            for word in _BETWEEN.split(item.text)
            if "." in word and len(word) < _MAX_PATH
        )
        head = await store.read_head(identifiers.integration_ref(opening.run))
        tree = store.find_tree(head) if head else None
        for word in [*words][:_MAX_WORDS]:
            if tree and is_clean(word) and store.objects.find_entry(tree, word) is not None:
                named.append(word)
        return named

    async def _changed_paths(self, store: Store, run: str) -> list[str]:
        """Return the files that the run has changed so far."""
        base = await read_run_base(store, run)
        head = await store.read_head(identifiers.integration_ref(run))
        return await store.changed_paths(base, head) if head else []

    async def _merge_published(
        self, store: Store, checkpoints: Checkpoints, taking: SyncBranchInput, theirs: PublishedBranch, head: str
    ) -> BranchSynced:
        ref, at = identifiers.integration_ref(taking.run), activity.info().scheduled_time
        lane = Lane(taking.run, taking.task)
        ours = await store.read_head(ref)
        if ours is None:
            raise store.work_elsewhere(taking.run, "integrated commit")
        opened = await checkpoints.read_head(lane)
        if opened is not None:
            # An earlier attempt found a conflict and has opened the lane of its task.
            record = await store.read_file(opened, conflict_file(0))
            if record is not None and checkpoints.project_commit(opened) == head:
                return await self._open_conflict_task(store, taking, theirs, ours)
        if ours == head or await self._has_merged(store, ours, head):
            return BranchSynced(relation="ahead", head=head, commits=theirs.commits)
        if ours == taking.published:
            await store.move_ref(ref, head, expected=ours)
            return BranchSynced(relation="ahead", head=head, commits=theirs.commits)
        merged = await merge_commits(store, base=taking.published, ours=head, theirs=ours)
        if merged.tree is not None:
            message = f"Merge what others pushed to {taking.branch}\n\nBaton-Run: {taking.run}\n"
            # Ours comes first: the integrated line follows first parents.
            target = await commit_tree(store, merged.tree, [ours, head], message, at)
            await store.move_ref(ref, target, expected=ours)
            return BranchSynced(relation="ahead", head=head, commits=theirs.commits)
        files = {conflict_file(0): dump_json({"paths": merged.conflicts, "ours": head, "theirs": ours})}
        await checkpoints.begin_lane(lane, head, at=at, tree=merged.conflict_tree, files=files)
        return await self._open_conflict_task(store, taking, theirs, ours)

    async def _open_conflict_task(
        self, store: Store, taking: SyncBranchInput, theirs: PublishedBranch, ours: str
    ) -> BranchSynced:
        """Write the task that resolves the conflict, and move the integrated line to the pushed commits."""
        assert theirs.head is not None
        opened = await store.read_head(identifiers.task_ref(taking.run, taking.task))
        assert opened is not None
        paths = await _recorded_conflicts(store, opened)
        role = _best_maker(paths, await read_run_config(store, taking.run), taking.role)
        await write_engine_task(
            store,
            taking.run,
            taking.task,
            title=f"Bring our work and what others pushed to {taking.branch} together",
            role=role,
            instructions=(
                "While this work was made, others pushed commits to the same branch. Theirs stay as they are. The"
                " workspace holds both sides: resolve the conflict markers so that the intentions of both survive."
            ),
            acceptance=["No conflict marker is left", "The tests succeed"],
            at=activity.info().scheduled_time,
        )
        if ours != theirs.head:
            await store.move_ref(identifiers.integration_ref(taking.run), theirs.head, expected=ours)
        return BranchSynced(
            relation="ahead",
            head=theirs.head,
            commits=theirs.commits,
            conflicts=first_items(paths, 50),
            role=role,
        )

    async def _has_merged(self, store: Store, commit: str, other: str) -> bool:
        """Whether an earlier attempt has merged the other commit."""
        return other in await store.list_parents(commit)


def _best_maker(paths: Sequence[str], config: ProjectConfig, otherwise: str) -> str:
    """Return the maker whose scope has most of the paths; on a tie, or if no scope has any, `otherwise`."""
    counts = {role: len(paths) - len(scope_for(role, config).paths_outside(paths)) for role in _MAKERS}
    best = max(_MAKERS, key=lambda role: (counts[role], role == otherwise))
    return best if counts[best] else otherwise


def _feedback_instructions(items: Sequence[FeedbackItem]) -> str:
    share = _MAX_INSTRUCTIONS // max(1, len(items)) - 300
    parts = ["The change is in a pull request. People and checks say this about it; deal with each point:"]
    for item in items:
        place = f" on {item.path}{f', line {item.line}' if item.line else ''}" if item.path else ""
        parts.append(fence_text(f"{item.source}{place}", item.text, limit=max(share, 200), keep="both"))
    return cut_text("\n\n".join(parts), _MAX_INSTRUCTIONS)


async def _recorded_conflicts(store: Store, checkpoint: str) -> list[str]:
    data = await store.read_file(checkpoint, conflict_file(0))
    return [str(path) for path in json.loads(data)["paths"]] if data else []
