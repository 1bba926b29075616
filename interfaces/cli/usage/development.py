"""The commands to try Baton out and to develop with it: the demo, role files, a scripted model."""

from pathlib import Path
from typing import Annotated

import typer

from interfaces.cli.usage.command_group import CommandGroup, Panel, declare_command
from interfaces.cli.usage.options import AsJson, ListenPort, Sandbox

app = typer.Typer()
agents = typer.Typer(
    name="agents",
    cls=CommandGroup,
    help="The role files: those that come with Baton, and your own.",
    epilog="Example: baton agents check .claude/agents",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@declare_command(app, "demo", panel=Panel.DEVELOPMENT, example="baton demo --interactive")
def demo(
    interactive: Annotated[bool, typer.Option("--interactive", help="Answer the decision yourself.")] = False,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An empty or new directory for everything that the demo makes.")
    ] = None,
    sandbox: Sandbox = None,
    as_json: AsJson = False,
) -> None:
    """Show one complete run with a scripted model.

    Plan, two tasks, tests red and green, a rejected review, a decision, a branch.

    Server, worker, git, sandbox and tests are the real ones; only the model's answers are scripted, so that no key
    and no network are needed. Takes less than a minute.
    """


@declare_command(agents, "agents", function="list_agents", name="list", example="baton agents list")
def list_agents(as_json: AsJson = False) -> None:
    """List the roles that come with Baton."""


@declare_command(agents, "agents", function="show_agent", name="show", example="baton agents show backend")
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a role.")], as_json: AsJson = False) -> None:
    """Show a role as it is loaded: model, tools, prompt."""


@declare_command(agents, "agents", function="check_agents", name="check", example="baton agents check .claude/agents")
def check(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory with agent files (*.md).")],
    as_json: AsJson = False,
) -> None:
    """Load every agent file of a directory and report its problems.

    Exit code: 0 when all can be loaded (warnings allowed), 2 when one cannot.
    """


@declare_command(app, "standin", panel=Panel.DEVELOPMENT, example="baton standin --scenario demo --port 8099")
def standin(
    scenario: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Scenario file: the answers to each role and turn. `demo` is the demo's."),
    ],
    port: ListenPort = 0,
    as_json: AsJson = False,
) -> None:
    """Serve a scripted stand-in for the model.

    Point ANTHROPIC_BASE_URL at it; it answers as the scenario says. Until Ctrl-C.
    """
