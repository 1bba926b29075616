"""Escalations of work that cannot go on: an error record, a decision if one blocks, and the way on from its answer."""

from datetime import timedelta
from typing import Literal

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from agents.failure_classifier import SUGGESTIONS, FailureClass, classify_failure
    from baton.budget.caps import RAISE, TURN_LIMIT, parse_amount
    from baton.decision_book import AmountRefused
    from baton.logs import FIELDS
    from baton.records.run import Decide, Decision, DecisionPolicy, DecisionState, ErrorRecord, Evidence, RunLimits
    from baton.steps.session import Escalation
    from baton.steps.task import Guidance, TaskProgress, TaskResult
    from baton.text.redaction import Redactor
    from baton.text.truncation import cut_text
    from workflows.calls.cancellation import raise_if_stopped
    from workflows.state.run_context import RunContext

_redact = Redactor()
_ROUNDS_SPENT = ("gate_red", "review_rejected")


def _class_of(escalation: Escalation, evidence: Evidence | None) -> str:
    """Return the class of a failure by its own text and by the gate's log; of two classes the more specific one."""
    red = evidence if evidence is not None and not evidence.is_green else None
    # A history of before has the end of the log instead of its class.
    text = [red.log_tail if red else "", escalation.error, escalation.question]
    found = classify_failure("\n".join(text)).kind.value
    classes = [kind.value for kind in FailureClass]
    if red is not None and red.failure_class in classes:
        return min(found, red.failure_class, key=classes.index)
    return found


def _class_in(record: ErrorRecord) -> FailureClass:
    try:
        return FailureClass(record.context.get("class", ""))
    except ValueError:
        return FailureClass.UNKNOWN


def _unit_of(escalation: Escalation) -> Literal["", "usd", "turns", "seconds"]:
    """In which unit `raise` raises, where the engine asks about a cap."""
    if escalation.of_role:
        return ""
    if escalation.reached is not None:
        return escalation.reached.unit
    return "turns" if escalation.error_type == TURN_LIMIT else ""


def with_class(escalation: Escalation, failure_class: str) -> Escalation:
    """Return an escalation with the class of its failure, if it is a known one, and the suggestions for that class."""
    known = next((kind for kind in SUGGESTIONS if kind.value == failure_class), FailureClass.UNKNOWN)
    if known is FailureClass.UNKNOWN:
        return escalation
    suggestions = list(dict.fromkeys([*escalation.suggestions, *SUGGESTIONS[known]]))[:10]
    return escalation.model_copy(update={"failure_class": failure_class, "suggestions": suggestions})


class Abort(Exception):
    """A person ended the run by a decision."""


class Skip(Exception):
    """A person gave a task up by a decision."""


class Escalations:
    """Takes a run's escalations to their answers."""

    def __init__(self, context: RunContext) -> None:
        self._books = context.books
        self.policy = DecisionPolicy()

    def record_refusal(self, text: str) -> None:
        """Record that a person's message has no effect: a signal has no answer of its own."""
        self._books.decisions.record_refusal(cut_text(_redact(text), 500))
        self._books.mark_changed(save=True)

    def take_answer(self, answer: Decide) -> Decision:
        """Take an answer; raises DecisionRefused where it cannot be taken."""
        taken = answer.model_copy(update={"note": cut_text(_redact(answer.note), 2_000), "by": answer.by[:200]})
        try:
            choice = self._books.decisions.check_answer(taken)
        except AmountRefused:
            # Patched, for a run that has taken such an answer before goes on: by as much again, as without a note.
            if workflow.patched("amounts-with-their-unit"):
                raise
            choice = RAISE
        decision = self._books.decisions.record_answer(taken, choice, workflow.now())
        for record in self._books.document.errors:
            if record.context.get("decision") == decision.id:
                by = f" by {decision.by}" if decision.by else ""
                record.resolution = f"answered{by}: {decision.choice}"
        said = {"task": decision.task_id or ""}
        workflow.logger.info("decision %s answered: %s", decision.id, decision.choice, extra={FIELDS: said})
        self._books.mark_changed(save=True)
        return decision

    def record_error(
        self,
        agent: str,
        task: str,
        error: str,
        operation: str,
        attempted: list[str],
        resolution: str,
        **context: str,
    ) -> ErrorRecord:
        """Step 1 of every escalation: the failure goes into `errors` of `state.json`."""
        record = ErrorRecord(
            timestamp=workflow.now(),
            agent=agent,
            task=task,
            error=cut_text(_redact(error), 2_000),
            context={"operation": operation, **{key: cut_text(_redact(value), 500) for key, value in context.items()}},
            recovery_attempted=cut_text("; ".join(_redact(text) for text in attempted), 1_000),
            resolution=resolution,
        )
        self._books.add_error(record)
        said = {"task": task, "role": agent, "record": record.model_dump(mode="json")}
        workflow.logger.error("error: %s", record.error, extra={FIELDS: said})
        return record

    def record_escalation(
        self, task_id: str, agent: str, escalation: Escalation, evidence: Evidence | None = None
    ) -> ErrorRecord:
        """The error record of an escalation, with its class where it is a known one."""
        known = escalation.failure_class or _class_of(escalation, evidence)
        context = {"file": "", **escalation.context, "error_type": escalation.error_type, "class": known}
        if evidence is not None and evidence.command is not None:
            context |= {"commit": evidence.commit, "command": evidence.command, "exit_code": str(evidence.exit_code)}
        record = self.record_error(
            agent,
            task_id,
            escalation.error or escalation.question,
            escalation.operation or "escalate",
            escalation.attempted,
            "reported to the orchestrator",
            **context,
        )
        self._books.mark_changed(save=True)
        return record

    async def ask_person(
        self, escalation: Escalation, *, task_id: str | None, agent: str, commit: str, record: ErrorRecord | None = None
    ) -> Decision:
        """Open the decision of a recorded error and wait for its answer. Waiting costs nothing."""
        raise_if_stopped()
        record = record or self.record_escalation(task_id or "run", agent, escalation)
        seconds = self.policy.deadline_seconds
        deadline = workflow.now() + timedelta(seconds=seconds) if seconds and self.policy.default else None
        suggestions = [*escalation.suggestions, *SUGGESTIONS.get(_class_in(record), [])]
        decision = self._books.decisions.open_decision(
            Decision(
                id="",
                task_id=task_id,
                question=_redact(escalation.question),
                choices=escalation.choices,
                commit=commit or None,
                opened_at=workflow.now(),
                error_type=escalation.error_type,
                unit=_unit_of(escalation),
                attempted=escalation.attempted,
                suggestions=list(dict.fromkeys(suggestions)),
                default=self.policy.default if deadline else None,
                deadline=deadline,
            )
        )
        record.context["decision"] = decision.id
        record.resolution = f"escalated - decision {decision.id}"
        said = {"task": task_id or "", "role": agent}
        workflow.logger.info("decision %s opened: %s", decision.id, decision.question, extra={FIELDS: said})
        self._books.mark_changed(save=True)
        await self._await_answer(decision)
        raise_if_stopped()
        by = f" by {decision.by}" if decision.by else ""
        if decision.choice == "abort":
            raise Abort(f"The run was stopped at decision {decision.id}{by}; its work is kept in the store.")
        if decision.choice == "skip":
            raise Skip(f"skipped at decision {decision.id}{by}")
        return decision

    async def _await_answer(self, decision: Decision) -> None:
        """Wait for an answer; remind of it now and then, and take the default once the deadline has passed."""
        remind = timedelta(seconds=self.policy.remind_seconds)
        while decision.state is DecisionState.OPEN:
            left = decision.deadline - workflow.now() if decision.deadline else None
            wait = remind if left is None else min(remind, left)
            try:
                await workflow.wait_condition(
                    lambda: decision.state is not DecisionState.OPEN,
                    timeout=max(wait, timedelta(0)),
                    timeout_summary=f"reminder of {decision.id}" if wait == remind else f"deadline of {decision.id}",
                )
            except TimeoutError:
                if decision.deadline and workflow.now() >= decision.deadline and decision.default:
                    self.take_answer(Decide(decision_id=decision.id, choice=decision.default, by="deadline"))
                    return
                decision.reminders += 1
                remind *= 2
                workflow.logger.warning("decision %s waits for an answer: %s", decision.id, decision.question)
                self._books.mark_changed(save=True)

    async def settle_task(
        self, task_id: str, result: TaskResult, limits: RunLimits, record: ErrorRecord, *, passed_on: str = ""
    ) -> TaskProgress:
        """Ask a task's question; returns the progress from which it goes on. Raises Skip or Abort if it does not."""
        escalation = result.escalation
        assert escalation is not None
        progress = result.progress
        if passed_on:
            record.context["orchestrator"] = cut_text(_redact(passed_on), 500)
        decision = await self.ask_person(
            escalation, task_id=task_id, agent=result.role, commit=progress.commit, record=record
        )
        return self.apply_answer(decision, escalation, progress, limits)

    def apply_guidance(self, result: TaskResult, guidance: Guidance, record: ErrorRecord) -> TaskProgress:
        """Go on with the orchestrator's guidance: one more round, or the answer to the role's question."""
        escalation, progress = result.escalation, result.progress
        assert escalation is not None
        record.context["orchestrator"] = cut_text(_redact(guidance.reason), 500)
        record.resolution = "guided by the orchestrator"
        if progress.asks:
            progress.answer, progress.asks = f"The orchestrator answers: {guidance.text}", False
        else:
            progress.guidance = [*progress.guidance, f"Guidance of the orchestrator: {guidance.text}"]
        if not escalation.of_role and escalation.error_type in _ROUNDS_SPENT:
            progress.last_round = progress.round
        progress.starts += escalation.anew
        progress.conflicts_met = 0
        self._books.mark_changed(save=True)
        return progress

    def apply_answer(
        self, decision: Decision, escalation: Escalation, progress: TaskProgress, limits: RunLimits
    ) -> TaskProgress:
        """Turn an answer into the place from which a task goes on."""
        said = f"{decision.choice}" + (f". {decision.note}" if decision.note else "")
        # A role may offer `accept`, too, for whatever it asks about; its work is not accepted by that.
        if decision.choice == "accept" and not escalation.of_role:
            progress.stage, progress.round = "integrate", progress.round - 1
            return progress
        if progress.asks:
            progress.answer = (
                f"Try again. {decision.note}".strip() if decision.choice == "retry" else f"The person decided: {said}"
            )
            progress.asks = False
        elif (decision.note or decision.choice != "retry") and decision.choice != RAISE:
            progress.guidance = [*progress.guidance, f"Your question was: {decision.question}\nThe answer: {said}"]
        if escalation.of_role:
            return progress
        progress.starts += escalation.anew
        if escalation.error_type == TURN_LIMIT:
            progress.last_turn += int(parse_amount(decision.note, "turns") or limits.turns)
        elif escalation.error_type in _ROUNDS_SPENT:
            progress.last_round = progress.round - 1 + limits.rounds
        return progress
