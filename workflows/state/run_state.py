"""The books of a run: its document and its decisions, shown wherever people look, and kept in the store."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.decision_book import DecisionBook
    from baton.policies import MAX_PLAN_TASKS
    from baton.records.run import (
        ErrorRecord,
        Evidence,
        Fork,
        GateDocument,
        RoundDocument,
        RunDocument,
        RunStatus,
        TaskDocument,
        TaskState,
    )
    from baton.steps.carried import CarriedRun
    from baton.steps.publish import ReducedCommit
    from baton.steps.task import Plan, Prepared, TaskProgress, TaskProgressSignal
    from workflows.calls.workspace_host import WorkspaceHost
    from workflows.state.left_out_notes import LeftOutNotes
    from workflows.state.state_file import StateWriter
    from workflows.state.visibility import Visibility

_MAX_LATE_TASKS = 50
_MAX_ERRORS = 200
_DROPPED_NOTE = "{count} earlier tasks of this run are not listed any more; `baton log` shows their checkpoints."


def status_of(phase: RunStatus, tasks: Sequence[TaskState], *, waits: bool) -> RunStatus:
    """Return the status of a run by its phase, its tasks, and whether a decision is open or a review is awaited.

    A run waits where no task is at work. Otherwise it plans until there are tasks, and works until it publishes.
    """
    if phase.is_final:
        return phase
    if waits and TaskState.WORKING not in tasks:
        return RunStatus.WAITING
    if phase is RunStatus.PUBLISHING:
        return phase
    return RunStatus.WORKING if tasks else RunStatus.PLANNING


class RunState:
    """The state of a run and the one writer of its document. Each change is shown and saved by `changed`."""

    def __init__(self, document: RunDocument, host: WorkspaceHost, *, lean: bool = False) -> None:
        """`lean` is false for runs whose history was begun before signals, saves and attributes were spaced."""
        self.document = document
        self.lean = lean
        self.decisions = DecisionBook()
        self._board = Visibility(document, lean=lean)
        self.saver = StateWriter(document, self.decisions, host, before=self._show_cost if lean else None)
        self.awaiting = ""
        """The wait of a run with no task at work and no decision open: for a review, or a merge."""
        self.stalled = ""
        """Who does not answer just now, though work could go on."""
        self.held = ""
        """What a step of the run itself waits for: a host, room on a disk."""
        self.stands: dict[str, TaskProgress] = {}
        """Where each task stands, as it has told last."""
        self.watch: Callable[[], None] = lambda: None
        """Told of each change, after it was shown."""
        self.remnants = LeftOutNotes(document)
        self._phase = document.status
        self.dropped: dict[str, int] = {}
        """The highest number of the tasks that the document no longer has, by their name."""

    def find_task(self, task_id: str) -> TaskDocument:
        """A task of the run; StopIteration where there is none of that id."""
        return next(task for task in self.document.tasks if task.id == task_id)

    def summarise_run(self) -> dict[str, object]:
        """Status, open decisions and cost."""
        document = self.document
        return {
            "run": document.run,
            "status": document.status.value,
            "pending_decisions": [decision.id for decision in self.decisions.list_open()],
            "reminders": {decision.id: decision.reminders for decision in self.decisions.list_open()},
            "cost_usd": document.cost_usd,
            "turns": document.turns,
            "tasks": {task.id: task.state.value for task in document.tasks},
            "branch": document.branch,
            "head_commit": document.head_commit,
        }

    def drop_old_tasks(self) -> None:
        """Bound the document of a run that goes on for months: keep the plan and the latest tasks of the engine's own.

        The commits, reports and logs of the others are in the store; their costs are in the totals.
        """
        tasks = self.document.tasks
        old = tasks[MAX_PLAN_TASKS:-_MAX_LATE_TASKS]
        if not old:
            return
        for task in old:
            name, _, number = task.id.rpartition("-")
            if number.isdecimal():
                self.dropped[name] = max(self.dropped.get(name, 0), int(number))
            self.dropped[task.id] = max(self.dropped.get(task.id, 0), 1)
        self.document.tasks = [*tasks[:MAX_PLAN_TASKS], *tasks[-_MAX_LATE_TASKS:]]
        count = sum(self._count_dropped(note) for note in self.document.notes) + len(old)
        self.document.notes = [note for note in self.document.notes if not self._count_dropped(note)]
        self.document.notes.append(_DROPPED_NOTE.format(count=count))

    @staticmethod
    def _count_dropped(note: str) -> int:
        before, after = _DROPPED_NOTE.split("{count}")
        number = note.removeprefix(before).removesuffix(after)
        return int(number) if number.isdecimal() and note == _DROPPED_NOTE.format(count=number) else 0

    def restore_state(self, carried: CarriedRun) -> None:
        """Take over the state of the execution that this one continues; its document is this one's already."""
        self.decisions.restore(carried.decisions, carried.refusals)
        self.remnants.restore_notes(carried.notes)
        self.dropped = dict(carried.dropped)
        # The search attributes come with the execution.
        self._board.take_as_shown(self.decisions.list_all())
        if carried.unsaved:
            self.saver.mark_changed()

    def free_task_id(self, name: str) -> str:
        """An id for a task of the engine's own: the name, with a number where there is such a task already."""
        known = {task.id for task in self.document.tasks}
        number = self.dropped.get(name, 0) + 1
        while (task_id := name if number == 1 else f"{name}-{number}") in known:
            number += 1
        return task_id

    def take_progress(self, news: TaskProgressSignal) -> None:
        """Enter the progress of a task: its stage, and the cost of its last session."""
        document = self.document
        if news.progress is not None:
            self.stands[news.task] = news.progress
        self._set_wait(news.task, news.waiting_for)
        self.remnants.take_progress(news)
        document.cost_usd = round(document.cost_usd + news.cost_usd, 8)
        document.turns += news.turns
        if news.cost_usd:
            model = document.models.get(news.role, "unknown")
            for costs, name in ((document.cost_by_role, news.role), (document.cost_by_model, model)):
                costs[name] = round(costs.get(name, 0.0) + news.cost_usd, 8)
        for task in document.tasks:
            if task.id == news.task:
                task.rounds = max(task.rounds, news.round, news.next_round)
                task.cost_usd = round(task.cost_usd + news.cost_usd, 8)
                task.turns += news.turns
                task.stage = news.stage or task.stage
                self._take_outcome(news)
        document.notes += [note for note in news.billing if note not in document.notes]
        self.mark_changed(save=bool(news.turns or news.steps))

    async def set_held(self, what: str) -> None:
        """Enter the wait of a step of the run itself; an empty text ends it."""
        self.held = what
        self.mark_changed()

    def _set_wait(self, task: str, what: str) -> None:
        waits = {name: text for name, text in self.document.waiting_for.items() if name != task}
        self.document.waiting_for = {**waits, task: what} if what else waits

    def _take_outcome(self, news: TaskProgressSignal) -> None:
        if news.evidence is not None:
            self.set_outcome(news.task, news.evidence_round, gate=GateDocument.from_evidence(news.evidence))
        if news.verdict and news.role in ("tester", "reviewer"):
            blocking = {"blocking": news.blocking} if news.role == "reviewer" else {}
            self.set_outcome(news.task, news.round, **{news.role: news.verdict}, **blocking)

    def set_outcome(self, task_id: str, number: int, **found: Any) -> None:
        """Enter the outcome of a task's round, by the fields of `RoundDocument`; round 0 is none."""
        if number:
            task = self.find_task(task_id)
            known = {outcome.round: outcome for outcome in task.outcomes}
            known[number] = known.get(number, RoundDocument(round=number)).model_copy(update=found)
            task.outcomes = [known[one] for one in sorted(known)]

    def begin_stage(self, task_id: str, stage: str, round_number: int) -> None:
        """Enter the stage from which an execution of a task's workflow starts."""
        task = self.find_task(task_id)
        task.stage, task.rounds = stage, max(task.rounds, round_number)
        self.mark_changed()

    def enter_phase(self, phase: RunStatus) -> None:
        """Enter a phase of the run; the status follows from it (`status_of`)."""
        self._phase = phase
        if not self.lean:
            self.document.status = phase
        self.mark_changed(save=True)

    def await_outside(self, reason: str) -> None:
        """Wait with no task at work and no decision open, such as for a review."""
        self.awaiting = reason
        self.enter_phase(RunStatus.WORKING if self.lean else RunStatus.WAITING)

    def pause_phase(self) -> RunStatus:
        """Let a question of the run itself show as waiting; returns the status to `resume_phase` with."""
        status = self.document.status
        if not self.lean:
            self.document.status = RunStatus.WORKING
        return status

    def resume_phase(self, status: RunStatus | None) -> None:
        """Go on after a question of the run itself; None: with the status as it is."""
        if not self.lean and status is not None:
            self.document.status = status
        self.mark_changed(save=True)

    # ---- what the document says of the run

    def set_prepared(self, prepared: Prepared) -> None:
        """Enter the facts about the repository."""
        document = self.document
        document.base_commit = prepared.base_commit
        document.notes += prepared.notes
        document.models = prepared.models
        document.sandboxed = prepared.sandboxed
        document.binds = prepared.binds

    def add_notes(self, *texts: str) -> None:
        """Add remarks for the reader of the document, each one once."""
        self.document.notes += [text for text in texts if text not in self.document.notes]

    def set_fork(self, fork: Fork) -> None:
        """Enter the run that this one goes on from."""
        self.document.forked_from = fork

    def add_error(self, record: ErrorRecord) -> None:
        """Add an error record; of too many, the oldest are dropped."""
        self.document.errors = [*self.document.errors[-(_MAX_ERRORS - 1) :], record]

    def set_gate(self, evidence: Evidence) -> None:
        """Enter the result of the gate on the merged commit."""
        self.document.gate = GateDocument.from_evidence(evidence)

    def set_head(self, commit: str) -> None:
        """Enter the integrated commit."""
        self.document.head_commit = commit

    def set_branch(self, branch: str) -> None:
        """Enter the branch in the target repository."""
        self.document.branch = branch

    def set_pull_request(self, url: str) -> bool:
        """Enter the link to the pull request; whether it is a new one."""
        new = bool(url) and self.document.pull_request != url
        if new:
            self.document.pull_request = url
        return new

    def rewrite_commits(self, reduced: ReducedCommit) -> None:
        """Enter the commits of a line of integrated commits that was made anew."""
        self.document.head_commit = reduced.commit
        for task in self.document.tasks:
            task.commit = reduced.renamed.get(task.commit or "", task.commit)
        self.mark_changed(save=True)

    # ---- what it says of the tasks

    def set_plan(self, plan: Plan, done: Mapping[str, str]) -> None:
        """Enter the tasks of the plan; `done` has the commits of those that another run has integrated."""
        self.document.tasks = [
            TaskDocument(id=task.id, title=task.title, role=task.role, depends_on=task.depends_on)
            for task in plan.tasks
        ]
        for task in self.document.tasks:
            if task.id in done:
                task.state, task.commit = TaskState.DONE, done[task.id]

    def add_task(self, task_id: str, title: str, role: str) -> TaskDocument:
        """Add a task of the engine's own."""
        task = TaskDocument(id=task_id, title=title, role=role)
        self.document.tasks.append(task)
        return task

    def set_task(self, task_id: str, state: TaskState | None = None, stage: str | None = None) -> None:
        """Enter the state of a task, and its stage for people."""
        task = self.find_task(task_id)
        task.state = task.state if state is None else state
        task.stage = task.stage if stage is None else stage

    def finish_task(self, task_id: str, commit: str) -> None:
        """Enter a task as integrated."""
        task = self.find_task(task_id)
        task.state, task.commit, task.stage = TaskState.DONE, commit, ""
        self.set_head(commit)
        self.mark_changed(save=True)

    def skip_task(self, task_id: str, reason: str) -> None:
        """Enter a task as given up."""
        self.set_task(task_id, TaskState.SKIPPED, reason)
        self.mark_changed(save=True)

    def mark_changed(self, *, save: bool = False) -> None:
        """Show the changed state, and mark it for the next save.

        `save`: it must outlive the history. A run that begins to wait, or ends, is saved at once.
        """
        document = self.document
        # A history of before has taken the status for the phase.
        phase = self._phase if self.lean else document.status
        waits = bool(self.awaiting or self.decisions.list_open())
        document.status = status_of(phase, [task.state for task in document.tasks], waits=waits)
        self._set_wait("run", self.held or self.stalled or self.awaiting)
        entered = self._board.show_run(self.decisions.list_all())
        if save:
            # A command takes its worker away once the run waits: then its files have to be there.
            self.saver.mark_changed(
                urgent=entered and (document.status is RunStatus.WAITING or document.status.is_final)
            )
        self.watch()

    def _show_cost(self) -> None:
        self._board.show_run(self.decisions.list_all(), cost=True)

    def set_aside(self, reason: str) -> None:
        """Give up unfinished tasks and open decisions: the run ends well without them."""
        self.awaiting = self.stalled = ""
        for task in self.document.tasks:
            if not task.state.is_final:
                task.state, task.stage = TaskState.SKIPPED, reason
        for decision in self.decisions.list_open():
            self.decisions.withdraw_decision(decision.id, workflow.now())

    def set_ended(self, status: RunStatus) -> None:
        """Enter the end of the run."""
        self.document.ended_at = workflow.now()
        self.enter_phase(status)

    async def close_early(self, status: RunStatus, reason: str) -> None:
        """Close the books of a run that was not carried out to its end; work stays in the store."""
        document = self.document
        for task in document.tasks:
            if not task.state.is_final:
                task.state = TaskState.STOPPED if status is RunStatus.STOPPED else TaskState.FAILED
        for decision in self.decisions.list_open():
            self.decisions.withdraw_decision(decision.id, workflow.now())
        self.awaiting = self.stalled = self.held = ""
        document.waiting_for = {}
        document.notes.append(reason)
        self.set_ended(status)
        await self.saver.save_last()
