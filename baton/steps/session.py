"""Records between the session workflow and the turn activity: ids, numbers and excerpts, never transcripts.

These records stand in the history once a turn, so they are lean: a field at its default is not written.
"""

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from baton import identifiers
from baton.budget.caps import CapReached
from baton.records.run import Record, ShortText, Usage
from baton.text.truncation import MAX_NAMED


class CompactRecord(Record):
    """A record that leaves out fields at their defaults when it is written."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {
            name: value
            for name, value in written.items()
            if name not in fields
            or fields[name].is_required()
            or getattr(self, name) != fields[name].get_default(call_default_factory=True)
        }


class SessionKey(CompactRecord):
    """The key of a session: one role at work on one task of a run."""

    run: str
    repo: str
    task: str
    round: int
    role: str
    purpose: str = ""
    """Empty: the role's own work. `guidance`: the orchestrator answers an agent that is stuck."""

    @property
    def report_kind(self) -> str:
        """Which report ends the session."""
        return self.purpose or self.role

    @property
    def session_name(self) -> str:
        """`<round>-<role>`."""
        return identifiers.session_name(self.round, self.role)

    @property
    def workflow_id(self) -> str:
        """Id of the session's workflow."""
        return identifiers.session_workflow_id(self.run, self.task, self.round, self.role)


class Escalation(CompactRecord):
    """The reason why work cannot go on without help, and the ways out."""

    error_type: str
    question: ShortText
    attempted: list[ShortText] = Field(default_factory=list, max_length=10)
    suggestions: list[ShortText] = Field(default_factory=list, max_length=10)
    choices: list[str] = Field(default_factory=list, max_length=10)
    architectural: bool = False
    error: ShortText = ""
    """The failure in its own words, redacted; empty where a role asked by itself."""
    operation: str = ""
    failure_class: str = ""
    """One of the known classes (`agents.failure_classifier`), or empty."""
    context: dict[str, str] = Field(default_factory=dict)
    """What else identifies the failure, credentials masked."""
    reached: CapReached | None = None
    """The cap that it is about."""
    anew: bool = False
    """The conversation cannot go on as it is: the session starts anew from its last checkpoint."""

    @property
    def of_role(self) -> bool:
        """Whether a role asked by itself: every word is then a model's, and none of them decides for the engine."""
        return not self.operation


class HandOff(CompactRecord):
    """The part of a hand-off that the workflow decides by; the whole report is in the store at `path`."""

    path: str
    verdict: str = ""
    summary: str = ""
    blocking: int = 0
    """Blocking findings of a review, or failures of a test report."""


class TurnInput(CompactRecord):
    """Input of `take_turn`."""

    key: SessionKey
    turn: int
    expected: str
    """The checkpoint that this turn starts from."""
    guidance: list[str] = Field(default_factory=list)
    """Messages from people, oldest first."""
    answer: str | None = None
    """The answer to the `escalate` call of the turn before."""
    spent_usd: float = 0.0
    """What the session has cost so far; for people, in the heartbeats."""
    start: int = 0
    """How often the session has started anew by now; 0 is its first start."""
    level: int = 0
    """Set where this turn is the first of a new start: how short its brief must be (see
    `agents.messages.restart_message`).
    """
    silent: bool = False
    """The session's turns are used up: the pending tools run, for a hand-off is among them, but no model is asked."""


class LeftOut(CompactRecord):
    """The paths of a task's workspace that the branch will not have: the whole list as it is now, bounded."""

    paths: dict[str, str] = Field(default_factory=dict)
    """Each path as `show_path` shows it, with the name of its reason (`baton.records.left_out`)."""
    minor: list[str] = Field(default_factory=list)
    """Caches and empty directories, one of each name."""
    more: int = 0
    """Paths that are not named."""


class PutBack(CompactRecord):
    """Paths that the engine put back, since the role may not change them; bounded."""

    paths: list[str] = Field(default_factory=list)
    more: int = 0

    def __add__(self, other: "PutBack") -> "PutBack":
        paths = list(dict.fromkeys([*self.paths, *other.paths]))
        return PutBack(paths=paths[:MAX_NAMED], more=max(self.more, other.more) + max(0, len(paths) - MAX_NAMED))


TurnOutcome = Literal[
    "continue", "handed_off", "escalated", "nudge", "refused", "context_full", "over_budget", "over_turns"
]


class TurnResult(CompactRecord):
    """The result of a turn."""

    commit: str
    outcome: TurnOutcome = "continue"
    tools: list[str] = Field(default_factory=list)
    """Names of the tools that the answer asks for; they run in the next turn."""
    excerpt: str = ""
    usage: Usage = Field(default_factory=Usage)
    cost_usd: float = 0.0
    hand_off: HandOff | None = None
    escalation: Escalation | None = None
    note: str = ""
    """What a reader should know, for instance which paths were put back."""
    unheard: int = 0
    """How many of the last messages came after the turn's tool results were committed; the next turn takes them in."""
    reached: CapReached | None = None
    """The cap that does not allow the model call of this turn."""
    left_out: LeftOut | None = None
    """What is written and not kept, where that has changed."""
    put_back: PutBack | None = None
    """What this turn's tool calls changed outside the role's scope."""
    billing: str = ""
    """What a reader must know of how the turn was billed: another model answered than was asked."""
    again: bool = False
    """Of a refusal of the model's: the answer before was one as well, so going on as it is leads nowhere."""

    @property
    def asked_model(self) -> bool:
        """Whether the model was asked: no call is without tokens."""
        return self.usage != Usage()


class SessionInput(CompactRecord):
    """Input of the workflow `AgentSession`, and its state when it continues as new."""

    key: SessionKey
    commit: str
    """The checkpoint that the next turn starts from."""
    turn: int = 1
    """The next turn."""
    last_turn: int
    """The turn after which the session must ask for more."""
    queue: str = ""
    guidance: list[str] = Field(default_factory=list)
    answer: str | None = None
    start: int = 0
    level: int = 0
    """Set where the next turn is the first of a new start."""
    turns: int = 0
    steps: int = 0
    cost_usd: float = 0.0
    usage: Usage = Field(default_factory=Usage)
    billing: list[str] = Field(default_factory=list)
    nudges: int = 0
    tools: list[str] = Field(default_factory=list)
    left_out: LeftOut | None = None
    put_back: PutBack | None = None


class SessionResult(CompactRecord):
    """How a session ended."""

    outcome: Literal["handed_off", "escalated"]
    commit: str
    queue: str = ""
    next_turn: int = 1
    turns: int = 0
    """Turns taken in this execution: answers of the model."""
    steps: int = 0
    """Steps taken in this execution; the last one may be without an answer."""
    billing: list[str] = Field(default_factory=list)
    """What a reader must know of how its turns were billed."""
    cost_usd: float = 0.0
    hand_off: HandOff | None = None
    escalation: Escalation | None = None
    guidance: list[str] = Field(default_factory=list)
    """Messages that came too late for this session."""
    left_out: LeftOut | None = None
    """What is written and not kept, where that has changed during the session."""
    put_back: PutBack | None = None
    """All that was put back during the session."""


class SessionStatus(Record):
    """Answer of the session's query `status`."""

    run: str
    task: str
    round: int
    role: str
    turn: int
    tools: list[str] = Field(default_factory=list)
    """What runs now: the tools that the last answer asked for."""
    excerpt: str = ""
    turns: int = 0
    cost_usd: float = 0.0
    usage: Usage = Field(default_factory=Usage)
    waiting_for: str = ""


class HeartbeatDetails(Record):
    """Heartbeat details of an activity: its present stage. The Web UI shows them, and so does the live table."""

    stage: str = ""
    """`workspace`, `tools`, `checkpoint`, `budget`, `model`; of a gate `candidate` and `gate`.
    `waits for a slot on its host` while other steps have all slots."""
    turn: int = 0
    tool: str = ""
    cost_usd: float = 0.0
    """Of the session, up to the turn before."""
    seconds: float = 0.0
    """For how long it has been doing that."""
