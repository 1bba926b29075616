"""Values of arguments and options, checked and turned into settings, requests and ids."""

import logging
from datetime import timedelta
from typing import TextIO, TypeVar, cast

from pydantic import BaseModel, ValidationError

from agents.roles.models import check_models as check_known_models
from baton.budget.pricing import load_prices
from baton.errors import UsageError
from baton.logs import configure_logging
from baton.naming import is_run_id, is_workflow_id, workflow_id_of
from baton.records.run import ROLES, RunRequest
from baton.settings.core import Settings, read_settings
from baton.text.key_masking import told
from baton.text.redaction import Redactor
from interfaces.cli.terminal.output import message, read_verbosity
from interfaces.cli.terminal.stdio import log_stream
from system.durations import GRAMMAR, parse_duration

Model = TypeVar("Model", bound=BaseModel)

_MODEL_SETTINGS = ("orchestrator_model", "backend_model", "frontend_model", "tester_model", "reviewer_model")
_OPTIONS = {
    "decision_default": "--decision-default",
    "decision_deadline_seconds": "--decision-deadline",
    "wall_clock_seconds": "--max-wall-clock",
    "task": "task",
    "repo": "--repo",
    "base": "--base",
}
"""The options behind the fields of a request whose names differ from `--max-<field>`."""


def load_settings(*, service: bool = False, **overrides: object) -> Settings:
    """Read the settings, with the values of options on top, and set up logging by them and by `-v`.

    A command for a person keeps the SDK's warnings (one for every failed attempt, with a traceback) off the screen
    unless log lines were asked for; `service` is a command that serves, whose log lines are for machines. Raises
    ConfigurationError that names the variable.
    """
    read = read_settings(**{name: value for name, value in overrides.items() if value is not None})
    if service:
        read = read.for_service()
    verbosity = read_verbosity()
    level = "debug" if verbosity > 1 else "info" if verbosity == 1 else read.log_level
    configure_logging(read.log, level, Redactor(read.secrets()), cast(TextIO, log_stream()))
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


def check_new_run_id(run: str) -> str:
    """Return an id for a run that is to be started; raises UsageError if it is invalid."""
    if not is_run_id(run):
        raise UsageError(f"{run!r} is not a run id: use up to 120 letters, digits, dots, dashes and `_`.")
    return run


def read_duration(option: str, text: str) -> timedelta:
    """Return the duration that an option was given; raises UsageError that names the option and the grammar."""
    span = parse_duration(text)
    if span is None:
        raise UsageError(f"{option} {text!r} is invalid: write a duration such as {GRAMMAR}.")
    return span


def parse_models(given: list[str] | None) -> dict[str, str]:
    """Return models by role, as given by `--model`; raises UsageError."""
    found = {}
    for entry in given or []:
        role, separator, name = entry.partition("=")
        if role not in ROLES or not separator or not name.strip():
            raise UsageError(f"--model {entry!r} is invalid: write ROLE=MODEL with a role of {', '.join(ROLES)}.")
        found[role] = name.strip()
    return found


def make_request(given: dict[str, object]) -> RunRequest:
    """Return the request for a run, checked as the engine checks it; raises UsageError that names the option."""
    try:
        return RunRequest.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        option = _OPTIONS.get(field, f"--max-{field.replace('_', '-')}")
        raise UsageError(f"The {option} is invalid: {first['msg']}.") from error


def check_models(read: Settings, asked: dict[str, str], *, settings_too: bool) -> None:
    """Raise ConfigurationError if a model is named that cannot be called, for instance one without a price.

    `settings_too`: the models that the options leave open are those of these settings; in a run that another worker
    carries out, those of its settings hold.
    """
    own = read if settings_too else read.model_copy(update=dict.fromkeys(_MODEL_SETTINGS))
    check_known_models(asked, own, load_prices(read.prices))


def require_model_access(read: Settings) -> None:
    """Raise UsageError if the Messages API cannot be called for want of a key."""
    if read.api_key is None and read.base_url is None:
        raise UsageError(
            "ANTHROPIC_API_KEY is not set, so no model can be called: set it (or ANTHROPIC_BASE_URL for a gateway)."
            " `baton demo` shows everything without a key."
        )


def mask_keys(read: Settings, model: Model, where: str, *, leave: tuple[str, ...] = ()) -> Model:
    """Return the texts of a person with keys masked, and say which were; raises UsageError if one cannot be masked."""
    cleaned, names = read.masker().model(model, leave=leave)
    if names:
        message(f"In {where}, {told(names)}", always=True)
    return cleaned
