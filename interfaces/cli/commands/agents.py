"""The commands `agents list`, `agents show` and `agents check`: the role files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baton.errors import ConfigurationError, ExitCode, UsageError
from interfaces.cli import options
from interfaces.cli.terminal.output import clean, line, message, one_line, print_json

if TYPE_CHECKING:
    from agents.roles.loader import LoadedAgent
    from baton.budget.pricing import PriceList

app = typer.Typer(
    help="The role files: those that come with Baton, and your own.",
    epilog="Example: baton agents check .claude/agents",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", epilog="Example: baton agents list")
def list_agents(as_json: options.Json = False) -> None:
    """List the roles that come with Baton."""
    from agents.roles.loader import builtin_agents

    loaded = builtin_agents()
    if as_json:
        print_json([_record(agent) for agent in loaded.values()])
        return
    for name, agent in loaded.items():
        line(f"{name}  ({agent.definition.model or 'default model'})  {one_line(agent.definition.description, 120)}")


@app.command(epilog="Example: baton agents show backend")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a role.")], as_json: options.Json = False
) -> None:
    """Show a role as it is loaded: model, tools, prompt."""
    from agents.roles.loader import builtin_agents

    known = builtin_agents()
    if name not in known:
        raise UsageError(f"There is no role {name!r}; the roles are: {', '.join(known)}.")
    agent = known[name]
    if as_json:
        print_json({**_record(agent), "prompt": agent.definition.prompt})
        return
    definition = agent.definition
    line(f"name         {definition.name}")
    line(f"description  {one_line(definition.description, 300)}")
    line(f"model        {definition.model or 'default'}")
    line(f"tools        {', '.join(map(str, definition.tools))}")
    line(f"digest       {definition.digest}")
    for warning in agent.warnings:
        line(f"warning      {one_line(warning, 300)}")
    line()
    line(clean(definition.prompt))


@app.command(epilog="Example: baton agents check .claude/agents")
def check(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory with agent files (*.md).")],
    as_json: options.Json = False,
) -> None:
    """Load every agent file of a directory and say what is wrong with it.

    Exit code: 0 when all can be loaded (warnings allowed), 2 when one cannot.
    """
    from agents.roles.loader import load_directory
    from baton.budget.pricing import load_prices

    prices = load_prices(options.settings().prices)
    found = load_directory(directory)
    if as_json:
        print_json(
            {
                "agents": [{**_record(agent), "warnings": _warnings(agent, prices)} for agent in found.agents.values()],
                "problems": [{"source": problem.source, "message": problem.message} for problem in found.problems],
                "ignored": found.ignored,
            }
        )
    else:
        for name, agent in found.agents.items():
            line(f"ok    {one_line(name)}  {one_line(agent.definition.source, 200)}")
            for warning in _warnings(agent, prices):
                line(f"      warning: {one_line(warning, 300)}")
        for problem in found.problems:
            line(f"fail  {one_line(problem.message, 500)}")
        if not found.agents and not found.problems:
            message(f"There is no agent file (*.md) in {directory}.")
    if found.problems or not found.agents:
        raise typer.Exit(ExitCode.USAGE)


def _record(agent: "LoadedAgent") -> dict[str, Any]:
    definition = agent.definition
    return {
        "name": definition.name,
        "description": definition.description,
        "model": definition.model,
        "tools": [str(grant) for grant in definition.tools],
        "max_turns": definition.max_turns,
        "source": definition.source,
        "digest": definition.digest,
        "warnings": agent.warnings,
    }


def _warnings(agent: "LoadedAgent", prices: "PriceList") -> list[str]:
    """What a person should know about a file: how it was read, and whether its model can be asked."""
    from agents.roles.models import DEFAULT_MODEL, resolve_model

    try:
        resolve_model(agent.definition.model, prices, DEFAULT_MODEL)
    except ConfigurationError as error:
        return [*agent.warnings, f"no run begins with this file: {error}"]
    return agent.warnings
