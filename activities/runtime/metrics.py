"""The metrics of activities, for Prometheus. Label values come from closed lists: never a run, task, path or text.

Where no metrics are served the SDK's meter is a no-op; see `workers.sdk_runtime`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import activity
from temporalio.common import MetricAttributes, MetricCounter, MetricHistogramFloat, MetricMeter

from agents.tools.schemas import ESCALATE, HAND_OFF
from baton.records.run import ROLES, Usage
from baton.tool_inputs import TOOL_NAMES

_TOOLS = frozenset({*TOOL_NAMES, HAND_OFF, ESCALATE})
_MAX_MODELS = 20
"""People and the API name models freely, so models beyond this number share the label `other`."""
_OTHER = "other"
_models: set[str] = set()


def count_answer(role: str, model: str, usage: Usage, usd: float, seconds: float) -> None:
    """Count an answer of the model: its cost, its time, its tokens."""
    labels: MetricAttributes = {"role": role if role in ROLES else _OTHER, "model": _model_label(model)}
    _make_histogram("baton_call_usd", "USD of a model call", "USD").record(usd, labels)
    _make_histogram("baton_model_seconds", "Seconds of a model call", "s").record(seconds, labels)
    tokens = _make_counter("baton_tokens", "Tokens by the kind in which they are billed")
    for kind in Usage.model_fields:
        tokens.add(getattr(usage, kind), {**labels, "kind": kind.removesuffix("_tokens")})


def count_turn(role: str, outcome: str) -> None:
    """Count a turn by its outcome."""
    labels: MetricAttributes = {"role": role if role in ROLES else _OTHER, "outcome": outcome}
    _make_counter("baton_turns", "Turns by how they ended").add(1, labels)


def count_tool_call(tool: str, seconds: float, *, error: bool) -> None:
    """Record the time of a tool call that has ended."""
    labels: MetricAttributes = {"tool": tool if tool in _TOOLS else _OTHER, "error": error}
    _make_histogram("baton_tool_seconds", "Seconds of a tool call", "s").record(seconds, labels)


@contextmanager
def time_checkpoint(side: str) -> Iterator[None]:
    """Record the time of the block, in which one side of a turn is committed."""
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    _make_histogram("baton_checkpoint_seconds", "Seconds of a checkpoint", "s").record(seconds, {"side": side})


def count_gate(seconds: float, *, green: bool) -> None:
    """Record the time of a gate."""
    _make_histogram("baton_gate_seconds", "Seconds of a gate", "s").record(seconds, {"green": green})


def count_failed_attempt(step: str, kind: str, *, again: bool) -> None:
    """Count a failed attempt of a step. `kind` is a name of the error tree, `again` whether it is retried."""
    labels: MetricAttributes = {"step": step, "class": kind, "again": again}
    _make_counter("baton_failed_attempts", "Failed attempts by the class of their error").add(1, labels)


def _model_label(name: str) -> str:
    if len(_models) < _MAX_MODELS:
        _models.add(name)
    return name if name in _models else _OTHER


def _current_meter() -> MetricMeter:
    return activity.metric_meter() if activity.in_activity() else MetricMeter.noop


def _make_counter(name: str, description: str) -> MetricCounter:
    return _current_meter().create_counter(name, description)


def _make_histogram(name: str, description: str, unit: str) -> MetricHistogramFloat:
    return _current_meter().create_histogram_float(name, description, unit)
