"""The workflow `Task`: rounds of maker, tester, gate and reviewer until the work is approved and integrated.

    open -> make -> test -> gate -> review -> integrate -> done
             ^               |        |           |
             |              red    rejected    conflict
             +---------------+--------+-----------+         the next round

From each stage it may end with a question instead. The pipeline finds the answer and starts it again from where it
stood; an execution has no more rounds than the limits of the run allow, so that it never needs to continue as new.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.task.gate import GateActivities
    from activities.task.integrate import IntegrationActivities
    from activities.turn.resume_point import ResumeActivities
    from baton.policies import GIT_TIMEOUT, TURN_TIMEOUT
    from baton.records.run import Evidence
    from baton.replayed_figures import TOLD_GATE
    from baton.steps.session import Escalation, HandOff, SessionInput, SessionKey, SessionResult
    from baton.steps.task import (
        FindSessionInput,
        GateInput,
        GateResult,
        IntegrateInput,
        OpenTaskInput,
        Stage,
        TaskInput,
        TaskProgress,
        TaskProgressSignal,
        TaskResult,
    )
    from baton.text.truncation import cut_text, join_names
    from workflows.calls.cancellation import raise_if_stopped
    from workflows.calls.child_workflows import ChildEnded
    from workflows.calls.handler_input import InvalidInput, parse_text
    from workflows.calls.interruption import Interrupted, Interruption, describe_interruption
    from workflows.calls.progress_signals import ProgressSignals, make_wait_reporter, signal_pipeline
    from workflows.calls.workspace_host import StepFailed, WorkspaceHost
    from workflows.session import run_session
    from workflows.state.visibility import task_details

Result = TypeVar("Result")

_MAX_CONFLICTS = 2
"""How many conflicts in a row the maker resolves; then a person is asked."""


class _Escalated(Exception):
    """Leaves the rounds with a question for the orchestrator or a person."""

    def __init__(self, escalation: Escalation, role: str, goes_on: Stage | None = None) -> None:
        """`goes_on` is the stage to go on from once there is an answer; None: the one that asks."""
        super().__init__(escalation.question)
        self.escalation = escalation
        self.role = role
        self.goes_on = goes_on


@workflow.defn(name="Task", failure_exception_types=[ApplicationError])
class Task:
    """One task of the plan, from its workspace to the integrated commit."""

    @workflow.init
    def __init__(self, task: TaskInput) -> None:
        self._input = task
        self._progress: TaskProgress = task.progress
        self._host = WorkspaceHost(task.queue, make_wait_reporter(task.run, task.task.id, lambda: self._progress.round))
        self._inbox: list[str] = []
        self._halt = Interruption()
        self._role = ""
        self._integrated = ""
        """The project commit of the task's work, once it is integrated."""
        self._signals = ProgressSignals()
        self._untold: TaskProgressSignal | None = None
        """How the last session ended, until the next stage or the result is told with it."""
        # The pipeline knows from which stage it starts an execution, and the evidence that it has given to it.
        self._told_stage = (task.progress.round, _shown_stage(task.progress.stage))
        self._told_evidence = task.progress.evidence_round

    @workflow.signal(description="A message for the agent at work on this task. Input: text.")
    def guide(self, *text: Any) -> None:
        """Pass a message on to the running session, or keep it for the next one."""
        try:
            self._inbox.append(parse_text(text))
        except InvalidInput as fault:
            workflow.logger.warning("a message that cannot be read: %s", fault)

    @workflow.signal(description="Internal: break off what is under way; the task goes on from its checkpoint later.")
    def halt(self, *_: Any) -> None:
        """Interrupt the step that is under way."""
        self._halt.asked = True

    @workflow.query(description="Where the task stands in its rounds")
    def status(self) -> TaskProgress:
        """Where the task stands."""
        return self._progress

    @workflow.run
    async def run(self, task: TaskInput) -> TaskResult:
        """Go through the rounds from where the task stands."""
        result = await self._go_through_rounds(task)
        await self._signals.await_delivery()
        return result

    async def _go_through_rounds(self, task: TaskInput) -> TaskResult:
        progress = self._progress
        try:
            while True:
                raise_if_stopped()
                self._halt.raise_if_asked()
                workflow.set_current_details(task_details(task))
                await self._tell_stage()
                following = await self._run_stage(progress.stage)
                if following is None:
                    return self._fill_result(TaskResult(outcome="done", commit=self._integrated, progress=progress))
                self._enter_stage(following)
        except _Escalated as asked:
            if asked.goes_on is not None:
                self._enter_stage(asked.goes_on)
            return self._escalated_result(asked.escalation, asked.role)
        except Interrupted:
            return self._escalated_result(describe_interruption(progress.stage), self._role or "engine")
        except StepFailed as failure:
            escalation = Escalation(
                error_type=failure.detail or failure.kind,
                question=cut_text(f"Task {task.task.id} cannot go on ({progress.stage}): {failure}", 2_000),
                error=cut_text(str(failure), 2_000),
                attempted=failure.attempted,
                operation=progress.stage,
            )
            return self._escalated_result(escalation, self._role or "engine")

    async def _run_stage(self, stage: Stage) -> Stage | None:
        """Run a stage; returns the next one, or None once the task is integrated."""
        match stage:
            case "open":
                return await self._open_workspace()
            case "make":
                return await self._run_maker()
            case "test":
                return await self._run_tester()
            case "gate":
                return await self._judge_gate()
            case "review":
                return await self._run_reviewer()
            case "integrate":
                return await self._integrate_work()

    async def _open_workspace(self) -> Stage:
        task, progress = self._input, self._progress
        opened = await self._run_step(
            IntegrationActivities.open_task,
            OpenTaskInput(run=task.run, repo=task.repo, task=task.task.id, at=workflow.now()),
            timeout=GIT_TIMEOUT,
            summary="open a workspace",
        )
        progress.commit, progress.base = opened.commit, opened.base
        return "make"

    async def _run_maker(self) -> Stage:
        await self._run_session(self._input.task.role)
        return "test"

    async def _run_session(self, role: str) -> HandOff:
        """Run or go on with the session of this stage; raises _Escalated where it needs help."""
        task, progress = self._input, self._progress
        key = SessionKey(run=task.run, repo=task.repo, task=task.task.id, round=progress.round, role=role)
        self._role = role
        level = 0
        if progress.adrift or (progress.starts and workflow.patched("start-sessions-anew")):
            found = await self._run_step(
                ResumeActivities.find_session,
                FindSessionInput(key=key, commit=progress.commit, turn=progress.turn, start=progress.starts),
                timeout=GIT_TIMEOUT,
                summary="find the last checkpoint",
            )
            progress.commit, progress.turn, progress.adrift = found.commit, found.turn, False
            level = found.level
        last_turn = max(progress.last_turn, task.limits.turns_of(role))
        guidance, progress.guidance = progress.guidance, []
        session = SessionInput(
            key=key,
            commit=progress.commit,
            turn=progress.turn,
            last_turn=last_turn,
            queue=self._host.queue,
            guidance=guidance,
            answer=progress.answer,
            start=progress.starts,
            level=level,
        )
        try:
            result = await run_session(session, self._inbox, self._halt, summary=f"round {progress.round}: {role}")
        except ChildEnded:
            progress.adrift, progress.last_turn = True, last_turn
            raise
        progress.commit = result.commit
        if result.next_turn > progress.turn:
            # Until its turn has ended, an answer may still have to be given.
            progress.answer = None
        progress.guidance = [*result.guidance, *self._inbox]
        self._inbox.clear()
        self._host.queue = result.queue or self._host.queue
        await self._tell_session(result)
        if result.outcome == "escalated" or result.hand_off is None:
            assert result.escalation is not None
            progress.turn, progress.last_turn = result.next_turn, last_turn
            progress.asks = not result.escalation.operation
            raise _Escalated(result.escalation, role)
        progress.turn, progress.last_turn, progress.asks, progress.starts = 1, 0, False, 0
        self._role = ""
        return result.hand_off

    async def _run_tester(self) -> Stage:
        hand_off = await self._run_session("tester")
        self._progress.tester_verdict = hand_off.verdict
        return "gate"

    async def _judge_gate(self) -> Stage:
        task, progress = self._input, self._progress
        late = asyncio.create_task(self._tell_long_gate()) if task.merges_news else None
        try:
            result = await self._run_gate()
        finally:
            if late is not None:
                late.cancel()
        progress.commit, progress.candidate = result.checkpoint, result.candidate
        progress.evidence, progress.evidence_round = result.evidence, progress.round
        red = not result.evidence.is_green
        # Without a test command there is no exit code to go by; the tester's word is all there is.
        if result.evidence.command is None and progress.tester_verdict == "fail":
            red = True
        if red:
            return self._next_round("gate_red", f"The tests of task {task.task.id} still fail", result.evidence)
        return "review"

    async def _tell_long_gate(self) -> None:
        await workflow.sleep(TOLD_GATE, summary="a gate that takes long is told to the run")
        self._send_stage()

    async def _run_gate(self) -> GateResult:
        task, progress = self._input, self._progress
        return await self._run_step(
            GateActivities.run_gate,
            GateInput(
                run=task.run,
                repo=task.repo,
                task=task.task.id,
                round=progress.round,
                title=task.task.title,
                role=task.task.role,
                checkpoint=progress.commit,
                base=progress.base,
            ),
            timeout=TURN_TIMEOUT,
            summary=f"gate, round {progress.round}",
        )

    async def _run_reviewer(self) -> Stage:
        hand_off = await self._run_session("reviewer")
        if hand_off.verdict == "approve":
            return "integrate"
        return self._next_round(
            "review_rejected",
            f"The reviewer still asks for changes to task {self._input.task.id}: {hand_off.summary}",
            self._progress.evidence,
        )

    def _next_round(self, kind: str, question: str, evidence: Evidence | None) -> Stage:
        """Begin the next round; after the last one a person is asked first."""
        progress = self._progress
        over = progress.round >= progress.last_round
        spent = progress.round
        progress.round += 1
        if not over:
            return "make"
        accept = ["accept"] if kind == "review_rejected" else []
        error = f"exit code {evidence.exit_code} of `{evidence.command}`" if evidence and not evidence.is_green else ""
        raise _Escalated(
            Escalation(
                error_type=kind,
                question=f"{cut_text(question, 1_900)} (after {spent} rounds). How should it go on?",
                choices=accept,
                attempted=[f"{spent} rounds of maker, tester and reviewer"],
                error=error,
                operation=f"round {spent}",
            ),
            "reviewer" if kind == "review_rejected" else self._input.task.role,
            goes_on="make",
        )

    async def _integrate_work(self) -> Stage | None:
        task, progress = self._input, self._progress
        integrated = await self._run_step(
            IntegrationActivities.integrate_task,
            IntegrateInput(
                run=task.run,
                repo=task.repo,
                task=task.task.id,
                round=progress.round,
                candidate=progress.candidate,
                base=progress.base,
                checkpoint=progress.commit,
            ),
            timeout=GIT_TIMEOUT,
            summary="integrate",
        )
        if integrated.commit:
            self._integrated = integrated.commit
            return None
        progress.commit, progress.base = integrated.checkpoint, integrated.base
        progress.conflicts_met += 1
        # The maker resolves the conflict in a round that is not counted.
        progress.round += 1
        progress.last_round = max(progress.last_round, progress.round)
        if progress.conflicts_met > _MAX_CONFLICTS:
            paths = join_names(integrated.conflicts, 10)
            raise _Escalated(
                Escalation(
                    error_type="merge_conflict",
                    question=f"Task {task.task.id} conflicts with work that was integrated before it: {paths}",
                    attempted=[f"{_MAX_CONFLICTS} rounds in which the maker resolved it"],
                    error=cut_text(f"merge conflict in {paths}", 2_000),
                    operation="integrate",
                ),
                task.task.role,
                goes_on="make",
            )
        return "make"

    async def _run_step(
        self, method: Callable[[Any, Any], Awaitable[Result]], argument: Any, *, timeout: timedelta, summary: str
    ) -> Result:
        """A step of the task's own; raises Halted where it was broken off."""
        return await self._halt.run_unless_asked(
            self._host.run_step(method, argument, timeout=timeout, summary=summary)
        )

    def _enter_stage(self, stage: Stage) -> None:
        progress = self._progress
        progress.stage, progress.turn, progress.last_turn, progress.answer = stage, 1, 0, None
        progress.starts = 0

    async def _tell_stage(self) -> None:
        """Tell the pipeline which stage begins, together with how the session before it ended."""
        progress = self._progress
        if not self._input.merges_news:
            await self._send_unmerged(progress.stage)
            return
        # To integrate is short: the result tells of it. A gate is told once it has lasted for a while.
        if (progress.round, _shown_stage(progress.stage)) != self._told_stage and progress.stage not in (
            "gate",
            "integrate",
        ):
            self._send_stage()

    def _send_stage(self) -> None:
        progress = self._progress
        self._told_stage = (progress.round, _shown_stage(progress.stage))
        news = self._take_untold() or TaskProgressSignal(task=self._input.task.id, stage="", round=progress.round)
        news.stage, news.next_round = progress.stage, progress.round
        news.progress = progress.model_copy(update={"evidence": None})
        self._signals.send_progress(news)

    async def _tell_session(self, result: SessionResult) -> None:
        """Tell the pipeline how a session ended: with the stage that begins next, or with the task's result."""
        if self._input.merges_news:
            self._untold = self._make_progress("", result)
            self._untold.evidence, self._untold.evidence_round, self._untold.progress = None, 0, None
        else:
            await self._send_unmerged("", result)

    def _take_untold(self) -> TaskProgressSignal | None:
        """Take the progress that no signal has told yet, with the evidence if it is new."""
        progress = self._progress
        news, self._untold = self._untold, None
        if progress.evidence is not None and progress.evidence_round != self._told_evidence:
            self._told_evidence = progress.evidence_round
            news = news or TaskProgressSignal(task=self._input.task.id, stage="", round=progress.round)
            news.evidence, news.evidence_round = progress.evidence, progress.evidence_round
        return news

    async def _send_unmerged(self, stage: str, result: SessionResult | None = None) -> None:
        """Tell the pipeline by a signal of its own, as histories of before have it."""
        parent = workflow.info().parent
        if parent is not None:
            await signal_pipeline(parent.workflow_id, self._make_progress(stage, result))

    def _make_progress(self, stage: str, result: SessionResult | None) -> TaskProgressSignal:
        said = result.hand_off if result else None
        return TaskProgressSignal(
            task=self._input.task.id,
            stage=stage,
            round=self._progress.round,
            turns=result.turns if result else 0,
            steps=result.steps if result else 0,
            billing=result.billing if result else [],
            cost_usd=result.cost_usd if result else 0.0,
            role=self._role,
            evidence=self._progress.evidence,
            evidence_round=self._progress.evidence_round,
            verdict=said.verdict if said else "",
            blocking=said.blocking if said else 0,
            left_out=result.left_out if result else None,
            put_back=result.put_back if result else None,
            progress=self._progress.model_copy(update={"evidence": None}),
        )

    def _escalated_result(self, escalation: Escalation, role: str) -> TaskResult:
        return self._fill_result(
            TaskResult(outcome="escalated", progress=self._progress, escalation=escalation, role=role)
        )

    def _fill_result(self, result: TaskResult) -> TaskResult:
        result.queue = self._host.queue
        if self._input.merges_news:
            # The evidence stands in the progress.
            result.news, self._untold = self._untold, None
        else:
            result.evidence = self._progress.evidence
        # What came after the last session, during a gate for instance, is for the next one.
        result.progress.guidance = [*result.progress.guidance, *self._inbox]
        return result


def _shown_stage(stage: Stage) -> Stage:
    """Return the stage that people see: to open a workspace belongs to the maker's work."""
    return "make" if stage == "open" else stage
