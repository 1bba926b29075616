"""Tasks and the line of integrated commits: a workspace from it, and an approved candidate into it.

Which commit is whose, the engine's own refs say (`naming.candidate_ref`, `naming.landing_ref`). The messages of
commits hold words of models and are for people only: nothing is read from them.
"""

from temporalio import activity

from activities.runtime.failures import with_posture
from activities.runtime.heartbeat import heartbeating
from activities.runtime.stores import Stores, holding, task_file, to_json, write_run_files
from activities.session.journal import dump
from baton import naming
from baton.errors import StaleAttempt, WorkspaceError
from baton.steps.task import Integrated, IntegrateInput, OpenTaskInput, RepairInput, TaskOpened
from baton.text.truncation import first
from workspaces.checkpoints.checkpoint_files import conflict_file
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.delivery.merge import begin_from_conflict, commit_tree, merge
from workspaces.sandbox.output_capture import cut_middle
from workspaces.store.store import Store

_MOST_RACES = 10
"""Tasks that integrate at the same moment: so often the loser of the race merges again."""


class IntegrationActivities:
    """The activities `open_task`, `open_repair` and `integrate_task`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @activity.defn(name="open_task")
    @with_posture
    @heartbeating
    async def open_task(self, task: OpenTaskInput) -> TaskOpened:
        """Open a task's lane on what is integrated so far; a retry gets the lane that is there."""
        store = await self._stores.get(task.repo)
        lane = Lane(task.run, task.task)
        async with holding(store, task.run, task.task) as checkpoints:
            existing = await checkpoints.head(lane)
            if existing is not None:
                base = checkpoints.project_commit(existing)
                return TaskOpened(commit=existing, base=base)
            base = await self._integrated(store, task.run)
            return TaskOpened(commit=await checkpoints.begin(lane, base, at=task.at), base=base)

    @activity.defn(name="open_repair")
    @with_posture
    @heartbeating
    async def open_repair(self, repair: RepairInput) -> None:
        """Write down a task of the engine's own: the merged result fails although every part passed."""
        store = await self._stores.get(repair.repo)
        evidence = repair.evidence
        task = {
            "id": repair.task,
            "title": repair.title,
            "role": repair.role,
            "instructions": (
                "Each task passed its tests on its own, but the merged result fails. Find out which parts do not fit "
                f"together and mend them. The engine ran `{evidence.command}` on commit {evidence.commit[:12]}; it "
                f"ended with exit code {evidence.exit_code}. The end of its log:\n\n"
                f"{cut_middle(evidence.log_tail, 18_000)}"
            ),
            "acceptance": [f"`{evidence.command}` succeeds on the merged result"],
            "depends_on": [],
        }
        await write_run_files(
            store,
            repair.run,
            {task_file(repair.task): to_json(task)},
            f"repair task {repair.task}",
            activity.info().scheduled_time,
        )

    @activity.defn(name="integrate_task")
    @with_posture
    @heartbeating
    async def integrate_task(self, integrate: IntegrateInput) -> Integrated:
        """Put an approved candidate on top of what is integrated; a conflict becomes a workspace for its maker."""
        store = await self._stores.get(integrate.repo)
        needed = (integrate.candidate, integrate.base, integrate.checkpoint)
        async with holding(store, integrate.run, integrate.task, *needed) as checkpoints:
            return await self._integrate(store, checkpoints, integrate)

    async def _integrate(self, store: Store, checkpoints: Checkpoints, integrate: IntegrateInput) -> Integrated:
        ref = naming.integration_ref(integrate.run)
        at = activity.info().scheduled_time
        for _ in range(_MOST_RACES):
            head = await self._integrated(store, integrate.run)
            landed = await self._landed(store, integrate, head)
            if landed:
                return Integrated(commit=landed)
            if head == integrate.base:
                target = integrate.candidate
            else:
                merged = await merge(store, base=integrate.base, ours=head, theirs=integrate.candidate)
                if merged.tree is None:
                    tree = merged.conflict_tree
                    return await self._conflict(store, checkpoints, integrate, head, merged.conflicts, tree)
                message = await store.message(integrate.candidate)
                target = await commit_tree(store, merged.tree, [head], message, at)
                # Before the line moves: an attempt that ends right after it must be known by its successor.
                landing = naming.landing_ref(integrate.run, integrate.task, integrate.round, target)
                await store.move(landing, target, expected=None)
            try:
                await store.move(ref, target, expected=head)
            except StaleAttempt:
                continue
            return Integrated(commit=target)
        raise WorkspaceError("Other tasks kept being integrated at the same moment; try again.")

    async def _integrated(self, store: Store, run: str) -> str:
        head = await store.head(naming.integration_ref(run))
        if head is None:
            raise store.elsewhere(run, "integrated commit")
        return head

    async def _landed(self, store: Store, integrate: IntegrateInput, head: str) -> str | None:
        """The commit by which this round of the task was integrated already, by an earlier attempt."""
        intended = {integrate.candidate, *landings(store, integrate.run, integrate.task, integrate.round)}
        return next((commit for commit in await store.line(head, integrate.base) if commit in intended), None)

    async def _conflict(
        self,
        store: Store,
        checkpoints: Checkpoints,
        integrate: IntegrateInput,
        head: str,
        paths: list[str],
        tree: str,
    ) -> Integrated:
        lane = Lane(integrate.run, integrate.task)
        current = await checkpoints.head(lane)
        standing = current is not None and checkpoints.stands_at(current, integrate.checkpoint)
        record = {"paths": paths, "ours": head, "theirs": integrate.candidate}
        checkpoint = await begin_from_conflict(
            store,
            lane,
            expected=current if current is not None and standing else integrate.checkpoint,
            tree=tree,
            project_base=head,
            files={conflict_file(integrate.round): dump(record)},
            at=activity.info().scheduled_time,
        )
        return Integrated(conflicts=first(paths, 50), checkpoint=checkpoint, base=head)


def landings(store: Store, run: str, task: str, round_number: int) -> list[str]:
    """The commits that attempts were about to integrate a round of a task as; not all of them were."""
    prefix = naming.landing_ref(run, task, round_number, "")
    return [ref.removeprefix(prefix) for ref in store.refs(run) if ref.startswith(prefix)]
