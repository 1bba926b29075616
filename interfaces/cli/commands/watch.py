"""The command `watch`: follow a run, and work on it where no other worker does."""

from baton.settings.core import Settings
from interfaces.cli.arguments import check_run_id, load_settings, require_model_access
from interfaces.cli.commands.run import print_ending, see_to_end
from interfaces.cli.runs.command_worker import continuing_worker
from interfaces.cli.runs.current_document import read_current_document
from interfaces.cli.runs.runtime import use_service, write_address
from interfaces.cli.runs.snapshot import describe_readable, is_closed
from interfaces.cli.terminal.runner import Farewell, run_body
from interfaces.cli.views.follow import exit_code_of


def watch(run: str, as_json: bool) -> None:
    """Follow a run until its end, or until it waits for a person; the exit code says which."""
    run = check_run_id(run)
    run_body(
        _watch_run(load_settings(), run, as_json), farewell=Farewell(f"Interrupted. The run {run} keeps its work.")
    )


async def _watch_run(settings: Settings, run: str, as_json: bool) -> int:
    async with use_service(settings, worker=False) as service:
        description = await describe_readable(service.client, run)
        if is_closed(description):
            document = await read_current_document(settings, service, run)
            print_ending(document, as_json)
            return exit_code_of(document)
        write_address(service)
        if service.embedded:
            require_model_access(settings)
        async with continuing_worker(service, settings, description, stopping=False) as works:
            return await see_to_end(service, run, as_json, leaves=works)
