"""The command `baton`: its groups of commands, and the process that runs one of them."""

import sys
import traceback
from typing import Annotated, NoReturn

import typer

from baton import __version__
from baton.errors import ExitCode
from interfaces.cli.terminal.output import change_verbosity, one_line, write_message
from interfaces.cli.terminal.process_end import end_process, explain_error
from interfaces.cli.terminal.stdio import prepare_streams
from interfaces.cli.usage import development, maintenance, runs, services
from interfaces.cli.usage.command_group import CommandGroup, Panel, Quiet, Verbose

app = typer.Typer(
    name="baton",
    cls=CommandGroup,
    help="Durable coding-agent pipelines on Temporal: a change request becomes a tested, reviewed branch.",
    epilog="Start with: baton demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (runs, services, maintenance, development):
    app.registered_commands += module.app.registered_commands
app.add_typer(services.workers, rich_help_panel=Panel.SERVICES)
app.add_typer(maintenance.stores, rich_help_panel=Panel.MAINTENANCE)
app.add_typer(development.agents, rich_help_panel=Panel.DEVELOPMENT)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"baton {__version__}")
        raise typer.Exit


@app.callback()
def _read_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    change_verbosity(verbose - quiet)


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code; an expected error becomes one sentence on stderr, others are raised."""
    try:
        code = app(arguments, prog_name="baton", standalone_mode=False)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.DONE
    except typer.TyperException as error:
        return _refuse_arguments(error)
    except Exception as error:
        # Every error that is raised on purpose has a sentence; an error without one is a fault of Baton.
        known = explain_error(error)
        if known is None:
            raise
        write_message(f"baton: {known[0]}", always=True)
        return known[1]
    return code if isinstance(code, int) else ExitCode.DONE


def _refuse_arguments(error: typer.TyperException) -> int:
    """Write why the arguments are invalid, and return the exit code."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # typer does not export it; its message is the help text
        write_message(error.format_message(), always=True)
    else:
        sentence = one_line(error.format_message(), 500).replace("Value error, ", "").removesuffix(".")
        hint = f" `{context.command_path} --help` shows how it is called." if context else ""
        write_message(f"baton: {sentence}.{hint}", always=True)
    return error.exit_code


def main() -> NoReturn:
    """Run the command of this process and end the process."""
    prepare_streams()
    try:
        code = run_command(sys.argv[1:])
    except Exception:
        # The process must not go through the interpreter's shutdown (see `leave`), so the traceback is printed here.
        traceback.print_exc()
        write_message("baton: this is a fault in Baton, and the lines above say where.", always=True)
        code = ExitCode.FAILED
    end_process(code)
