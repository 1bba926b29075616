"""The activity `take_turn`: the tool calls that the model asked for, then the model's next answer, exactly once.

Temporal runs an activity at least once; the journal in git makes its effects happen once. An attempt first reads how
far an earlier one got. It returns an answer that was committed, runs no tool calls whose results were committed, and
starts interrupted tool calls over from the checkpoint.
"""

import json
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from temporalio import activity

from activities.budget.ledger_sql import ModelCall
from activities.budget.spending_guard import SpendingGuard
from activities.runtime import metrics
from activities.runtime.heartbeat import report_progress
from activities.runtime.step import step
from activities.runtime.stores import Stores, read_run_json
from activities.session.conversation import (
    GO_ON,
    WHOLE,
    Message,
    append_turn,
    append_user,
    is_paused_by_server,
    reject_hand_off,
)
from activities.session.journal import AssistantEntry, Journal, TranscriptCache, TurnPosition, UserEntry
from activities.session.messages_api import CallMeter, ModelAnswer, ask_model
from activities.turn.engine_tools import escalation_of, hand_off_of
from activities.turn.failure_context import diagnose_escalation
from activities.turn.paid_answer import PaidAnswer
from activities.turn.session_start import SessionStart
from activities.turn.session_summary import SessionHistory
from activities.turn.tool_phase import ToolPhase, ToolRunner, tool_uses
from agents.messages.request import FrozenPrefix, build_request
from baton.budget.caps import CapReached
from baton.budget.pricing import PriceList
from baton.errors import ConversationLost
from baton.logs import get_logger
from baton.policies import MAX_EXCERPT
from baton.settings.core import Settings
from baton.steps.session import PutBack, TurnInput, TurnOutcome, TurnResult
from baton.steps.store_paths import MODELS
from baton.text.redaction import Redactor
from baton.text.truncation import MAX_NAMED, cut_item, cut_text, first_items, join_names
from baton.tracing import annotate_span, start_span
from workspaces.checkpoints.workspace import hold_workspace
from workspaces.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

_log = get_logger(__name__)

_MAX_CUTS = 2
"""Maximum of retries of an answer that max_tokens cut off in a tool call, each with twice the tokens."""
_MAX_OUTPUT = 128_000
_REQUEST_OVERHEAD = 1_000
"""An upper bound of the tokens that the API adds to a request with tools."""


class TurnActivities:
    """The activity `take_turn`."""

    def __init__(
        self,
        stores: Stores,
        model: "AsyncAnthropic",
        sandbox: Sandbox,
        prices: PriceList,
        settings: Settings,
        purse: SpendingGuard,
    ) -> None:
        self._stores = stores
        self._model = model
        self._prices = prices
        self._settings = settings
        self._purse = purse
        self._redact = Redactor(settings.list_secrets())
        self._cache = TranscriptCache()
        self._opener = SessionStart(stores, settings, prices, isolated=sandbox.status.kind != "none")
        self._tools = ToolRunner(stores, sandbox, self._redact)

    @step("take_turn")
    async def take_turn(self, turn: TurnInput) -> TurnResult:
        """Run the pending tool calls, commit, call the model, commit; skip steps that an earlier attempt committed."""
        at = activity.info().scheduled_time
        report_progress(stage="workspace", turn=turn.turn, cost_usd=turn.spent_usd)
        checkpoints = await self._stores.open_checkpoints(turn.key.repo)
        journal = Journal(checkpoints, turn.key, self._cache)
        async with hold_workspace(checkpoints.store, journal.lane):
            position = await journal.claim_position(turn)
            if position.state == "fresh":
                position = await self._take_user_side(journal, turn, at)
            assert position.user is not None
            if position.result is not None:
                result = position.result.model_copy(update={"commit": position.head})
            elif turn.silent:
                result = TurnResult(
                    commit=position.head,
                    outcome="over_turns",
                    left_out=position.user.left_out,
                    put_back=_put_back(position.user),
                )
            else:
                keeping = PaidAnswer()
                result = await keeping.run_uncancelled(self._take_model_side(journal, turn, position, at, keeping))
            metrics.count_turn(turn.key.role, result.outcome)
            _log_turn(result)
            return result.model_copy(update={"unheard": max(0, len(turn.guidance) - position.user.heard)})

    async def _take_user_side(self, journal: Journal, turn: TurnInput, at: datetime) -> TurnPosition:
        if turn.turn == 1 or turn.level:
            return await self._open_session(journal, turn, at)
        last, ended = await journal.read_before(turn.expected, turn.turn)
        if last is None:
            raise ConversationLost(f"The store has no answer of turn {turn.turn - 1} of {turn.key.workflow_id}.")
        if ended:
            return await self._reopen_session(journal, turn, last, ended, at)
        phase = await self._tools.run_calls(journal, turn, last)
        entry = UserEntry(
            turn=turn.turn,
            expected=turn.expected,
            message=user_message(turn, last, phase),
            tools=phase.records,
            put_back=phase.put_back,
            left_out=phase.left_out,
            heard=len(turn.guidance),
            start=turn.start,
        )
        if phase.hand_off is not None:
            entry.result = TurnResult(
                commit="",
                outcome="handed_off",
                hand_off=phase.hand_off,
                note=phase.note,
                left_out=phase.left_out,
                put_back=_put_back(entry),
            )
        with metrics.time_checkpoint("tools"):
            head = await journal.record_user(entry, at=at, snapshot=phase.snapshot, files={**phase.kept, **phase.files})
        phase.committed(head)
        return TurnPosition(state="asked", head=head, user=entry, result=entry.result)

    async def _reopen_session(
        self, journal: Journal, turn: TurnInput, last: AssistantEntry, ended: list[UserEntry], at: datetime
    ) -> TurnPosition:
        """Continue after a hand-off beside other calls: a person's message came before the hand-off took effect.

        The calls have run, but the model has no results of them. It gets them now, with the hand-off's as a refusal.
        """
        entry = UserEntry(
            turn=turn.turn, expected=turn.expected, message=None, heard=len(turn.guidance), start=turn.start
        )
        if turn.guidance:
            messages = [user.message for user in ended if user.message is not None]
            results = messages[0]["content"] if messages else []
            texts = [{"type": "text", "text": text} for text in map(_from_person, turn.guidance)]
            entry.message = {"role": "user", "content": [*reject_hand_off(results, last.message), *texts]}
        else:
            # Without a message the hand-off is valid.
            entry.result = ended[-1].result
        head = await journal.record_user(entry, at=at, snapshot=None)
        return TurnPosition(state="asked", head=head, user=entry, result=entry.result)

    async def _open_session(self, journal: Journal, turn: TurnInput, at: datetime) -> TurnPosition:
        if turn.level:
            done = await SessionHistory(journal, self._stores, turn).read_history()
            prefix, brief = await self._opener.open_session(turn.key, turn.expected, level=turn.level, done=done)
        else:
            prefix, brief = await self._opener.open_session(turn.key, turn.expected)
        content = [{"type": "text", "text": text} for text in (brief, *map(_from_person, turn.guidance))]
        message = {"role": "user", "content": content}
        entry = UserEntry(
            turn=turn.turn,
            expected=turn.expected,
            message=message,
            heard=len(turn.guidance),
            start=turn.start,
            level=turn.level,
        )
        head = await journal.record_user(entry, at=at, snapshot=None, prefix=prefix)
        return TurnPosition(state="asked", head=head, user=entry)

    async def _take_model_side(
        self, journal: Journal, turn: TurnInput, position: TurnPosition, at: datetime, keeping: PaidAnswer
    ) -> TurnResult:
        assert position.user is not None
        opens = turn.turn == 1 or position.user.level > 0
        if opens:
            prefix, messages = await journal.read_prefix(position.head, position.user), list[Message]()
            if prefix is None:
                raise ConversationLost(f"The store has no prefix of {turn.key.workflow_id}.")
        else:
            prefix, messages = await journal.read_transcript(position.head, turn.turn - 1)
        history = list(messages)
        append_user(history, position.user.message)
        note = f"put back: {join_names(position.user.put_back, 5)}" if position.user.put_back else ""
        told = {"left_out": position.user.left_out, "put_back": _put_back(position.user)}

        head, cuts = position.head, list(position.cuts)
        last = None if opens else (await journal.read_before(head, turn.turn))[0]
        prompt = _longest_prompt(prefix, history, last)
        while True:
            max_output = min(prefix.max_tokens * 2 ** len(cuts), _MAX_OUTPUT)
            # Raises if the model has no price: then no call is made.
            worst = self._prices.worst_case_usd(
                prefix.model, prompt, max_output, answers_as=last.model if last else None
            )
            call = await self._purse.reserve_call(turn.key, turn.turn, prefix.model, worst)
            if isinstance(call, CapReached):
                return TurnResult(commit=head, outcome="over_budget", reached=call, note=note, **told)
            report_progress(stage="model", tool="")
            with start_span("model call", role=turn.key.role, turn=turn.turn, model=prefix.model):
                answer, others = await self._purse.make_call(
                    call, max_output, partial(self._ask_model, turn, prefix, history, max_output, keeping)
                )
                entry = self._answer_entry(call, answer)
                annotate_span(usd=entry.cost_usd, **entry.usage.model_dump())
            metrics.count_answer(turn.key.role, entry.model, entry.usage, entry.cost_usd, entry.seconds)
            cut = answer.stop_reason == "max_tokens" and bool(tool_uses(answer.content))
            if not cut or len(cuts) >= _MAX_CUTS or max_output >= _MAX_OUTPUT:
                break
            cuts.append(entry)
            head = await journal.record_cut(head, entry, len(cuts), at=at)
            keeping.mark_stored()

        entry.runnable = entry.stop_reason in WHOLE
        entry.lost = [other for other in others if other.call not in {cut.call for cut in cuts}]
        result, files = self._conclude_answer(turn, entry, cuts, note)
        result.billing = self._billing_note(turn, prefix.model, {one.model for one in (entry, *cuts)})
        if position.user.level:
            result.billing = " ".join(filter(None, (await self._model_change_note(turn, prefix.model), result.billing)))
        if result.outcome == "refused":
            result.again = position.user.level > 0 or (last is not None and last.stop_reason == "refusal")
        if result.escalation is not None:
            result.escalation = diagnose_escalation(result.escalation, history, self._redact)
        result = result.model_copy(update=told)
        entry.result = result
        with metrics.time_checkpoint("model"):
            commit = await journal.record_answer(head, entry, at=at, files=files)
        if result.outcome == "handed_off":
            journal.forget_transcript()
        else:
            append_turn(messages, position.user.message, entry.message)
            journal.remember_transcript(turn.turn, prefix, messages)
        return result.model_copy(update={"commit": commit})

    async def _ask_model(
        self,
        turn: TurnInput,
        prefix: FrozenPrefix,
        history: list[Message],
        max_output: int,
        keeping: PaidAnswer,
        meter: CallMeter,
    ) -> ModelAnswer:
        request = build_request(prefix, history, self._settings.cache_ttl)
        request["max_tokens"] = max_output
        key = turn.key
        headers = {
            "X-Baton-Run": key.run,
            "X-Baton-Task": key.task,
            "X-Baton-Role": key.role,
            "X-Baton-Round": str(key.round),
            "X-Baton-Turn": str(turn.turn),
        }
        answer = await ask_model(self._model, request, headers, meter)
        keeping.mark_received()
        return answer

    def _answer_entry(self, call: ModelCall, answer: ModelAnswer) -> AssistantEntry:
        return AssistantEntry(
            turn=call.turn,
            call=call.id,
            day=call.day,
            message={"role": "assistant", "content": answer.content},
            faults=answer.faults,
            fault=answer.fault,
            unsent=answer.unsent,
            stop_reason=answer.stop_reason,
            stop_details=answer.stop_details,
            model=answer.model,
            request_id=answer.request_id,
            usage=answer.usage,
            cost_usd=self._prices.cost_usd(answer.model, answer.usage),
            seconds=round(answer.seconds, 3),
        )

    def _billing_note(self, turn: TurnInput, asked: str, answered: set[str]) -> str:
        """Return a sentence for people if another model answered than was asked, at another price; else empty."""
        others = sorted(model for model in answered if not self._prices.same_price(model, asked))
        if not others:
            return ""
        named = ", ".join(" ".join(self._redact(other).split())[:130] or "an unnamed model" for other in others[:3])
        unknown = not all(self._prices.has_model(other) for other in others)
        how = (
            "which has no price here and is counted at the highest known prices" if unknown else "and is billed as that"
        )
        return f"{turn.key.role}: {named} answered where {asked} was asked, {how}."

    async def _model_change_note(self, turn: TurnInput, asked: str) -> str:
        """Return a sentence for people if a new start asks another model than the run is pinned to; else empty."""
        key = turn.key
        pinned = (await read_run_json(await self._stores.open_store(key.repo), key.run, MODELS)).get(key.role)
        return "" if asked == pinned else f"{key.role}: started anew with {asked} in place of {pinned}, as is set now."

    def _conclude_answer(
        self, turn: TurnInput, entry: AssistantEntry, cuts: list[AssistantEntry], note: str
    ) -> tuple[TurnResult, dict[str, bytes]]:
        """Return the result of an answer for the workflow, and the files of an accepted hand-off."""
        content = entry.message["content"]
        calls = tool_uses(content)
        result = TurnResult(
            commit="",
            tools=first_items(
                [name if (name := str(call["name"])[:40]).isidentifier() else "unknown" for call in calls], 10
            ),
            excerpt=self._redact(_text_excerpt(content)),
            usage=sum((cut.usage for cut in cuts), entry.usage),
            cost_usd=round(entry.cost_usd + sum(c.cost_usd for c in cuts) + sum(lost.usd for lost in entry.lost), 8),
            note=note,
        )
        files: dict[str, bytes] = {}
        outcome: TurnOutcome = "continue"
        if entry.stop_reason == "refusal":
            outcome = "refused"
            details = entry.stop_details or {}
            result.excerpt = cut_text(self._redact(str(details.get("explanation") or result.excerpt)), MAX_EXCERPT)
        elif entry.stop_reason == "model_context_window_exceeded":
            outcome = "context_full"
        elif not calls and not is_paused_by_server(entry.message, entry.stop_reason):
            outcome = "nudge"
        elif entry.runnable and calls:
            sound = [call for call in calls if call["id"] not in entry.faults]
            escalation = next((found for call in sound if (found := escalation_of(call, self._redact))), None)
            verdict = hand_off_of(turn.key, sound[0], self._redact) if len(calls) == len(sound) == 1 else None
            if escalation is not None:
                outcome, result.escalation = "escalated", escalation
            elif verdict is not None and verdict.accepted is not None:
                outcome, result.hand_off, files = "handed_off", verdict.accepted, verdict.files
        result.outcome = outcome
        return result, files


def _put_back(entry: UserEntry) -> PutBack | None:
    if not entry.put_back:
        return None
    shown = list(map(cut_item, entry.put_back[:MAX_NAMED]))
    return PutBack(paths=shown, more=max(0, len(entry.put_back) - MAX_NAMED))


def _log_turn(result: TurnResult) -> None:
    """Log the turn, and the report with which a session ends."""
    _log.info("turn", outcome=result.outcome, tools=result.tools, cost_usd=result.cost_usd, commit=result.commit)
    if result.hand_off is not None:
        said = result.hand_off
        _log.info("hand-off", verdict=said.verdict, blocking=said.blocking, summary=said.summary, report=said.path)


def user_message(turn: TurnInput, last: AssistantEntry, phase: ToolPhase) -> Message | None:
    """Return the user's side of a turn: tool results, then remarks of the engine, then messages of people."""
    texts = [*([last.fault] if last.fault else []), *phase.remarks, *map(_from_person, turn.guidance)]
    if not phase.results and not texts:
        if is_paused_by_server(last.message, last.stop_reason):
            return None
        texts = [GO_ON]
    content: list[dict[str, Any]] = [*phase.results, *({"type": "text", "text": text} for text in texts)]
    return {"role": "user", "content": content}


def _longest_prompt(prefix: FrozenPrefix, history: list[Message], last: AssistantEntry | None) -> int:
    """Return the maximum of tokens of a request: those of the last request and answer, and one for each new byte.

    A token stands for at least one byte, so no text has more tokens than bytes.
    """
    if last is None:
        return len(prefix.to_json()) + sum(_count_bytes(message) for message in history) + _REQUEST_OVERHEAD
    new = history[-1:] if history and history[-1]["role"] == "user" else []
    before = last.usage.prompt_tokens + last.usage.output_tokens
    return before + sum(_count_bytes(message) for message in new) + _REQUEST_OVERHEAD


def _count_bytes(message: Message) -> int:
    return len(json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _from_person(text: str) -> str:
    return f"A message from the person who runs this pipeline:\n\n{text}"


def _text_excerpt(content: list[dict[str, Any]]) -> str:
    text = " ".join(" ".join(block["text"] for block in content if block.get("type") == "text").split())
    return text if len(text) <= MAX_EXCERPT else text[: MAX_EXCERPT - 1] + "…"
