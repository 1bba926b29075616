"""The models of a scenario, for files and for tests: the answers of a scripted model, and the faults of its server.

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
class ScriptedCall:
    """One tool call of an answer; `${run}`, `${role}`, `${task}`, `${round}`, `${turn}` in its input are replaced."""

    name: str
    """Any text, as a model may write it. A request that sends back a name that no tool can have is refused."""
    input: dict[str, Any] = Field(default_factory=dict)
    raw: str | None = None
    """JSON text to stream as the input, in place of `input`; it may be invalid or incomplete."""
    server: bool = False
    """Whether the tool is the API's own (`web_search`): with `pause_turn` the answer may be sent back unchanged."""


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
    """A fault of one request: at most one way to fail, and `delay`, `pings` and `pace` with it or alone.

    The numbers in `..._after` are the complete events of the stream before the fault, without pings. A request that
    does not stream is cut before its body instead.
    """

    status: int | None = Field(default=None, ge=400, le=599)
    """HTTP status of an error answer, with `error_type`, `message`, `retry_after` (seconds) and `should_retry`.

    After a final refusal of the content (400, 404, 413, 422) a run that sends the same bytes is refused again.
    """
    error_type: str | None = None
    """The API's error type; by default that of the status, and `overloaded_error` in a stream."""
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
    """The body ends correctly by HTTP, but before `message_stop`."""
    stall_after: int | None = Field(default=None, ge=0)
    """The server sends no more bytes and keeps the connection open."""
    usage_limit: float | None = Field(default=None, gt=0)
    """A 429 whose reset is this many seconds after the first such answer; all requests until then get it."""
    spend_limit: bool = False
    """A 429 without `retry-after`, with the `error_code` of a reached spend limit."""
    delay: float = Field(default=0.0, ge=0)
    """Seconds before the first byte."""
    pings: float = Field(default=0.0, ge=0)
    """Seconds in which only pings are sent, after `message_start`."""
    pace: float | None = Field(default=None, ge=0)
    """Seconds before each event, in place of the step's own pace."""
    times: int = Field(default=1, ge=1)
    """Number of requests in a row that get this fault."""

    @model_validator(mode="after")
    def _one_ending(self) -> "Fault":
        named = [name for name in _ENDINGS if getattr(self, name) is not None and getattr(self, name) is not False]
        if len(named) > 1:
            raise ValueError(f"a request can fail in one way only, not {' and '.join(named)}")
        if not named and not self.delay and not self.pings and self.pace is None:
            raise ValueError(f"a fault needs one of {', '.join(_ENDINGS)}, delay, pings, pace")
        return self

    @property
    def stream_cut(self) -> tuple[str, int] | None:
        """The way in which the stream is cut, and the number of events before the cut; None if it is not cut."""
        for name in ("error_event_after", "reset_after", "fin_after", "clean_end_after", "stall_after"):
            value = getattr(self, name)
            if value is not None:
                return name.removesuffix("_after"), value
        return None


class ScriptedStep(_Strict):
    """One answer, for requests with `X-Baton-*` headers of the run, role, task, round and turn that are set."""

    run: str | None = None
    role: str | None = None
    task: str | None = None
    round: int | None = Field(default=None, ge=1)
    turn: int | None = Field(default=None, ge=0)
    contains: str | None = None
    """Text that the last message of the request must contain, such as a part of a tool result."""
    repeat: int | Literal["always"] | None = None
    """A number N: turns 1 to N of every session. `always`: any number of requests. By default once in a run."""

    thinking: str | None = None
    """Text of a thinking block; if empty, a signed block without text."""
    redacted: bool = False
    """Whether the thinking is sent as a `redacted_thinking` block."""
    text: str | None = None
    calls: list[ScriptedCall] = Field(default_factory=list)
    stop_reason: StopReason | None = None
    """By default `tool_use` for an answer with calls, else `end_turn`. `max_tokens` cuts the last block in half."""
    stop_details: dict[str, Any] | None = None
    answers_as: str = ""
    """The model that the answer names and is billed as; by default the requested one."""
    output_tokens: int | None = Field(default=None, ge=0)
    """By default derived from the size of the answer."""
    seconds: float | None = Field(default=None, ge=0)
    """Duration of the answer, spread over its events."""
    faults: list[Fault | None] = Field(default_factory=list)
    """The faults of the first, second, ... request for this step; null for none."""

    @model_validator(mode="after")
    def _turn_or_repeat(self) -> "ScriptedStep":
        if self.turn is not None and self.repeat is not None:
            raise ValueError("a step has a turn or a repeat, not both")
        return self

    def fault_of_request(self, request: int) -> Fault | None:
        """Return the fault of the n-th request for this step, counted from 1; None for no fault."""
        for fault in self.faults:
            request -= fault.times if fault is not None else 1
            if request <= 0:
                return fault
        return None


class Scenario(_Strict):
    """The steps of a scripted model; the first step that matches and is not used up answers a request."""

    name: str = ""
    steps: list[ScriptedStep] = Field(default_factory=list)
    default: ScriptedStep | None = None
    """The answer to requests that no step matches; without it they are refused."""
    seconds: float = Field(default=0.0, ge=0)
    """Duration of the answers of steps without `seconds`."""
    keys: list[str] | None = None
    """The accepted API keys; by default any key that is not empty."""
    models: list[str] = Field(default_factory=list)
    """Model ids that are served in addition to those of the price list."""
    context_window: int = Field(default=1_000_000, ge=1)
    """Maximum tokens of a prompt. Load tests raise it: 500 turns with 20 kB each are 2.5 million tokens."""
