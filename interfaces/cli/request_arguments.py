"""The options of commands that start a run, checked and turned into a request."""

from pydantic import ValidationError

from agents.roles.models import check_models as check_known_models
from baton.budget.pricing import load_prices
from baton.errors import UsageError
from baton.identifiers import is_run_id
from baton.records.run import ROLES, RunRequest
from baton.settings.core import Settings

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


def check_new_run_id(run: str) -> str:
    """Return an id for a run that is to be started; raises UsageError if it is invalid."""
    if not is_run_id(run):
        raise UsageError(f"{run!r} is not a run id: use up to 120 letters, digits, dots, dashes and `_`.")
    return run


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
