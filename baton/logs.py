"""Logging: structlog over the standard library, as console lines or JSON, with secrets masked and context bound.

Every line names its run, task, role and turn where they are known. An activity binds them with `structlog.contextvars`,
so that the lines of libraries that it calls carry them, too. Workflow code has no such context: its lines, and those of
the Temporal SDK, carry the id of their workflow, from which the names are derived. Lines within a trace carry its id.
"""

import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from baton import identifiers
from baton.text.redaction import Redactor
from baton.tracing import trace_id

FIELDS = "fields"
"""Key of the fields that a caller of the standard library's loggers adds to a line: `extra={FIELDS: {...}}`."""

_SDK = ("temporal_activity", "temporal_workflow")
"""Keys under which the Temporal SDK's loggers put ids and types into `extra`."""


def _make_mask_processor(redactor: Redactor) -> Processor:
    def masked(value: Any) -> Any:
        if isinstance(value, str):
            return redactor(value)
        if isinstance(value, dict):
            return {key: masked(item) for key, item in value.items()}
        return [masked(item) for item in value] if isinstance(value, list | tuple) else value

    def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: value if key.startswith("_") else masked(value) for key, value in event.items()}

    return mask


def _add_place(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the fields of the line's `extra`, the names that its workflow id holds, and the id of its trace."""
    record = event.get("_record")
    known: dict[str, Any] = dict(getattr(record, FIELDS, None) or {})
    for name in _SDK:
        info = getattr(record, name, None) or {}
        known = {**identifiers.place_of(str(info.get("workflow_id") or "")), **known}
        known |= {
            ours: info[theirs]
            for theirs, ours in (("activity_type", "activity"), ("attempt", "attempt"))
            if theirs in info
        }
    for name, value in known.items():
        event.setdefault(name, value)
    trace = trace_id()
    if trace is not None:
        event["trace_id"] = trace
    return event


def configure_logging(
    form: str = "console",
    level: str = "warning",
    redactor: Redactor | None = None,
    stream: TextIO | None = None,
) -> None:
    """Set up structlog and the standard library's root logger; lines go to stderr, because stdout is for results."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_place,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _make_mask_processor(redactor or Redactor()),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
