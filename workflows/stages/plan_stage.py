"""The orchestrator's part in a run: the plan at its start, and one answer to each task that is stuck."""

import asyncio

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.run.prepare import PrepareActivities
    from activities.run.state_files import StateActivities
    from activities.turn.resume_point import ResumeActivities
    from agents.reports import GUIDANCE
    from baton.identifiers import PLAN_TASK
    from baton.policies import GIT_TIMEOUT
    from baton.steps.carried import CarriedLane
    from baton.steps.session import Escalation, SessionInput, SessionKey, SessionResult
    from baton.steps.task import (
        FindSessionInput,
        Guidance,
        Plan,
        PlannedTask,
        Prepared,
        ReadGuidanceInput,
        ReadPlanInput,
        TaskProgress,
        TaskProgressSignal,
        TaskResult,
        WriteReportInput,
    )
    from baton.text.truncation import cut_text
    from workflows.budget.cap_decisions import CapDecisions
    from workflows.calls.child_workflows import ChildEnded
    from workflows.calls.workspace_host import StepFailed
    from workflows.decisions.escalation import Abort, Escalations, Skip, with_class
    from workflows.session import run_session
    from workflows.state.run_context import RunContext

_ROLE = "orchestrator"
_GUIDANCE_TURNS = 6
"""An answer to a report takes a look at the repository, not a project of its own."""

_ANSWERABLE = frozenset({"gate_red", "review_rejected", "merge_conflict", "no_progress"})
"""Escalations of the engine that guidance may help with; what a role asks by itself may be answered, too."""

_FOR_A_PERSON = ("architect", "credential", "secret", "api key", "password", "permission", "money", "budget", "cost")
"""Words in an error type that make a question one for a person, whatever else is said of it."""


_SUBJECTS = {"architect": "architecture", "credential": "credentials", "permission": "permissions"}


class Orchestrator:
    """Runs the orchestrator's sessions, one at a time, in a lane of their own."""

    def __init__(self, context: RunContext, escalations: Escalations, caps: CapDecisions) -> None:
        self._request = context.request
        self._books = context.books
        self._host = context.host
        self._halt = context.halt
        self._inboxes = context.inboxes
        self._escalations = escalations
        self._caps = caps
        self._commit = ""
        self._round = 0
        self._guided: set[str] = set()
        self._adrift = False
        """Whether the last session ended without a word, so that the lane's last checkpoint must be looked up."""
        self._turn_taking = asyncio.Lock()
        self.left_over: list[str] = []
        """Messages of people that came too late for the plan; they are for its tasks."""

    def carry_lane(self) -> CarriedLane:
        """Return where the lane stands, for the next execution of the run."""
        return CarriedLane(commit=self._commit, round=self._round, guided=sorted(self._guided), adrift=self._adrift)

    def restore_lane(self, lane: CarriedLane) -> None:
        """Take over the lane of the execution that this one continues."""
        self._commit, self._round, self._adrift = lane.commit, lane.round, lane.adrift
        self._guided = set(lane.guided)

    def begin_lane(self, prepared: Prepared) -> None:
        """Take over where the orchestrator's lane begins. The first round is the plan's, also where it is a fork's."""
        self._commit, self._round = prepared.plan_commit, 1

    async def make_plan(self, prepared: Prepared) -> Plan:
        """Run the planning session until it hands a plan off; its escalations become decisions of the run."""
        self.begin_lane(prepared)
        progress = TaskProgress(stage="make", commit=prepared.plan_commit, last_turn=prepared.limits.turns_of(_ROLE))
        inbox = self._inboxes.setdefault(PLAN_TASK, [])
        while True:
            try:
                result = await self._run_session(progress, inbox, purpose="")
            except ChildEnded as end:
                result = _cut_off(progress, end)
            if result.next_turn > progress.turn:
                progress.answer = None
            progress.commit, progress.turn = result.commit, result.next_turn
            progress.guidance = [*result.guidance, *inbox]
            inbox.clear()
            if result.hand_off is not None:
                self._inboxes.pop(PLAN_TASK, None)
                self.left_over = progress.guidance
                try:
                    return await self._host.run_step(
                        PrepareActivities.read_plan,
                        ReadPlanInput(
                            run=self._request.run,
                            repo=self._request.repo,
                            commit=result.commit,
                            path=result.hand_off.path,
                        ),
                        timeout=GIT_TIMEOUT,
                        summary="read the plan",
                    )
                except Skip as skip:
                    raise Abort(f"Without a plan there is no work: {skip}.") from skip
            assert result.escalation is not None
            progress.asks = not result.escalation.operation
            try:
                if self._caps.is_about_cap(result.escalation):
                    await self._caps.settle_cap(result.escalation, task_id=PLAN_TASK, agent=_ROLE, commit=result.commit)
                    continue
                decision = await self._escalations.ask_person(
                    result.escalation, task_id=PLAN_TASK, agent=_ROLE, commit=result.commit
                )
            except Skip as skip:
                raise Abort(f"Without a plan there is no work: {skip}.") from skip
            progress = self._escalations.apply_answer(decision, result.escalation, progress, prepared.limits)

    def passes_on(self, task: PlannedTask, escalation: Escalation) -> str:
        """Why a report goes on to a person at once; empty where it may be answered.

        It may once a task, and never about architecture, credentials or money.
        """
        if escalation.architectural:
            return "the question is about architecture"
        kind = escalation.error_type.lower()
        if word := next((word for word in _FOR_A_PERSON if word in kind), ""):
            return f"a question about {_SUBJECTS.get(word, word)} is for a person"
        if task.id in self._guided:
            return "it has answered a report of this task before"
        if kind in _ANSWERABLE or not escalation.operation:
            return ""
        return "a failure of this kind is not helped by guidance"

    async def answer_report(self, task: PlannedTask, result: TaskResult, failure_class: str) -> Guidance:
        """Give the orchestrator the report of a task that is stuck; its answer, or why there is none.

        The report has the class of the failure, with what is known to help against it.
        """
        assert result.escalation is not None
        escalation = with_class(result.escalation, failure_class)
        self._guided.add(task.id)
        async with self._turn_taking:
            self._round += 1
            try:
                return await self._ask_for_guidance(task, result, escalation)
            except StepFailed as failure:
                return Guidance(reason=f"the orchestrator could not be asked: {failure}")

    async def _ask_for_guidance(self, task: PlannedTask, stuck: TaskResult, escalation: Escalation) -> Guidance:
        run, repo, number = self._request.run, self._request.repo, self._round
        await self._host.attempt_step(
            StateActivities.write_report,
            WriteReportInput(
                run=run,
                repo=repo,
                number=number,
                title=task.title,
                role=stuck.role,
                escalation=escalation,
                evidence=stuck.last_evidence,
                task=task.id,
                checkpoint=stuck.progress.commit,
                evidence_round=stuck.progress.evidence_round,
            ),
            timeout=GIT_TIMEOUT,
            summary=f"report of {task.id} to the orchestrator",
        )
        progress = TaskProgress(stage="make", round=number, commit=self._commit, last_turn=_GUIDANCE_TURNS)
        result = await self._run_session(progress, [], purpose=GUIDANCE)
        if result.hand_off is None:
            # A turn that failed leaves its tools' checkpoint in the lane; the next answer starts from there.
            self._adrift = self._adrift or workflow.patched("find-the-lane-after-no-answer")
            why = result.escalation.question if result.escalation else "no answer"
            return Guidance(reason=cut_text(f"the orchestrator passed it on: {why}", 500))
        if result.hand_off.verdict != "guide":
            return Guidance(reason=f"the orchestrator passed it on: {result.hand_off.summary}")
        return await self._host.attempt_step(
            StateActivities.read_guidance,
            ReadGuidanceInput(run=run, repo=repo, commit=result.commit, path=result.hand_off.path),
            timeout=GIT_TIMEOUT,
            summary="read the orchestrator's guidance",
        )

    async def _run_session(self, progress: TaskProgress, inbox: list[str], *, purpose: str) -> SessionResult:
        run, repo = self._request.run, self._request.repo
        key = SessionKey(run=run, repo=repo, task=PLAN_TASK, round=progress.round, role=_ROLE, purpose=purpose)
        level = 0
        if self._adrift or (progress.starts and workflow.patched("start-sessions-anew")):
            found = await self._host.attempt_step(
                ResumeActivities.find_session,
                FindSessionInput(key=key, commit=progress.commit, turn=progress.turn, start=progress.starts),
                timeout=GIT_TIMEOUT,
                summary="find the last checkpoint",
            )
            progress.commit, progress.turn, self._adrift = found.commit, found.turn, False
            level = found.level
        guidance, progress.guidance = [*progress.guidance, *inbox], []
        inbox.clear()
        session = SessionInput(
            key=key,
            commit=progress.commit,
            turn=progress.turn,
            last_turn=progress.last_turn,
            queue=self._host.queue,
            guidance=guidance,
            answer=progress.answer,
            start=progress.starts,
            level=level,
        )
        try:
            result = await run_session(session, inbox, self._halt, summary=f"orchestrator: {purpose or 'plan'}")
        except ChildEnded:
            self._adrift = True
            raise
        self._books.take_progress(
            TaskProgressSignal(
                task=PLAN_TASK,
                stage="",
                round=progress.round,
                turns=result.turns,
                steps=result.steps,
                billing=result.billing,
                cost_usd=result.cost_usd,
                role=_ROLE,
                left_out=result.left_out,
                put_back=result.put_back,
            )
        )
        self._commit = result.commit
        self._host.queue = result.queue or self._host.queue
        return result


def _cut_off(progress: TaskProgress, end: StepFailed) -> SessionResult:
    """How a session stands that ended without a word: where it was when it began."""
    escalation = Escalation(
        error_type=end.kind,
        question=cut_text(f"The {_ROLE} cannot go on: {end}", 2_000),
        error=cut_text(str(end), 2_000),
        attempted=end.attempted,
        operation=f"turn {progress.turn}",
    )
    return SessionResult(outcome="escalated", commit=progress.commit, next_turn=progress.turn, escalation=escalation)
