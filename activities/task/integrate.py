"""The line of integrated commits: a task's lane starts from it, and an approved candidate is merged into it.

The engine's own refs map commits to tasks (`identifiers.candidate_ref`, `identifiers.landing_ref`). Commit messages
are written by models and for people, so the engine reads no facts from them.
"""

from temporalio import activity

from activities.runtime.engine_tasks import write_engine_task
from activities.runtime.step import step
from activities.runtime.stores import Stores, hold_lane
from activities.session.journal import dump_json
from baton import identifiers
from baton.errors import StaleAttempt, WorkspaceError
from baton.steps.store_paths import conflict_file
from baton.steps.task import Integrated, IntegrateInput, OpenTaskInput, RepairInput, TaskOpened
from baton.text.truncation import first_items
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.delivery.merge import begin_from_conflict, commit_tree, merge_commits
from workspaces.sandbox.output_capture import cut_middle
from workspaces.store.store import Store

_MAX_RACES = 10
"""Maximum of merges of one candidate while other tasks integrate at the same time."""


class IntegrationActivities:
    """The activities `open_task`, `open_repair` and `integrate_task`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @step("open_task")
    async def open_task(self, task: OpenTaskInput) -> TaskOpened:
        """Open a task's lane on the integrated commit; a retry returns the lane that exists."""
        store = await self._stores.open_store(task.repo)
        lane = Lane(task.run, task.task)
        async with hold_lane(store, task.run, task.task) as checkpoints:
            existing = await checkpoints.read_head(lane)
            if existing is not None:
                base = checkpoints.project_commit(existing)
                return TaskOpened(commit=existing, base=base)
            base = await self._integrated_head(store, task.run)
            return TaskOpened(commit=await checkpoints.begin_lane(lane, base, at=task.at), base=base)

    @step("open_repair")
    async def open_repair(self, repair: RepairInput) -> None:
        """Write a repair task of the engine's own: the merged result fails although every part passed."""
        store = await self._stores.open_store(repair.repo)
        evidence = repair.evidence
        await write_engine_task(
            store,
            repair.run,
            repair.task,
            title=repair.title,
            role=repair.role,
            instructions=(
                "Each task passed its tests on its own, but the merged result fails. Find out which parts contradict "
                f"each other and fix them. The engine ran `{evidence.command}` on commit {evidence.commit[:12]}; it "
                f"ended with exit code {evidence.exit_code}. The end of its log:\n\n"
                f"{cut_middle(evidence.log_tail, 18_000)}"
            ),
            acceptance=[f"`{evidence.command}` succeeds on the merged result"],
            at=activity.info().scheduled_time,
            kind="repair task",
        )

    @step("integrate_task")
    async def integrate_task(self, integrate: IntegrateInput) -> Integrated:
        """Merge an approved candidate into the integrated line; a conflict becomes a workspace for its maker."""
        store = await self._stores.open_store(integrate.repo)
        needed = (integrate.candidate, integrate.base, integrate.checkpoint)
        async with hold_lane(store, integrate.run, integrate.task, *needed) as checkpoints:
            return await self._integrate_candidate(store, checkpoints, integrate)

    async def _integrate_candidate(
        self, store: Store, checkpoints: Checkpoints, integrate: IntegrateInput
    ) -> Integrated:
        ref = identifiers.integration_ref(integrate.run)
        at = activity.info().scheduled_time
        for _ in range(_MAX_RACES):
            head = await self._integrated_head(store, integrate.run)
            landed = await self._landed_commit(store, integrate, head)
            if landed:
                return Integrated(commit=landed)
            if head == integrate.base:
                target = integrate.candidate
            else:
                merged = await merge_commits(store, base=integrate.base, ours=head, theirs=integrate.candidate)
                if merged.tree is None:
                    tree = merged.conflict_tree
                    return await self._record_conflict(store, checkpoints, integrate, head, merged.conflicts, tree)
                message = await store.commit_message(integrate.candidate)
                target = await commit_tree(store, merged.tree, [head], message, at)
                # Before the line moves, so that a retry recognises the commit of an attempt that died right after.
                landing = identifiers.landing_ref(integrate.run, integrate.task, integrate.round, target)
                await store.move_ref(landing, target, expected=None)
            try:
                await store.move_ref(ref, target, expected=head)
            except StaleAttempt:
                continue
            return Integrated(commit=target)
        raise WorkspaceError("Other tasks kept being integrated at the same moment; try again.")

    async def _integrated_head(self, store: Store, run: str) -> str:
        head = await store.read_head(identifiers.integration_ref(run))
        if head is None:
            raise store.work_elsewhere(run, "integrated commit")
        return head

    async def _landed_commit(self, store: Store, integrate: IntegrateInput, head: str) -> str | None:
        """Return the commit as which an earlier attempt integrated this round of the task; None if there is none."""
        intended = {integrate.candidate, *landing_commits(store, integrate.run, integrate.task, integrate.round)}
        return next((commit for commit in await store.first_parents(head, integrate.base) if commit in intended), None)

    async def _record_conflict(
        self,
        store: Store,
        checkpoints: Checkpoints,
        integrate: IntegrateInput,
        head: str,
        paths: list[str],
        tree: str,
    ) -> Integrated:
        lane = Lane(integrate.run, integrate.task)
        current = await checkpoints.read_head(lane)
        standing = current is not None and checkpoints.stands_at(current, integrate.checkpoint)
        record = {"paths": paths, "ours": head, "theirs": integrate.candidate}
        checkpoint = await begin_from_conflict(
            store,
            lane,
            expected=current if current is not None and standing else integrate.checkpoint,
            tree=tree,
            project_base=head,
            files={conflict_file(integrate.round): dump_json(record)},
            at=activity.info().scheduled_time,
        )
        return Integrated(conflicts=first_items(paths, 50), checkpoint=checkpoint, base=head)


def landing_commits(store: Store, run: str, task: str, round_number: int) -> list[str]:
    """Return the commits that attempts made to integrate a round of a task; not all of them were integrated."""
    prefix = identifiers.landing_ref(run, task, round_number, "")
    return [ref.removeprefix(prefix) for ref in store.list_refs(run) if ref.startswith(prefix)]
