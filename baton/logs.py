"""Logging: structlog over the standard library, as console lines or JSON, secrets masked, context bound.

Context (run, task, session, step) is bound with `structlog.contextvars`; every line then carries it, also those of
libraries. Lines of `workflow.logger` get it from the workflow's id, and lines within a trace get its id.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from baton.redaction import Redactor
from baton.tracing import trace_id


def _masker(redactor: Redactor) -> Processor:
    def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: redactor(value) if isinstance(value, str) else value for key, value in event.items()}

    return mask


def _correlate(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Run, task and session of a workflow's own lines, and the trace of any."""
    record = event.get("_record")
    info = getattr(record, "temporal_workflow", None) or getattr(record, "temporal_activity", None)
    if isinstance(info, dict):
        parts = str(info.get("workflow_id", "")).split("/")
        for name, value in zip(("run", "task", "session"), parts, strict=False):
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
    """Set up structlog and the standard library's root logger; lines go to stderr, for stdout is for results."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        _correlate,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _masker(redactor or Redactor()),
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
    """A logger for one module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
