"""Drives the tasks of a run to their ends: by their dependencies, in parallel up to a limit, through questions."""

import asyncio
from collections.abc import Mapping

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton import identifiers
    from baton.records.run import GateDocument, Guide, RunLimits, RunStatus, TaskState
    from baton.steps.session import Escalation
    from baton.steps.task import PlannedTask, TaskInput, TaskProgress, TaskResult
    from baton.text.markdown import escape_markdown
    from baton.text.truncation import cut_text
    from workflows.budget.cap_decisions import CapDecisions
    from workflows.calls.cancellation import close_scope, raise_if_stopped
    from workflows.calls.child_workflows import ChildEnded, await_child, start_child
    from workflows.decisions.escalation import Escalations, Skip
    from workflows.stages.plan_stage import Orchestrator
    from workflows.state.run_context import RunContext
    from workflows.task import Task


class TaskScheduler:
    """Runs each task as a child workflow, again and again until it is done or given up."""

    def __init__(
        self,
        context: RunContext,
        escalations: Escalations,
        caps: CapDecisions,
        orchestrator: Orchestrator,
    ) -> None:
        self._context = context
        self._request = context.request
        self._books = context.books
        self._host = context.host
        self._escalations = escalations
        self._caps = caps
        self._orchestrator = orchestrator
        self._slots = asyncio.Semaphore(1)

    def set_parallel(self, limits: RunLimits) -> None:
        """Take over the limits that the run starts with."""
        self._slots = asyncio.Semaphore(limits.parallel)

    def take_message(self, message: Guide) -> bool:
        """Give a message to one task, or to all; False if no task is left for it."""
        ended = {task.id for task in self._books.document.tasks if task.state.is_final}
        reached = [task for task in self._context.inboxes if task not in ended and message.task_id in (None, task)]
        for task in reached:
            self._context.inboxes[task].append(message.text)
        return bool(reached)

    async def run_all(self, tasks: list[PlannedTask], begun: Mapping[str, TaskProgress] | None = None) -> None:
        """All tasks of the plan to their ends; when one ends the run, the others are cancelled and waited for.

        `begun` says where tasks go on that another run has begun.
        """
        inboxes = self._context.inboxes
        early = [*self._orchestrator.left_over, *inboxes.get(identifiers.PLAN_TASK, [])]
        inboxes.clear()
        inboxes.update({task.id: list(early) for task in tasks})
        drives = [asyncio.create_task(self.run_task(task, (begun or {}).get(task.id))) for task in tasks]
        try:
            await asyncio.gather(*drives)
        except (Exception, asyncio.CancelledError):  # no more: a worker that shuts down closes what still waits
            close_scope()
            for drive in drives:
                drive.cancel()
            await asyncio.gather(*drives, return_exceptions=True)
            raise

    async def run_task(self, task: PlannedTask, begun: TaskProgress | None = None) -> None:
        """Take one task to its end: after its dependencies, through all decisions."""
        books = self._books
        if books.find_task(task.id).state.is_final:
            return
        await workflow.wait_condition(lambda: all(books.find_task(needed).state.is_final for needed in task.depends_on))
        unmet = [needed for needed in task.depends_on if books.find_task(needed).state is not TaskState.DONE]
        if unmet:
            books.skip_task(task.id, f"needs {', '.join(unmet)}")
            return
        progress = begun or TaskProgress()
        progress.last_round = max(progress.round, self._context.limits.rounds)
        while True:
            raise_if_stopped()
            async with self._slots:
                books.set_task(task.id, TaskState.WORKING)
                books.enter_phase(RunStatus.WORKING)
                try:
                    result = await self._run_child(task, progress)
                except ChildEnded as end:
                    result = self._cut_off(task, progress, end)
            if result.news is not None:
                books.take_progress(result.news)
            if (evidence := result.last_evidence) is not None:
                books.set_outcome(task.id, result.progress.evidence_round, gate=GateDocument.from_evidence(evidence))
            if result.outcome == "done":
                books.finish_task(task.id, result.commit)
                return
            try:
                progress = await self._settle_task(task, result)
            except Skip as skip:
                books.skip_task(task.id, str(skip))
                return

    async def _run_child(self, task: PlannedTask, progress: TaskProgress) -> TaskResult:
        """One execution of the task's workflow, from where the task stands."""
        run = self._request.run
        inbox = self._context.inboxes.setdefault(task.id, [])
        self._books.stands.pop(task.id, None)
        # What came while the task was not at work is there from its first turn on.
        progress.guidance = [*progress.guidance, *inbox]
        inbox.clear()
        name = identifiers.task_workflow_id(run, task.id)
        if self._books.lean:
            self._books.begin_stage(task.id, "make" if progress.stage == "open" else progress.stage, progress.round)
        child = await start_child(
            name,
            lambda: workflow.start_child_workflow(
                Task.run,
                TaskInput(
                    run=run,
                    repo=self._request.repo,
                    task=task,
                    limits=self._context.limits,
                    queue=self._host.queue,
                    progress=progress,
                    merges_news=self._books.lean,
                ),
                id=name,
                cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                static_summary=f"{task.id}: {escape_markdown(task.title[:90])}",
            ),
        )
        return await await_child(
            child,
            inbox,
            lambda text: child.signal(Task.guide, text),
            self._context.halt,
            lambda: child.signal(Task.halt),
        )

    def _cut_off(self, task: PlannedTask, progress: TaskProgress, end: ChildEnded) -> TaskResult:
        """How a task stands that was ended from outside: as it told last, and its session is to be looked up."""
        told = self._books.stands.pop(task.id, None) or progress
        last = told.model_copy(update={"adrift": True, "guidance": list(told.guidance)})
        escalation = Escalation(
            error_type=end.kind,
            question=cut_text(f"Task {task.id} cannot go on: {end}", 2_000),
            error=cut_text(str(end), 2_000),
            attempted=end.attempted,
            operation=last.stage,
        )
        return TaskResult(outcome="escalated", progress=last, escalation=escalation, role="engine")

    async def _settle_task(self, task: PlannedTask, result: TaskResult) -> TaskProgress:
        """The way on for a task that is stuck: the orchestrator's guidance where it may help, else a decision."""
        assert result.escalation is not None
        if self._caps.is_about_cap(result.escalation):
            self._books.set_task(task.id, TaskState.WAITING)
            self._books.mark_changed()
            progress = result.progress
            await self._caps.settle_cap(result.escalation, task_id=task.id, agent=result.role, commit=progress.commit)
            return progress
        record = self._escalations.record_escalation(task.id, result.role, result.escalation, result.last_evidence)
        reason = self._orchestrator.passes_on(task, result.escalation)
        if reason:
            reason = f"passed on: {reason}"
        else:
            self._books.set_task(task.id, stage="report to the orchestrator")
            self._books.mark_changed()
            guidance = await self._orchestrator.answer_report(task, result, record.context["class"])
            if guidance.text:
                return self._escalations.apply_guidance(result, guidance, record)
            reason = guidance.reason
        self._books.set_task(task.id, TaskState.WAITING)
        return await self._escalations.settle_task(task.id, result, self._context.limits, record, passed_on=reason)
