"""The command `watch`: follow a run, and work on it where no other worker does."""

from baton.settings.core import Settings
from interfaces.cli.arguments import check_run_id, load_settings, require_model_access
from interfaces.cli.commands.run import print_ending, see_to_end
from interfaces.cli.runs.command_worker import continuing_worker
from interfaces.cli.runs.current_document import current_document
from interfaces.cli.runs.runtime import serving, tell_where
from interfaces.cli.runs.snapshot import describe_readable, is_closed
from interfaces.cli.terminal.runner import Farewell, execute
from interfaces.cli.views.follow import exit_code


def watch(run: str, as_json: bool) -> None:
    """Follow a run until its end, or until it waits for a person; the exit code says which."""
    run = check_run_id(run)
    execute(_watch(load_settings(), run, as_json), farewell=Farewell(f"Interrupted. The run {run} keeps its work."))


async def _watch(settings: Settings, run: str, as_json: bool) -> int:
    async with serving(settings, worker=False) as service:
        description = await describe_readable(service.client, run)
        if is_closed(description):
            document = await current_document(settings, service, run)
            print_ending(document, as_json)
            return exit_code(document)
        tell_where(service)
        if service.embedded:
            require_model_access(settings)
        async with continuing_worker(service, settings, description, stopping=False) as works:
            return await see_to_end(service, run, as_json, leaves=works)
