"""Spans for OpenTelemetry, where it is switched on; otherwise nothing happens, and nothing is imported."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[None]:
    """A span around a piece of work. Attributes are ids and numbers, never text of people or models."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        yield
        return
    named = {f"baton.{key}": value for key, value in attributes.items()}
    with trace.get_tracer("baton").start_as_current_span(name, attributes=named):
        yield


def annotate(**attributes: str | int | float) -> None:
    """Add attributes to the current span."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        trace.get_current_span().set_attributes({f"baton.{key}": value for key, value in attributes.items()})


def trace_id() -> str | None:
    """The id of the current trace, for log lines; None outside of any."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
