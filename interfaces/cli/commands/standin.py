"""The command `standin`: a scripted model in place of the Messages API."""

import asyncio
from pathlib import Path

from baton.errors import ExitCode
from interfaces.cli.terminal.output import print_json, write_line
from interfaces.cli.terminal.runner import run_body
from standin.script.scenario_file import load_scenario
from standin.server.server import serve_scenario


def standin(scenario: Path, port: int, as_json: bool) -> None:
    """Serve the answers of a scenario file until Ctrl-C."""
    run_body(_serve_scenario(scenario, port, as_json), terminated=ExitCode.DONE)


async def _serve_scenario(scenario: Path, port: int, as_json: bool) -> None:
    async with serve_scenario(load_scenario(scenario), port=port) as standin:
        if as_json:
            print_json({"url": standin.base_url})
        else:
            write_line(f"Stand-in for the Messages API: {standin.base_url} (scripted answers, no model)")
        await asyncio.Event().wait()
