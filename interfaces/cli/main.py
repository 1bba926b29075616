"""The command `baton`: which commands there are, and how errors become sentences and exit codes."""

import sys
from typing import Annotated, NoReturn

import typer

from baton import __version__
from baton.errors import ExitCode
from interfaces.cli.commands import (
    agents,
    answers,
    check,
    demo,
    fork,
    gc,
    history,
    list_show,
    run_watch,
    services,
    webhook,
    worker,
)
from interfaces.cli.commands.doctor import machine
from interfaces.cli.terminal.output import message
from interfaces.cli.terminal.runner import explain, leave
from interfaces.cli.terminal.stdio import fit_streams

app = typer.Typer(
    name="baton",
    help="Durable coding-agent pipelines on Temporal: a change request becomes a tested, reviewed branch.",
    epilog="Start with: baton demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (demo, check, run_watch, fork, list_show, history, answers, services, webhook, machine, gc):
    module.register(app)
app.add_typer(agents.app, name="agents")
app.add_typer(worker.app, name="worker")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"baton {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def run(arguments: list[str]) -> int:
    """Run one command; its exit code. What was foreseen is one sentence on stderr, anything else a traceback."""
    try:
        app(arguments, prog_name="baton")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.DONE
    except Exception as error:
        # Everything that is raised on purpose has a sentence; what has none is a fault of ours, and shown as one.
        known = explain(error)
        if known is None:
            raise
        message(f"baton: {known[0]}")
        return known[1]
    return ExitCode.DONE


def main() -> NoReturn:
    """Entry of the process."""
    fit_streams()
    try:
        code = run(sys.argv[1:])
    except Exception:
        # The process must not go through the interpreter's shutdown (see `leave`), so the traceback is printed here.
        import traceback

        traceback.print_exc()
        message("baton: this is a fault in Baton, and the lines above say where.")
        code = ExitCode.FAILED
    leave(code)
