"""The workflow `Pipeline`: one run, from the change request to the published branch. It owns decisions and budget."""

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.repository import RepositoryActivities
    from baton import naming
    from baton.contracts import (
        Decide,
        Decision,
        Guide,
        RunDocument,
        RunRequest,
        RunStatus,
        TaskDocument,
        TaskState,
    )
    from baton.decisions import DecisionBook, DecisionRefused
    from baton.policies import GIT_TIMEOUT
    from baton.steps import (
        Guidance,
        PlannedTask,
        Prepared,
        PrepareInput,
        TaskInput,
        TaskNews,
        TaskProgress,
        TaskResult,
    )
    from workflows.board import Board
    from workflows.caps import CapKeeper
    from workflows.children import tend
    from workflows.clock import WallClock
    from workflows.escalation import Abort, Escalations, Skip
    from workflows.finishing import Finish
    from workflows.messages import Unreadable, read
    from workflows.orchestrator import Orchestrator
    from workflows.saving import Saver
    from workflows.steps import Host, StepFailed
    from workflows.task import Task


@workflow.defn(name="Pipeline", failure_exception_types=[ApplicationError])
class Pipeline:
    """prepare -> plan -> tasks by their dependencies, in parallel -> gate -> publish."""

    @workflow.init
    def __init__(self, *given: Any) -> None:
        run = workflow.info().workflow_id
        self._refusal = ""
        try:
            request = read(RunRequest, given)
            if not naming.is_run_id(run):
                raise Unreadable(
                    f"{run[:150]!r} cannot be the id of a run: up to 120 letters, digits, dots, dashes, `_`."
                )
        except Unreadable as fault:
            self._refusal = f"The run cannot start. {fault}"
            request = RunRequest(task="(none that can be read)", repo="(none)")
        self._request = request.model_copy(update={"run": run})
        self._document = RunDocument(
            run=run,
            status=RunStatus.PLANNING,
            repo=request.repo,
            task=request.task[:500],
            started_at=workflow.info().start_time,
        )
        if request.scripted_model:
            self._document.notes.append("The model is scripted: a local stand-in answered instead of Claude.")
        self._book = DecisionBook()
        self._board = Board(self._document)
        self._host = Host()
        self._saver = Saver(self._document, self._book, self._host)
        self._escalations = Escalations(self._document, self._book, self._changed)
        self._clock = WallClock(lambda: self._document.status is RunStatus.WAITING)
        self._caps = CapKeeper(self._request, self._host, self._escalations, self._clock)
        self._orchestrator = Orchestrator(self._request, self._host, self.news, self._clock.halt)
        self._inboxes: dict[str, list[str]] = {}
        self._prepared: Prepared | None = None
        self._slots = asyncio.Semaphore(1)

    # ---- what people send

    @workflow.signal(
        description='Answer an open decision. Input: {"decision_id": "D1", "choice": "...", "note": "...", "by": "..."}'
    )
    def decide(self, *answer: Any) -> None:
        """Answer a decision (`Decide`); an answer that cannot be taken is recorded as refused."""
        try:
            self._escalations.answer(read(Decide, answer))
        except (Unreadable, DecisionRefused) as refusal:
            self._escalations.refuse(f"An answer was refused: {refusal}")

    @workflow.update(
        description='Answer an open decision. Input: {"decision_id": "D1", "choice": "...", "note": "...", "by": "..."}'
    )
    def submit_decision(self, *answer: Any) -> Decision:
        """Answer a decision (`Decide`); returns it as answered."""
        return self._escalations.answer(read(Decide, answer))

    @submit_decision.validator
    def _check_decision(self, *answer: Any) -> None:
        self._book.check(read(Decide, answer))

    @workflow.signal(
        description='A message to the agents at work, for their next turn. Input: {"text": "...", "task_id": "t1"}'
    )
    def guide(self, *given: Any) -> None:
        """Give a message (`Guide`) to one task, or to all; those that are not at work take it in when they go on."""
        try:
            message = read(Guide, given)
        except Unreadable as fault:
            self._escalations.refuse(f"A message to the agents was refused: {fault}")
            return
        ended = {task.id for task in self._document.tasks if task.state.is_final}
        reached = [task for task in self._inboxes if task not in ended and message.task_id in (None, task)]
        for task in reached:
            self._inboxes[task].append(message.text)
        if not reached:
            whom = f"task {message.task_id[:40]}" if message.task_id else "any task"
            self._escalations.refuse(f"A message for {whom} reached nobody.")

    @workflow.signal(description="Internal: a task tells what it does now.")
    def news(self, *told: Any) -> None:
        """Take in what a task tells of itself (`TaskNews`)."""
        try:
            news = read(TaskNews, told)
        except Unreadable as fault:
            workflow.logger.warning("news that cannot be read: %s", fault)
            return
        self._document.cost_usd = round(self._document.cost_usd + news.cost_usd, 8)
        self._document.turns += news.turns
        if news.cost_usd:
            model = self._document.models.get(news.role, "unknown")
            for costs, name in ((self._document.cost_by_role, news.role), (self._document.cost_by_model, model)):
                costs[name] = round(costs.get(name, 0.0) + news.cost_usd, 8)
        for task in self._document.tasks:
            if task.id == news.task:
                task.rounds = max(task.rounds, news.round)
                task.cost_usd = round(task.cost_usd + news.cost_usd, 8)
                task.turns += news.turns
                task.stage = news.stage or task.stage
        self._changed(save=bool(news.turns))

    # ---- what people ask

    @workflow.query(description="Status, open decisions, cost, in short")
    def status(self) -> dict[str, object]:
        """The run in short."""
        document = self._document
        return {
            "run": document.run,
            "status": document.status.value,
            "pending_decisions": [decision.id for decision in self._book.open_ones()],
            "cost_usd": document.cost_usd,
            "turns": document.turns,
            "tasks": {task.id: task.state.value for task in document.tasks},
            "branch": document.branch,
            "head_commit": document.head_commit,
        }

    @workflow.query(description="The run's document: what state.json holds")
    def state(self) -> RunDocument:
        """The run's document."""
        return self._saver.current()

    @workflow.query(description="All decisions: what decisions.json holds")
    def decisions(self) -> list[Decision]:
        """All decisions, open or not."""
        return self._book.all()

    # ---- the run

    @workflow.run
    async def run(self, *given: Any) -> RunDocument:
        """Carry a run (`RunRequest`) out. Fails with one useful line; a cancellation keeps the work and ends so."""
        self._changed()
        if self._refusal:
            raise await self._end(RunStatus.FAILED, self._refusal)
        saving = asyncio.create_task(self._saver.run())
        try:
            await self._carry_out()
            failure = None
        except Abort as abort:
            failure = await self._end(RunStatus.STOPPED, str(abort))
        except Skip as skip:
            failure = await self._end(
                RunStatus.STOPPED, f"The merged result was not tested, so it is not published: {skip}."
            )
        except StepFailed as failed:
            self._escalations.record_error("engine", "run", str(failed), "run", failed.attempted, "the run failed")
            failure = await self._end(RunStatus.FAILED, str(failed))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) or (
                isinstance(error, Exception) and is_cancelled_exception(error)
            ):
                await self._end(RunStatus.STOPPED, "The run was stopped; its work is kept in the store.")
            raise
        finally:
            saving.cancel()
        if failure is not None:
            raise failure
        return self._saver.current()

    async def _carry_out(self) -> None:
        prepared = await self._prepare()
        clock = asyncio.create_task(self._clock.run(prepared.limits.wall_clock_seconds))
        try:
            await self._work(prepared)
        finally:
            clock.cancel()

    async def _work(self, prepared: Prepared) -> None:
        plan = await self._orchestrator.plan(prepared, self._escalations, self._inboxes, self._caps)
        self._document.tasks = [
            TaskDocument(id=task.id, title=task.title, role=task.role, depends_on=task.depends_on)
            for task in plan.tasks
        ]
        self._set_status(RunStatus.WORKING)
        self._slots = asyncio.Semaphore(prepared.limits.parallel)
        self._inboxes = {task.id: list(self._orchestrator.left_over) for task in plan.tasks}
        await self._drive_all(plan.tasks)
        done = [task for task in self._document.tasks if task.state is TaskState.DONE]
        if not done:
            raise StepFailed("No task was finished, so there is nothing to publish.", "NothingDone", retried=False)
        self._set_status(RunStatus.PUBLISHING)
        finish = Finish(
            self._request,
            self._document,
            self._host,
            self._drive,
            lambda: self._changed(save=True),
            self._caps,
            self._escalations,
        )
        await finish.run(prepared.base_commit)
        self._document.ended_at = workflow.now()
        self._set_status(RunStatus.DONE)
        try:
            await self._saver.save_now(closing=True)
        except StepFailed as failure:
            # The branch is there: a full disk must not make a failed run of it now.
            self._document.notes.append(f"The last state.json could not be written: {failure}")

    async def _prepare(self) -> Prepared:
        prepared = await self._host.step(
            RepositoryActivities.prepare_run,
            PrepareInput(request=self._request),
            timeout=GIT_TIMEOUT,
            summary=f"prepare {self._request.repo}",
        )
        self._prepared = prepared
        self._document.base_commit = prepared.base_commit
        self._document.notes += prepared.notes
        self._document.models = prepared.models
        self._caps.begin(prepared.limits)
        self._escalations.policy = prepared.decisions
        self._changed(save=True)
        return prepared

    async def _drive_all(self, tasks: list[PlannedTask]) -> None:
        """All tasks to their ends; when one ends the run, the others are cancelled and waited for."""
        drives = [asyncio.create_task(self._drive(task)) for task in tasks]
        try:
            await asyncio.gather(*drives)
        except BaseException:
            for drive in drives:
                drive.cancel()
            await asyncio.gather(*drives, return_exceptions=True)
            raise

    async def _drive(self, task: PlannedTask) -> None:
        """One task to its end: after its dependencies, with whatever decisions it takes."""
        document = self._task(task.id)
        await workflow.wait_condition(lambda: all(self._task(needed).state.is_final for needed in task.depends_on))
        unmet = [needed for needed in task.depends_on if self._task(needed).state is not TaskState.DONE]
        if unmet:
            document.state, document.stage = TaskState.SKIPPED, f"needs {', '.join(unmet)}"
            self._changed(save=True)
            return
        assert self._prepared is not None
        progress = TaskProgress(last_round=self._prepared.limits.rounds)
        while True:
            async with self._slots:
                document.state = TaskState.WORKING
                self._set_status(RunStatus.WORKING)
                result = await self._run_task(task, progress)
            if result.outcome == "done":
                document.state, document.commit, document.stage = TaskState.DONE, result.commit, ""
                self._document.head_commit = result.commit
                self._changed(save=True)
                return
            try:
                progress = await self._settle(task, result)
            except Skip as skip:
                document.state, document.stage = TaskState.SKIPPED, str(skip)
                self._changed(save=True)
                return

    async def _settle(self, task: PlannedTask, result: TaskResult) -> TaskProgress:
        """The way on for a task that is stuck: the orchestrator's guidance where it may help, else a decision."""
        assert self._prepared is not None
        assert result.escalation is not None
        if self._caps.concerns(result.escalation):
            self._task(task.id).state = TaskState.WAITING
            self._changed()
            progress = result.progress
            await self._caps.settle(result.escalation, task_id=task.id, agent=result.role, commit=progress.commit)
            return progress
        guidance: Guidance | None = None
        record = self._escalations.record(task.id, result.role, result.escalation, result.evidence)
        if self._orchestrator.may_answer(task, result.escalation):
            self._task(task.id).stage = "report to the orchestrator"
            self._changed()
            guidance = await self._orchestrator.answer(task, result)
        if guidance is not None and guidance.text:
            return self._escalations.guided(result, guidance, record)
        reason = guidance.reason if guidance else ""
        self._task(task.id).state = TaskState.WAITING
        return await self._escalations.settle(task.id, result, self._prepared.limits, record, passed_on=reason)

    async def _run_task(self, task: PlannedTask, progress: TaskProgress) -> TaskResult:
        assert self._prepared is not None
        run = self._request.run
        inbox = self._inboxes.setdefault(task.id, [])
        # What came while the task was not at work is there from its first turn on.
        progress.guidance = [*progress.guidance, *inbox]
        inbox.clear()
        child = await workflow.start_child_workflow(
            Task.run,
            TaskInput(
                run=run,
                repo=self._request.repo,
                task=task,
                limits=self._prepared.limits,
                queue=self._host.queue,
                progress=progress,
            ),
            id=naming.task_workflow_id(run, task.id),
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            static_summary=f"{task.id}: {task.title}"[:200],
        )
        return await tend(
            child,
            inbox,
            lambda text: child.signal(Task.guide, text),
            self._clock.halt,
            lambda: child.signal(Task.halt),
        )

    # ---- the end

    async def _end(self, status: RunStatus, reason: str) -> ApplicationError:
        """Close the books of a run that was not carried out to its end; work stays in the store."""
        for task in self._document.tasks:
            if not task.state.is_final:
                task.state = TaskState.STOPPED if status is RunStatus.STOPPED else TaskState.FAILED
        for decision in self._book.open_ones():
            self._book.withdraw(decision.id, workflow.now())
        self._document.notes.append(reason)
        self._document.ended_at = workflow.now()
        self._set_status(status)
        await self._saver.save_last()
        return ApplicationError(reason, type="RunStopped" if status is RunStatus.STOPPED else "RunFailed")

    def _task(self, task_id: str) -> TaskDocument:
        return next(task for task in self._document.tasks if task.id == task_id)

    def _set_status(self, status: RunStatus) -> None:
        self._document.status = status
        self._changed(save=True)

    def _changed(self, *, save: bool = False) -> None:
        """Show what has changed; a run in which nothing but decisions is open waits."""
        document = self._document
        if not document.status.is_final:
            idle = not any(task.state is TaskState.WORKING for task in document.tasks)
            if self._book.open_ones() and idle:
                document.status = RunStatus.WAITING
            elif document.status is not RunStatus.PUBLISHING:
                document.status = RunStatus.WORKING if document.tasks else RunStatus.PLANNING
        self._board.show(self._book.all())
        if save:
            self._saver.mark()
