"""Takes another run's work over: its plan, what was integrated, and one task's lane up to a turn. Nothing is copied.

Checkpoints and project commits never change, so a fork is a few refs of its own that point at what is there.
"""

from temporalio import activity

from activities.runtime.failures import with_posture
from activities.runtime.heartbeat import heartbeating
from activities.runtime.stores import (
    FORKED,
    STATE,
    Stores,
    holding,
    run_file,
    run_json,
    task_file,
    to_json,
    write_run_files,
)
from activities.session.journal import UserEntry
from agents.plan import PlannedTask as TaskOfPlan
from agents.reports import TesterReport
from baton import naming
from baton.records.run import Fork, RunDocument, TaskState
from baton.steps.task import Forked, ForkInput, GateResult, Plan, PlannedTask, Stage, TaskProgress
from workspaces.checkpoints.checkpoint_files import gate_file, handoff_file, turn_file
from workspaces.checkpoints.checkpoints import Checkpoints
from workspaces.checkpoints.fork_points import PLAN, planned_roles, resolve_fork
from workspaces.store.store import Store

_STAGES: dict[str, Stage] = {"backend": "make", "frontend": "make", "tester": "test", "reviewer": "review"}


class ForkingActivities:
    """The activity `adopt_fork`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @activity.defn(name="adopt_fork")
    @with_posture
    @heartbeating
    async def adopt_fork(self, adopt: ForkInput) -> Forked:
        """Let the new run's refs point at what it takes over; a retry finds them there."""
        store = await self._stores.get(adopt.repo)
        await store.catch_up(adopt.fork.run)
        fork, checkpoint = await resolve_fork(store, adopt.fork)
        tasks = [
            TaskOfPlan.model_validate(await run_json(store, fork.run, task_file(task)))
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
            progress = await _progress(store, fork, checkpoint)
            forked.progress[fork.task] = progress
            forked.done = await _integrated(store, fork.run, progress.base, adopt.base)
            async with holding(store, adopt.run, fork.task):
                if progress.candidate:
                    kept = naming.candidate_ref(adopt.run, fork.task, progress.candidate)
                    await store.move(kept, progress.candidate, expected=None)
                for task, commit in forked.done.items():
                    await store.move(naming.landing_ref(adopt.run, task, 0, commit), commit, expected=None)
                for ref in store.refs(fork.run):
                    if naming.is_contents_ref(ref):
                        own = ref.replace(f"/{fork.run}/", f"/{adopt.run}/", 1)
                        await store.move(own, str(await store.head(ref)), expected=None)
                await store.move(naming.integration_ref(adopt.run), progress.base, expected=adopt.base)
                await store.move(naming.task_ref(adopt.run, fork.task), checkpoint, expected=None)
        said = f"forked from {fork.run} {fork.task}".strip()
        await write_run_files(store, adopt.run, files, said, activity.info().scheduled_time)
        return forked


async def _progress(store: Store, fork: Fork, checkpoint: str) -> TaskProgress:
    """Where the task stands at a checkpoint, as its workflow would have it there."""
    number, _, role = fork.session.partition("-")
    progress = TaskProgress(
        round=int(number),
        last_round=int(number),
        stage=_STAGES[role],
        commit=checkpoint,
        base=Checkpoints(store).project_commit(checkpoint),
        turn=fork.turn + 1,
    )
    last = await store.read(checkpoint, turn_file(fork.session, fork.turn, "user")) if fork.turn else None
    if last is not None:
        progress.starts = UserEntry.model_validate_json(last).start
    gate = await store.read(checkpoint, gate_file(int(number)))
    if gate is not None:
        result = GateResult.model_validate_json(gate)
        progress.candidate, progress.evidence = result.candidate, result.evidence
    report = await store.read(checkpoint, handoff_file(naming.session_name(int(number), "tester")))
    if report is not None:
        progress.tester_verdict = TesterReport.model_validate_json(report).verdict
    return progress


async def _integrated(store: Store, run: str, head: str, base: str) -> dict[str, str]:
    """The tasks of a run whose commits lie between the base and a project commit, as the engine's own data have it.

    Messages of commits say it, too, but they hold words of models.
    """
    whose = naming.tasks_by_commit(store.refs(run))
    state = await run_file(store, run, STATE)
    if state is not None:
        # Of a run from before there were refs for this, it is all there is; later ones may lag behind their refs.
        tasks = RunDocument.model_validate_json(state).tasks
        whose |= {task.commit: task.id for task in tasks if task.commit and task.state is TaskState.DONE}
    found: dict[str, str] = {}
    for commit in await store.line(head, base):
        if commit in whose:
            found.setdefault(whose[commit], commit)
    return found
