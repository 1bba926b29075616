"""The fork of a run: it takes over the plan, the integrated tasks, and one task's lane up to a turn, without copies.

Checkpoints and project commits never change, so a fork is a few refs of its own that point to existing commits.
"""

from temporalio import activity

from activities.runtime.step import step
from activities.runtime.stores import Stores, hold_lane, read_run_file, read_run_json, to_json, write_run_files
from activities.session.journal import UserEntry
from agents.plan import PlanTask as TaskOfPlan
from agents.reports import TesterReport
from baton import identifiers
from baton.records.run import Fork, RunDocument, TaskState
from baton.steps.store_paths import FORKED, PLAN, STATE, gate_file, handed_off_file, task_file, user_file
from baton.steps.task import Forked, ForkInput, GateResult, Plan, PlannedTask, Stage, TaskProgress
from workspaces.checkpoints.checkpoints import Checkpoints
from workspaces.checkpoints.fork_points import planned_roles, resolve_fork
from workspaces.store.store import Store

_STAGES: dict[str, Stage] = {"backend": "make", "frontend": "make", "tester": "test", "reviewer": "review"}


class ForkActivities:
    """The activity `adopt_fork`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @step("adopt_fork")
    async def adopt_fork(self, adopt: ForkInput) -> Forked:
        """Create the refs and files of the new run for the work that it takes over. Idempotent."""
        store = await self._stores.open_store(adopt.repo)
        await store.catch_up(adopt.fork.run)
        fork, checkpoint = await resolve_fork(store, adopt.fork)
        tasks = [
            TaskOfPlan.model_validate(await read_run_json(store, fork.run, task_file(task)))
            for task in await planned_roles(store, fork.run)
        ]
        files = {task_file(task.id): to_json(task.model_dump(mode="json")) for task in tasks}
        files[PLAN] = to_json([task.id for task in tasks])
        forked = Forked(
            plan=Plan(
                tasks=[
                    PlannedTask(id=task.id, title=task.title, role=task.role, depends_on=list(task.depends_on))
                    for task in tasks
                ]
            )
        )
        if checkpoint:
            files[FORKED] = to_json({"task": fork.task, "checkpoint": checkpoint})
            progress = await _task_progress(store, fork, checkpoint)
            forked.progress[fork.task] = progress
            forked.done = await _integrated_tasks(store, fork.run, progress.base, adopt.base)
            async with hold_lane(store, adopt.run, fork.task):
                if progress.candidate:
                    kept = identifiers.candidate_ref(adopt.run, fork.task, progress.candidate)
                    await store.move_ref(kept, progress.candidate, expected=None)
                for task, commit in forked.done.items():
                    await store.move_ref(identifiers.landing_ref(adopt.run, task, 0, commit), commit, expected=None)
                for ref in store.list_refs(fork.run):
                    if identifiers.is_contents_ref(ref):
                        own = ref.replace(f"/{fork.run}/", f"/{adopt.run}/", 1)
                        await store.move_ref(own, str(await store.read_head(ref)), expected=None)
                await store.move_ref(identifiers.integration_ref(adopt.run), progress.base, expected=adopt.base)
                await store.move_ref(identifiers.task_ref(adopt.run, fork.task), checkpoint, expected=None)
        said = f"forked from {fork.run} {fork.task}".strip()
        await write_run_files(store, adopt.run, files, said, activity.info().scheduled_time)
        return forked


async def _task_progress(store: Store, fork: Fork, checkpoint: str) -> TaskProgress:
    """Return the progress of the task at a checkpoint, as its workflow had it there."""
    number, _, role = fork.session.partition("-")
    progress = TaskProgress(
        round=int(number),
        last_round=int(number),
        stage=_STAGES[role],
        commit=checkpoint,
        base=Checkpoints(store).project_commit(checkpoint),
        turn=fork.turn + 1,
    )
    last = await store.read_file(checkpoint, user_file(fork.session, fork.turn)) if fork.turn else None
    if last is not None:
        progress.starts = UserEntry.model_validate_json(last).start
    gate = await store.read_file(checkpoint, gate_file(int(number)))
    if gate is not None:
        result = GateResult.model_validate_json(gate)
        progress.candidate, progress.evidence = result.candidate, result.evidence
    report = await store.read_file(checkpoint, handed_off_file(identifiers.session_name(int(number), "tester")))
    if report is not None:
        progress.tester_verdict = TesterReport.model_validate_json(report).verdict
    return progress


async def _integrated_tasks(store: Store, run: str, head: str, base: str) -> dict[str, str]:
    """Return the tasks of a run that were integrated between the base and a project commit, with their commits.

    By refs and `state.json`, never by commit messages, which models write.
    """
    whose = identifiers.tasks_by_commit(store.list_refs(run))
    state = await read_run_file(store, run, STATE)
    if state is not None:
        # Runs of older versions have no landing refs, only this file; in newer runs it may lag behind the refs.
        tasks = RunDocument.model_validate_json(state).tasks
        whose |= {task.commit: task.id for task in tasks if task.commit and task.state is TaskState.DONE}
    found: dict[str, str] = {}
    for commit in await store.first_parents(head, base):
        if commit in whose:
            found.setdefault(whose[commit], commit)
    return found
