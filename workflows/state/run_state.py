"""The books of a run: its document and its decisions, shown wherever people look, and kept in the store."""

from collections.abc import Callable
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.decision_book import DecisionBook
    from baton.policies import MAX_PLAN_TASKS
    from baton.records.run import GateDocument, RoundDocument, RunDocument, RunStatus, TaskDocument, TaskState
    from baton.steps.carried import CarriedRun
    from baton.steps.task import TaskNews, TaskProgress
    from workflows.calls.workspace_host import Host
    from workflows.state.left_out_notes import Remnants
    from workflows.state.state_file import Saver
    from workflows.state.visibility import Board

_MAX_LATE_TASKS = 50
_DROPPED_NOTE = "{count} earlier tasks of this run are not listed any more; `baton log` shows their checkpoints."


class Books:
    """What a run knows of itself. Whoever changes the document or a decision says so by `changed`."""

    def __init__(self, document: RunDocument, host: Host, *, lean: bool = False) -> None:
        """`lean` is false for runs whose history was begun before signals, saves and attributes were spaced."""
        self.document = document
        self.lean = lean
        self.decisions = DecisionBook()
        self._board = Board(document, lean=lean)
        self.saver = Saver(document, self.decisions, host, before=self._show_cost if lean else None)
        self.awaiting = ""
        """What a run waits for with nothing at work and nothing asked: a review, a merge."""
        self.stalled = ""
        """Who does not answer just now, though work could go on."""
        self.held = ""
        """What a step of the run itself waits for: a host, room on a disk."""
        self.stands: dict[str, TaskProgress] = {}
        """Where each task stands, as it has told last."""
        self.watch: Callable[[], None] = lambda: None
        """Told of each change, after it was shown."""
        self.remnants = Remnants(document)
        self.dropped: dict[str, int] = {}
        """The highest number of the tasks that the document no longer has, by their name."""

    def task(self, task_id: str) -> TaskDocument:
        """A task of the run; StopIteration where there is none of that id."""
        return next(task for task in self.document.tasks if task.id == task_id)

    def in_short(self) -> dict[str, object]:
        """Status, open decisions and cost."""
        document = self.document
        return {
            "run": document.run,
            "status": document.status.value,
            "pending_decisions": [decision.id for decision in self.decisions.open_ones()],
            "reminders": {decision.id: decision.reminders for decision in self.decisions.open_ones()},
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

    def restore(self, carried: CarriedRun) -> None:
        """Take over the state of the execution that this one continues; its document is this one's already."""
        self.decisions.restore(carried.decisions, carried.refusals)
        self.remnants.restore(carried.notes)
        self.dropped = dict(carried.dropped)
        # The search attributes come with the execution.
        self._board.skip(self.decisions.all())

    def free_task_id(self, name: str) -> str:
        """An id for a task of the engine's own: the name, with a number where there is such a task already."""
        known = {task.id for task in self.document.tasks}
        number = self.dropped.get(name, 0) + 1
        while (task_id := name if number == 1 else f"{name}-{number}") in known:
            number += 1
        return task_id

    def take(self, news: TaskNews) -> None:
        """Enter what a task tells of itself: where it stands, and what its last session cost."""
        document = self.document
        if news.progress is not None:
            self.stands[news.task] = news.progress
        self._waits(news.task, news.waiting_for)
        self.remnants.take(news)
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
                self._learn(news)
        document.notes += [note for note in news.billing if note not in document.notes]
        self.changed(save=bool(news.turns or news.steps))

    async def wait(self, what: str) -> None:
        """Enter what the run itself waits for; empty: for nothing any more."""
        self.held = what
        self.changed()

    def _waits(self, task: str, what: str) -> None:
        waits = {name: text for name, text in self.document.waiting_for.items() if name != task}
        self.document.waiting_for = {**waits, task: what} if what else waits

    def _learn(self, news: TaskNews) -> None:
        if news.evidence is not None:
            self.outcome(news.task, news.evidence_round, gate=GateDocument.of(news.evidence))
        if news.verdict and news.role in ("tester", "reviewer"):
            blocking = {"blocking": news.blocking} if news.role == "reviewer" else {}
            self.outcome(news.task, news.round, **{news.role: news.verdict}, **blocking)

    def outcome(self, task_id: str, number: int, **found: Any) -> None:
        """Enter what a round of a task has come to, by the fields of `RoundDocument`; round 0 is none."""
        if number:
            task = self.task(task_id)
            known = {outcome.round: outcome for outcome in task.outcomes}
            known[number] = known.get(number, RoundDocument(round=number)).model_copy(update=found)
            task.outcomes = [known[one] for one in sorted(known)]

    def begin_stage(self, task_id: str, stage: str, round_number: int) -> None:
        """Enter the stage from which an execution of a task's workflow starts."""
        task = self.task(task_id)
        task.stage, task.rounds = stage, max(task.rounds, round_number)
        self.changed()

    def set_status(self, status: RunStatus) -> None:
        """Enter a phase of the run."""
        self.document.status = status
        self.changed(save=True)

    def changed(self, *, save: bool = False) -> None:
        """Show what has changed; a run with nothing but decisions open waits.

        `save`: it must outlive the history. A run that begins to wait, or ends, is saved at once.
        """
        document = self.document
        if not document.status.is_final:
            idle = not any(task.state is TaskState.WORKING for task in document.tasks)
            if idle and (self.awaiting or self.decisions.open_ones()):
                document.status = RunStatus.WAITING
            elif document.status is not RunStatus.PUBLISHING:
                document.status = RunStatus.WORKING if document.tasks else RunStatus.PLANNING
        self._waits("run", self.held or self.stalled or self.awaiting)
        entered = self._board.show(self.decisions.all())
        if save:
            # A command takes its worker away once the run waits: then its files have to be there.
            self.saver.mark(urgent=entered and (document.status is RunStatus.WAITING or document.status.is_final))
        self.watch()

    def _show_cost(self) -> None:
        self._board.show(self.decisions.all(), cost=True)

    def set_aside(self, reason: str) -> None:
        """Give up what is not finished and what is not answered: the run ends well without it."""
        self.awaiting = self.stalled = ""
        for task in self.document.tasks:
            if not task.state.is_final:
                task.state, task.stage = TaskState.SKIPPED, reason
        for decision in self.decisions.open_ones():
            self.decisions.withdraw(decision.id, workflow.now())

    async def close(self, status: RunStatus, reason: str) -> None:
        """Close the books of a run that was not carried out to its end; work stays in the store."""
        document = self.document
        for task in document.tasks:
            if not task.state.is_final:
                task.state = TaskState.STOPPED if status is RunStatus.STOPPED else TaskState.FAILED
        for decision in self.decisions.open_ones():
            self.decisions.withdraw(decision.id, workflow.now())
        self.awaiting = self.stalled = self.held = ""
        document.waiting_for = {}
        document.notes.append(reason)
        document.ended_at = workflow.now()
        self.set_status(status)
        await self.saver.save_last()
