"""Values of arguments and options, checked and turned into settings, ids and durations."""

import logging
from datetime import timedelta
from typing import TextIO, TypeVar, cast

from pydantic import BaseModel

from baton.errors import UsageError
from baton.identifiers import is_workflow_id, workflow_id_of
from baton.logs import configure_logging
from baton.settings.core import Settings, read_settings
from baton.text.key_masker import masked_notice
from baton.text.redaction import Redactor
from interfaces.cli.terminal.output import read_verbosity, write_message
from interfaces.cli.terminal.stdio import log_stream
from system.durations import GRAMMAR, parse_duration

Model = TypeVar("Model", bound=BaseModel)


def load_settings(*, service: bool = False, **overrides: object) -> Settings:
    """Read the settings, with the values of options on top, and set up logging by them and by `-v`.

    A command for a person keeps the SDK's warnings (one for every failed attempt, with a traceback) off the screen
    unless log lines were asked for; `service` is a command that serves, whose log lines are for machines. Raises
    ConfigurationError that names the variable.
    """
    read = read_settings(**{name: value for name, value in overrides.items() if value is not None})
    if service:
        read = read.adapt_to_service()
    verbosity = read_verbosity()
    level = "debug" if verbosity > 1 else "info" if verbosity == 1 else read.log_level
    configure_logging(read.log, level, Redactor(read.list_secrets()), cast(TextIO, log_stream()))
    if not service and verbosity < 1 and "log_level" not in read.model_fields_set:
        logging.getLogger("temporalio").setLevel(logging.ERROR)
        # These commands show errors and reminders of workflow code themselves.
        logging.getLogger("temporalio.workflow").setLevel(logging.CRITICAL)
    return read


def check_run_id(run: str) -> str:
    """Return a run's workflow id as typed, also by its name in branches and refs; raises UsageError if invalid."""
    if not is_workflow_id(workflow_id_of(run)):
        raise UsageError(f"{run!r} is not a run id; `baton list` shows the runs there are.")
    return workflow_id_of(run)


def read_duration(option: str, text: str) -> timedelta:
    """Return the duration that an option was given; raises UsageError that names the option and the grammar."""
    span = parse_duration(text)
    if span is None:
        raise UsageError(f"{option} {text!r} is invalid: write a duration such as {GRAMMAR}.")
    return span


def require_model_access(read: Settings) -> None:
    """Raise UsageError if the Messages API cannot be called for want of a key."""
    if read.api_key is None and read.base_url is None:
        raise UsageError(
            "ANTHROPIC_API_KEY is not set, so no model can be called: set it (or ANTHROPIC_BASE_URL for a gateway)."
            " `baton demo` shows everything without a key."
        )


def mask_keys(read: Settings, model: Model, where: str, *, leave: tuple[str, ...] = ()) -> Model:
    """Return the texts of a person with keys masked, and say which were; raises UsageError if one cannot be masked."""
    cleaned, names = read.make_masker().mask_model(model, leave=leave)
    if names:
        write_message(f"In {where}, {masked_notice(names)}", always=True)
    return cleaned
