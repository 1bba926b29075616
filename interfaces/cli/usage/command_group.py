"""Commands that are declared here and imported when they are called, with their panels in `baton --help`."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from baton.errors import UsageError
from interfaces.cli.terminal.output import change_verbosity, write_message

Verbose = Annotated[
    int,
    typer.Option(
        "-v", "--verbose", count=True, show_default=False, help="More on stderr: log lines; -vv those for debugging."
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Less on stderr: only errors, warnings and questions.")]


_OPTION = re.compile(r"--?[A-Za-z][\w-]*(=.*)?", re.DOTALL)


class Panel(StrEnum):
    """The groups of commands in `baton --help`, in their order."""

    RUNS = "Runs"
    SERVICES = "Services"
    MAINTENANCE = "Maintenance"
    DEVELOPMENT = "Development"


@dataclass(frozen=True)
class RenamedOption:
    """The current name of an option, and the unit that its older value lacked."""

    name: str
    unit: str = ""


class BatonCommand(TyperCommand):
    """A command that takes the older names of its options, and says which names they have now."""

    renamed: Mapping[str, RenamedOption] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, with older names of options replaced."""
        silent = ctx.resilient_parsing or "-q" in args or "--quiet" in args
        return super().parse_args(ctx, self._replace_older_names(args, silent=silent))

    def valued_options(self) -> set[str]:
        """Return the names of the options that take a value."""
        options = [one for one in self.params if isinstance(one, TyperOption)]
        return {name for one in options if not one.is_flag and not one.count for name in one.opts} | self.renamed.keys()

    def _replace_older_names(self, args: list[str], *, silent: bool) -> list[str]:
        valued = self.valued_options()
        replaced: list[str] = []
        unit = ""
        for number, word in enumerate(args):
            before = args[number - 1] if number else ""
            option, assigned, value = word.partition("=")
            if word == "--":
                return [*replaced, *args[number:]]
            if before in valued:
                replaced.append(word + unit)
                unit = ""
            elif (current := self.renamed.get(option)) is None:
                replaced.append(word)
            else:
                if not silent:
                    write_message(
                        f"{option} is called {current.name} now{' and takes a duration' if current.unit else ''}."
                    )
                unit = "" if assigned else current.unit
                replaced.append(f"{current.name}={value}{current.unit}" if assigned else current.name)
        return replaced


class TextCommand(BatonCommand):
    """A command with an argument of free text, which may begin with `-` as the entry of a Markdown list does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; raises UsageError that says how to give a text that would be taken for an option."""
        valued = self.valued_options()
        given = args[: args.index("--")] if "--" in args else args
        for before, text in zip(["", *given], given, strict=False):
            if len(text) > 1 and text.startswith("-") and before not in valued and not _OPTION.fullmatch(text):
                raise UsageError(
                    f"{text[:40]!r} begins with `-` and is read as an option: write `--` before the arguments, as in"
                    ' `baton run --repo . -- "- a text"`, or give it by `-` (stdin) or `@FILE` where that is taken.'
                )
        return super().parse_args(ctx, args)


class CommandGroup(TyperGroup):
    """A group that lists its commands by panel."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names and the first sentences of the commands, a section for each panel."""
        shown = [(name, command) for name, command in self.commands.items() if not command.hidden]
        limit = formatter.width - 6 - max(len(name) for name, _ in shown)
        for panel in dict.fromkeys(getattr(command, "rich_help_panel", None) for _, command in shown):
            rows = [
                (name, command.get_short_help_str(limit))
                for name, command in shown
                if getattr(command, "rich_help_panel", None) == panel
            ]
            with formatter.section(panel or "Commands"):
                formatter.write_dl(rows)


def declare_command(
    app: typer.Typer,
    module: str,
    *,
    example: str,
    name: str | None = None,
    function: str | None = None,
    panel: Panel | None = None,
    text: bool = False,
    hidden: bool = False,
    renamed: Mapping[str, RenamedOption] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds a declared command to `app`; it is called by `function` of the command's module.

    `text`: an argument is free text. `renamed`: older names of options, which keep working and are not listed.
    """

    def decorate(declared: Callable[..., None]) -> Callable[..., None]:
        kind = type("Renaming", (TextCommand if text else BatonCommand,), {"renamed": renamed or {}})
        app.command(
            name,
            cls=kind,
            epilog=f"Example: {example}",
            hidden=hidden,
            rich_help_panel=panel,
        )(make_callback(declared, module, function or declared.__name__))
        return declared

    return decorate


def make_callback(declared: Callable[..., None], module: str, function: str) -> Callable[..., None]:
    """Return a function that sets the verbosity, imports the command's module and calls its function."""

    def call(*, verbose: int, quiet: bool, **arguments: Any) -> None:
        change_verbosity(verbose - quiet)
        getattr(import_module(f"interfaces.cli.commands.{module}"), function)(**arguments)

    own = [
        inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=0, annotation=Verbose),
        inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet),
    ]
    signature = inspect.signature(declared)
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])  # type: ignore[attr-defined]
    call.__annotations__ = {**declared.__annotations__, "verbose": Verbose, "quiet": Quiet}
    call.__name__, call.__doc__ = declared.__name__, declared.__doc__
    call.__dict__.update(declared=declared, target=(module, function))
    return call
