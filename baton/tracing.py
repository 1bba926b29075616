"""Spans for OpenTelemetry. They are no-ops in a process that has not imported `opentelemetry`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def start_span(name: str, **attributes: str | int | float) -> Iterator[None]:
    """Open a span around a block. Attributes are ids and numbers, never text of people or models."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        yield
        return
    named = {f"baton.{key}": value for key, value in attributes.items()}
    with trace.get_tracer("baton").start_as_current_span(name, attributes=named):
        yield


def annotate_span(**attributes: str | int | float) -> None:
    """Add attributes to the current span."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        trace.get_current_span().set_attributes({f"baton.{key}": value for key, value in attributes.items()})


def trace_id() -> str | None:
    """Return the id of the current trace, for log lines; None outside of a trace."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
