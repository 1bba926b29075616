"""The commands `agents list`, `agents show` and `agents check`: the role files."""

from pathlib import Path
from typing import Any

import typer

from agents.roles.loader import LoadedAgent, builtin_agents, load_directory
from agents.roles.models import DEFAULT_MODEL, resolve_model
from baton.budget.pricing import PriceList, load_prices
from baton.errors import ConfigurationError, ExitCode, UsageError
from interfaces.cli.arguments import load_settings
from interfaces.cli.terminal.output import clean_text, one_line, print_json, write_line, write_message


def list_agents(as_json: bool) -> None:
    """Print the roles that come with Baton."""
    loaded = builtin_agents()
    if as_json:
        print_json([_agent_record(agent) for agent in loaded.values()])
        return
    for name, agent in loaded.items():
        write_line(
            f"{name}  ({agent.definition.model or 'default model'})  {one_line(agent.definition.description, 120)}"
        )


def show_agent(name: str, as_json: bool) -> None:
    """Print a role as it is loaded; raises UsageError if there is no such role."""
    known = builtin_agents()
    if name not in known:
        raise UsageError(f"There is no role {name!r}; the roles are: {', '.join(known)}.")
    agent = known[name]
    if as_json:
        print_json({**_agent_record(agent), "prompt": agent.definition.prompt})
        return
    definition = agent.definition
    write_line(f"name         {definition.name}")
    write_line(f"description  {one_line(definition.description, 300)}")
    write_line(f"model        {definition.model or 'default'}")
    write_line(f"tools        {', '.join(map(str, definition.tools))}")
    write_line(f"digest       {definition.digest}")
    for warning in agent.warnings:
        write_line(f"warning      {one_line(warning, 300)}")
    write_line()
    write_line(clean_text(definition.prompt))


def check_agents(directory: Path, as_json: bool) -> None:
    """Print the problems of the agent files of a directory; exits with 2 if one of them cannot be loaded."""
    prices = load_prices(load_settings().prices)
    found = load_directory(directory)
    if as_json:
        print_json(
            {
                "agents": [
                    {**_agent_record(agent), "warnings": _list_warnings(agent, prices)}
                    for agent in found.agents.values()
                ],
                "problems": [{"source": problem.source, "message": problem.message} for problem in found.problems],
                "ignored": found.ignored,
            }
        )
    else:
        for name, agent in found.agents.items():
            write_line(f"ok    {one_line(name)}  {one_line(agent.definition.source, 200)}")
            for warning in _list_warnings(agent, prices):
                write_line(f"      warning: {one_line(warning, 300)}")
        for problem in found.problems:
            write_line(f"fail  {one_line(problem.message, 500)}")
        if not found.agents and not found.problems:
            write_message(f"There is no agent file (*.md) in {directory}.")
    if found.problems or not found.agents:
        raise typer.Exit(ExitCode.USAGE)


def _agent_record(agent: LoadedAgent) -> dict[str, Any]:
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


def _list_warnings(agent: LoadedAgent, prices: PriceList) -> list[str]:
    """Return the warnings about a file: of its loader, and whether its model can be called."""
    try:
        resolve_model(agent.definition.model, prices, DEFAULT_MODEL)
    except ConfigurationError as error:
        return [*agent.warnings, f"no run begins with this file: {error}"]
    return agent.warnings
