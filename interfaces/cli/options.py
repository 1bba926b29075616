"""Arguments and options that several commands share, and what is read from them."""

import re
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeVar, cast

import typer
from typer.core import TyperCommand

from baton.errors import UsageError
from interfaces.cli.terminal.output import message

if TYPE_CHECKING:
    from pydantic import BaseModel

    from baton.records.run import RunRequest
    from baton.settings.core import Settings

Model = TypeVar("Model", bound="BaseModel")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, as `baton list` shows it.")]
Sandbox = Annotated[
    str | None,
    typer.Option("--sandbox", metavar="MODE", help="auto, bwrap or none (no isolation: only where you trust all)."),
]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="ROLE=MODEL", help="Model of a role; may be given several times.")
]
NoPublish = Annotated[bool, typer.Option("--no-publish", help="Leave the result in Baton's store.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start the run, print its id, and leave.")]
RunId = Annotated[str | None, typer.Option("--run-id", metavar="ID", help="Id of the run, instead of a made one.")]
Port = Annotated[
    int | None, typer.Option("--port", metavar="PORT", min=1, max=65_535, help="Port of the embedded server.")
]
UiPort = Annotated[int | None, typer.Option("--ui-port", metavar="PORT", min=1, max=65_535, help="Port of its Web UI.")]

_MODEL_SETTINGS = ("orchestrator_model", "backend_model", "frontend_model", "tester_model", "reviewer_model")
_OPTION = re.compile(r"--?[A-Za-z][\w-]*(=.*)?", re.DOTALL)


class TextCommand(TyperCommand):
    """A command with an argument of free text, which may begin with `-` as the entry of a Markdown list does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; raises UsageError that says how to give a text that would be taken for an option."""
        valued = {name for option in self.params if not getattr(option, "is_flag", True) for name in option.opts}
        given = args[: args.index("--")] if "--" in args else args
        for before, text in zip(["", *given], given, strict=False):
            if len(text) > 1 and text.startswith("-") and before not in valued and not _OPTION.fullmatch(text):
                raise UsageError(
                    f"{text[:40]!r} begins with `-` and is read as an option: write `--` before the arguments, as in"
                    ' `baton run --repo . -- "- a text"`, or give it by `-` (stdin) or `@FILE` where that is taken.'
                )
        return super().parse_args(ctx, args)


def settings(*, quiet: bool = True, **overrides: object) -> "Settings":
    """The settings of the environment, with what the options say on top; logging is set up by them.

    `quiet` is a command for a person: it keeps the SDK's warnings (one for every failed attempt, with a traceback) off
    the screen where log lines were not asked for. The others serve; their log lines are for machines. Raises
    ConfigurationError that names the variable or option.
    """
    import logging

    from baton.logs import configure_logging
    from baton.settings.core import read_settings
    from baton.text.redaction import Redactor
    from interfaces.cli.terminal.stdio import log_stream

    read = read_settings(**{name: value for name, value in overrides.items() if value is not None})
    if not quiet:
        read = read.for_service()
    configure_logging(read.log, read.log_level, Redactor(read.secrets()), cast(TextIO, log_stream()))
    if quiet and "log_level" not in read.model_fields_set:
        logging.getLogger("temporalio").setLevel(logging.ERROR)
        # What workflow code says of errors and reminders, these commands show in their own words.
        logging.getLogger("temporalio.workflow").setLevel(logging.CRITICAL)
    return read


def check_run_id(run: str) -> str:
    """Return a run's workflow id as typed, also by its name in branches and refs; UsageError when it cannot be one."""
    from baton.naming import is_workflow_id, workflow_id_of

    if not is_workflow_id(workflow_id_of(run)):
        raise UsageError(f"{run!r} is not a run id; `baton list` shows the runs there are.")
    return workflow_id_of(run)


def check_new_run_id(run: str) -> str:
    """Return an id for a run that is to be started; UsageError when it cannot be one."""
    from baton.naming import is_run_id

    if not is_run_id(run):
        raise UsageError(f"{run!r} is not a run id: use up to 120 letters, digits, dots, dashes and `_`.")
    return run


def models(given: list[str]) -> dict[str, str]:
    """Models by role, as given by `--model`; raises UsageError."""
    from baton.records.run import ROLES

    found = {}
    for entry in given:
        role, separator, name = entry.partition("=")
        if role not in ROLES or not separator or not name.strip():
            raise UsageError(f"--model {entry!r} does not fit: write ROLE=MODEL with a role of {', '.join(ROLES)}.")
        found[role] = name.strip()
    return found


def request(given: dict[str, object]) -> "RunRequest":
    """The request for a run, checked as the engine checks it; raises UsageError that names what does not fit."""
    from pydantic import ValidationError

    from baton.records.run import RunRequest

    try:
        return RunRequest.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"The {str(first['loc'][0]).replace('_', ' ')} does not fit: {first['msg']}.") from error


def check_models(read: "Settings", asked: dict[str, str], *, settings_too: bool) -> None:
    """ConfigurationError where a model was named that cannot be asked, for instance one without a price.

    Of a run that another worker carries out, that worker's settings name the models that the options do not.
    """
    from agents.roles.models import check_models as check
    from baton.budget.pricing import load_prices

    own = read if settings_too else read.model_copy(update=dict.fromkeys(_MODEL_SETTINGS))
    check(asked, own, load_prices(read.prices))


def require_model_access(read: "Settings") -> None:
    """UsageError where the Messages API cannot be called for want of a key."""
    if read.api_key is None and read.base_url is None:
        raise UsageError(
            "ANTHROPIC_API_KEY is not set, so no model can be called: set it (or ANTHROPIC_BASE_URL for a gateway)."
            " `baton demo` shows everything without a key."
        )


def masked(read: "Settings", model: Model, what: str, *, leave: tuple[str, ...] = ()) -> Model:
    """The person's words with keys masked; the person is told which. UsageError where nothing can be masked."""
    from baton.text.key_masking import told

    cleaned, names = read.masker().model(model, leave=leave)
    if names:
        message(f"In {what}, {told(names)}")
    return cleaned
