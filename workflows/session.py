"""The workflow `AgentSession`: one role at work on one task, turn after turn. It carries ids, never transcripts."""

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.turn.take_turn import TurnActivities
    from agents.messages.restart_message import SHORTEST
    from baton.budget.caps import ERROR_TYPE, RAISE, TURN_LIMIT, cap_question
    from baton.errors import ConversationLost, RequestRefused
    from baton.policies import TURN_TIMEOUT
    from baton.replayed_figures import MAX_NUDGES
    from baton.steps.session import (
        Escalation,
        PutBack,
        SessionInput,
        SessionResult,
        SessionStatus,
        TurnInput,
        TurnResult,
    )
    from baton.text.truncation import cut_text
    from workflows.calls.cancellation import raise_if_stopped
    from workflows.calls.child_workflows import await_child, start_child
    from workflows.calls.handler_input import InvalidInput, parse_text
    from workflows.calls.interruption import Interrupted, Interruption, describe_interruption
    from workflows.calls.progress_signals import make_wait_reporter
    from workflows.calls.workspace_host import StepFailed, WorkspaceHost
    from workflows.state.visibility import session_details

_NEEDS_NEW_START = frozenset({RequestRefused.__name__, ConversationLost.__name__})
_ABOUT_THE_BYTES = frozenset({"invalid_request_error", "request_too_large"})
"""Types of the API's errors that name the request as the cause, also where it said to ask again and that did not help.
"""
_FIRST_START = -1
"""Stands for the level of a session's very first message, which is as long as its role's brief."""
_MAX_BILLING = 5
"""Remarks of a session on how its turns were billed: a gateway could answer under a new name each time."""


@workflow.defn(name="AgentSession", failure_exception_types=[ApplicationError])
class AgentSession:
    """Takes turns until the role hands off, asks for help, or cannot go on."""

    @workflow.init
    def __init__(self, session: SessionInput) -> None:
        self._state = session
        key = session.key
        self._host = WorkspaceHost(session.queue, make_wait_reporter(key.run, key.task, lambda: key.round))
        self._halt = Interruption()
        self._excerpt = ""

    @workflow.signal(description="A message for the agent at work; it is taken in at its next turn. Input: text.")
    def guide(self, *text: Any) -> None:
        """Take a message in at the next turn."""
        try:
            self._state.guidance.append(parse_text(text))
        except InvalidInput as fault:
            workflow.logger.warning("a message that cannot be read: %s", fault)

    @workflow.signal(description="Internal: break the turn off and end; the session goes on from its checkpoint later.")
    def halt(self, *_: Any) -> None:
        """Interrupt the turn that is under way."""
        self._halt.asked = True

    @workflow.query(description="What the session does now, its turns and cost")
    def status(self) -> SessionStatus:
        """Return the session's turn, tools and cost."""
        state = self._state
        return SessionStatus(
            **state.key.model_dump(include={"run", "task", "round", "role"}),
            turn=state.turn,
            tools=state.tools,
            excerpt=self._excerpt,
            turns=state.turns,
            cost_usd=round(state.cost_usd, 6),
            usage=state.usage,
            waiting_for=self._host.waiting_for,
        )

    @workflow.run
    async def run(self, session: SessionInput) -> SessionResult:
        """Take turns to the end of the session."""
        state = self._state
        while True:
            raise_if_stopped()
            silent = state.turn > state.last_turn
            # A hand-off beside other calls only has to be taken in: that asks no model, and is none of its turns.
            if silent and not ("hand_off" in state.tools and workflow.patched("take-in-the-last-hand-off")):
                return self._escalate_turns()
            guidance = list(state.guidance)
            workflow.set_current_details(session_details(self.status()))
            try:
                self._halt.raise_if_asked()
                result = await self._halt.run_unless_asked(self._take_turn(guidance, silent=silent))
            except Interrupted:
                return self._fill_result(
                    SessionResult(
                        outcome="escalated", commit="", escalation=describe_interruption(f"turn {state.turn}")
                    )
                )
            except StepFailed as failure:
                return self._escalate_failure(failure)
            self._take_findings(result)
            if result.outcome == "over_budget":
                # The tools have run; only the model is still to be asked. The journal knows which messages are in it.
                return self._escalate_cap(result)
            if result.outcome == "over_turns":
                return self._escalate_turns()
            self._add_costs(result, guidance)
            state.commit = result.commit
            opening = self._opening_level
            state.turn += 1
            state.level = 0
            ended = self._conclude_turn(result, opening)
            if ended is not None:
                return ended
            if workflow.info().is_continue_as_new_suggested() and not self._halt.asked:
                raise_if_stopped()
                state.queue = self._host.queue
                workflow.continue_as_new(state)

    async def _take_turn(self, guidance: list[str], *, silent: bool) -> TurnResult:
        state = self._state
        tools = ", ".join(state.tools) or ("opening" if state.turn == 1 else "message")
        return await self._host.run_step(
            TurnActivities.take_turn,
            TurnInput(
                key=state.key,
                turn=state.turn,
                expected=state.commit,
                guidance=guidance,
                answer=state.answer,
                start=state.start,
                level=state.level,
                spent_usd=round(state.cost_usd, 6),
                silent=silent,
            ),
            timeout=TURN_TIMEOUT,
            summary=f"{state.key.role} turn {state.turn}: {tools}",
        )

    def _add_costs(self, result: TurnResult, guidance: list[str]) -> None:
        state = self._state
        state.guidance = state.guidance[len(guidance) - result.unheard :]
        state.steps += 1
        # A step that only runs tools, because a hand-off is among them, asks no model.
        state.turns += result.asked_model
        if result.billing and result.billing not in state.billing and len(state.billing) < _MAX_BILLING:
            state.billing.append(result.billing)
        state.cost_usd += result.cost_usd
        state.usage = state.usage + result.usage
        state.tools = result.tools
        state.nudges = state.nudges + 1 if result.outcome == "nudge" else 0
        self._excerpt = result.excerpt

    def _take_findings(self, result: TurnResult) -> None:
        """Keep the turn's remarks for people: paths left out or put back, and billing."""
        state = self._state
        state.left_out = result.left_out or state.left_out
        if result.put_back is not None:
            state.put_back = result.put_back + (state.put_back or PutBack())

    def _conclude_turn(self, result: TurnResult, opening: int) -> SessionResult | None:
        """The session's end, where this turn was its last."""
        role = self._state.key.role
        self._state.answer = None
        match result.outcome:
            case "handed_off" if self._state.guidance and self._state.turn <= self._state.last_turn:
                # A person sent a message meanwhile: the role takes it in, and hands off again.
                return None
            case "handed_off":
                return self._fill_result(SessionResult(outcome="handed_off", commit="", hand_off=result.hand_off))
            case "escalated":
                return self._fill_result(SessionResult(outcome="escalated", commit="", escalation=result.escalation))
            case "refused":
                declined = f"The model declined to go on as {role}: {result.excerpt}"
                if not result.again:
                    return self._make_escalation("refusal", declined)
                return self._make_escalation(
                    "refusal", f"{cut_text(declined, 1_300)} {self._way_on(opening)}".strip(), anew=True
                )
            case "context_full":
                full = f"The {role}'s conversation has outgrown the model's context. {self._way_on(opening)}"
                return self._make_escalation("context_full", full.strip(), anew=True)
            case "nudge" if self._state.nudges >= MAX_NUDGES:
                return self._make_escalation(
                    "no_progress", f"The {role} ends its turns without working or handing off."
                )
        return None

    def _escalate_turns(self) -> SessionResult:
        """The session's turns are used up."""
        state = self._state
        return self._make_escalation(
            TURN_LIMIT,
            f"The {state.key.role} has used its {state.last_turn} turns and is not done. Give it more?",
            choices=[RAISE],
        )

    def _escalate_failure(self, failure: StepFailed) -> SessionResult:
        """A turn that still fails after its retries."""
        kind = failure.detail or failure.kind
        question = f"The {self._state.key.role} cannot go on: {failure}"
        # By the kind of the failure, never by its words: those may be anybody's.
        anew = failure.kind in _NEEDS_NEW_START or failure.detail in _ABOUT_THE_BYTES
        if anew:
            question = f"{cut_text(question, 1_300).rstrip('.')}. {self._way_on(self._opening_level)}".strip()
        return self._make_escalation(kind, question, error=str(failure), attempted=failure.attempted, anew=anew)

    @property
    def _opening_level(self) -> int:
        """The level of the first message where the next turn is the first of a start; else 0."""
        return self._state.level or (_FIRST_START if self._state.turn == 1 else 0)

    def _way_on(self, opening: int) -> str:
        """Return the sentence about `retry` for a lost conversation; `opening` is that of the failed turn."""
        role = self._state.key.role
        if self._state.key.purpose:
            return ""  # an answer of the orchestrator's is given once
        if opening < SHORTEST:
            shorter = "shorter " if opening else ""
            return (
                f"`retry` starts the session anew from its last checkpoint, with a {shorter}brief of what was done so"
                " far; a note goes with it."
            )
        return (
            "The shortest brief was not taken either, so the cause is not the length of the conversation: check the"
            f" model (BATON_{role.upper()}_MODEL), the size of its answers (BATON_MAX_OUTPUT_TOKENS) and the gateway"
            " (ANTHROPIC_BASE_URL), and restart the worker where you change one; `retry` then starts the session anew."
        )

    def _escalate_cap(self, result: TurnResult) -> SessionResult:
        """Escalate a cap that the next model call could pass; the pipeline completes the question."""
        assert result.reached is not None
        escalation = Escalation(
            error_type=ERROR_TYPE,
            question=cap_question(result.reached),
            choices=[RAISE],
            operation=f"turn {self._state.turn}",
            reached=result.reached,
        )
        return self._fill_result(SessionResult(outcome="escalated", commit="", escalation=escalation))

    def _make_escalation(
        self,
        kind: str,
        question: str,
        *,
        error: str = "",
        attempted: list[str] | None = None,
        choices: list[str] | None = None,
        anew: bool = False,
    ) -> SessionResult:
        escalation = Escalation(
            error_type=kind,
            question=cut_text(question, 2_000),
            error=cut_text(error, 2_000),
            attempted=attempted or [],
            choices=choices or [],
            operation=f"turn {self._state.turn}",
            anew=anew,
        )
        return self._fill_result(SessionResult(outcome="escalated", commit="", escalation=escalation))

    def _fill_result(self, ending: SessionResult) -> SessionResult:
        state = self._state
        ending.commit = state.commit
        ending.queue = self._host.queue
        ending.next_turn = state.turn
        ending.turns = state.turns
        ending.steps = state.steps
        ending.billing = state.billing
        ending.cost_usd = round(state.cost_usd, 8)
        ending.guidance = state.guidance
        ending.left_out, ending.put_back = state.left_out, state.put_back
        return ending


async def run_session(session: SessionInput, inbox: list[str], halt: Interruption, *, summary: str) -> SessionResult:
    """Run a session as a child of this workflow; messages that arrive in `inbox` meanwhile are forwarded to it.

    Raises ChildEnded where the session gave no result, StepFailed where an earlier one of its id is still at work.
    """
    child = await start_child(
        session.key.workflow_id,
        lambda: workflow.start_child_workflow(
            AgentSession.run,
            session,
            id=session.key.workflow_id,
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            static_summary=summary,
        ),
    )
    return await await_child(
        child,
        inbox,
        lambda text: child.signal(AgentSession.guide, text),
        halt,
        lambda: child.signal(AgentSession.halt),
    )
