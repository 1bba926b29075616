"""What a scripted model says, and which faults befall it: the models of a scenario, for files and for tests.

Scenario(steps=[
    Step(role="backend", task="t1", turn=1, calls=[Call("Write", {"file_path": "a.py", "content": "x = 1\\n"})]),
    Step(role="backend", task="t1", turn=2, text="Done.", faults=[Fault(status=529), Fault(reset_after=3)]),
])
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

StopReason = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded"
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(config=ConfigDict(extra="forbid"))
class Call:
    """One tool call of an answer. `${turn}` and its kin are replaced in every text of the input."""

    name: str
    """Any text, as a model may write it; what is no tool's name is refused when it is sent back."""
    input: dict[str, Any] = Field(default_factory=dict)
    raw: str | None = None
    """The JSON text of the input as it is streamed, in place of `input`: it may be anything, or end in the middle."""
    server: bool = False
    """Whether the tool is the API's own (`web_search`): with `pause_turn` the answer is taken back as it is."""


_ENDINGS = (
    "status",
    "reset_before_response",
    "error_event_after",
    "reset_after",
    "fin_after",
    "clean_end_after",
    "stall_after",
    "usage_limit",
    "spend_limit",
)


class Fault(_Strict):
    """What befalls one request. One way to fail at most; `delay`, `pings` and `pace` go with any, or alone.

    Numbers named `..._after` count the stream's events that are sent whole before the fault, pings not counted.
    A request that does not stream is cut before its body in their place.
    """

    status: int | None = Field(default=None, ge=400, le=599)
    """Answered before the body, with `error_type`, `message`, `retry_after` (seconds) and `should_retry`.

    A final refusal that is about the request (400, 404, 413, 422) is met again by a run that sends the same bytes.
    """
    error_type: str | None = None
    """The API's error type; without it, the one that goes with the status (`overloaded_error` in a stream)."""
    error_code: str | None = None
    message: str | None = None
    retry_after: float | None = Field(default=None, ge=0)
    should_retry: bool | None = None
    reset_before_response: bool = False
    error_event_after: int | None = Field(default=None, ge=0)
    """An `event: error` in the stream, after which the stream ends."""
    reset_after: int | None = Field(default=None, ge=0)
    """A TCP reset in the stream."""
    fin_after: int | None = Field(default=None, ge=0)
    """The connection is closed (FIN) without the end of the body."""
    clean_end_after: int | None = Field(default=None, ge=0)
    """The body ends as HTTP wants it, but before `message_stop`."""
    stall_after: int | None = Field(default=None, ge=0)
    """Nothing more is sent, and the connection stays open."""
    usage_limit: float | None = Field(default=None, gt=0)
    """A 429 with a stated reset, in this many seconds from the first time; every request until then gets it."""
    spend_limit: bool = False
    """A 429 without `retry-after`, with an `error_code` that says that a spend limit is reached."""
    delay: float = Field(default=0.0, ge=0)
    """Seconds before anything is sent."""
    pings: float = Field(default=0.0, ge=0)
    """Seconds in which only pings are sent, after `message_start`."""
    pace: float | None = Field(default=None, ge=0)
    """Seconds before each event, in place of the step's own pace."""
    times: int = Field(default=1, ge=1)
    """So many requests in a row."""

    @model_validator(mode="after")
    def _one_ending(self) -> "Fault":
        named = [name for name in _ENDINGS if getattr(self, name) is not None and getattr(self, name) is not False]
        if len(named) > 1:
            raise ValueError(f"a request can fail in one way only, not {' and '.join(named)}")
        if not named and not self.delay and not self.pings and self.pace is None:
            raise ValueError(f"a fault needs one of {', '.join(_ENDINGS)}, delay, pings, pace")
        return self

    @property
    def cut(self) -> tuple[str, int] | None:
        """How and after how many events the stream is cut, if it is."""
        for name in ("error_event_after", "reset_after", "fin_after", "clean_end_after", "stall_after"):
            value = getattr(self, name)
            if value is not None:
                return name.removesuffix("_after"), value
        return None


class Step(_Strict):
    """One answer, and the requests it is for: those whose `X-Baton-*` headers have every value named here."""

    run: str | None = None
    role: str | None = None
    task: str | None = None
    round: int | None = Field(default=None, ge=1)
    turn: int | None = Field(default=None, ge=0)
    contains: str | None = None
    """Text that the last message of the request must have in it: what a tool or a person said."""
    repeat: int | Literal["always"] | None = None
    """A number: turns 1 to N, in every session. `always`: any number of requests. Without it: once in a run."""

    thinking: str | None = None
    """Text of a thinking block; empty: a block whose text is withheld, with a signature all the same."""
    redacted: bool = False
    """Whether the thinking comes as a `redacted_thinking` block."""
    text: str | None = None
    calls: list[Call] = Field(default_factory=list)
    stop_reason: StopReason | None = None
    """Without it `tool_use` where there are calls, else `end_turn`. `max_tokens` cuts the last block in half."""
    stop_details: dict[str, Any] | None = None
    answers_as: str = ""
    """The model that the answer says it is of, and is billed as; without it the one that was asked."""
    output_tokens: int | None = Field(default=None, ge=0)
    """Without it derived from the size of the answer."""
    seconds: float | None = Field(default=None, ge=0)
    """How long the whole answer takes, spread over its events."""
    faults: list[Fault | None] = Field(default_factory=list)
    """What befalls the first, second, ... request for this step; null for nothing."""

    @model_validator(mode="after")
    def _turn_or_repeat(self) -> "Step":
        if self.turn is not None and self.repeat is not None:
            raise ValueError("a step has a turn or a repeat, not both")
        return self

    def fault(self, request: int) -> Fault | None:
        """The fault of the n-th request for this step, counted from 1."""
        for fault in self.faults:
            request -= fault.times if fault is not None else 1
            if request <= 0:
                return fault
        return None


class Scenario(_Strict):
    """The steps of a scripted model. The first step that matches and is not used up answers."""

    name: str = ""
    steps: list[Step] = Field(default_factory=list)
    default: Step | None = None
    """What answers a request that no step matches; without it such a request is refused."""
    seconds: float = Field(default=0.0, ge=0)
    """How long an answer takes whose step does not say."""
    keys: list[str] | None = None
    """The API keys that are accepted; without it any key that is not empty."""
    models: list[str] = Field(default_factory=list)
    """Model ids that are served beside those of the price list."""
    context_window: int = Field(default=1_000_000, ge=1)
    """Tokens that a prompt may have. Load tests raise it: 500 turns with 20 kB each are 2.5 million tokens."""
