"""The command `stop`: end a run and keep its work."""

import asyncio
from contextlib import AsyncExitStack

from baton.errors import UnknownRun, WorkspaceError
from baton.records.run import RunDocument
from baton.settings.core import Settings
from interfaces.cli.arguments import check_run_id, load_settings
from interfaces.cli.runs.command_worker import continuing_worker
from interfaces.cli.runs.current_document import read_current_document
from interfaces.cli.runs.runtime import use_service
from interfaces.cli.runs.snapshot import describe_run, is_closed
from interfaces.cli.runs.stored_run import find_run
from interfaces.cli.terminal.output import print_json, write_line, write_message
from interfaces.cli.terminal.runner import Farewell, run_body

_POLL_SECONDS = 0.2


def stop(run: str, as_json: bool) -> None:
    """Cancel a run and wait until it has ended; a run that has ended already is no error."""
    run = check_run_id(run)
    farewell = Farewell()
    run_body(_stop_run(load_settings(), run, as_json, farewell), farewell=farewell)


async def _stop_run(settings: Settings, run: str, as_json: bool, farewell: Farewell) -> None:
    document = await _read_ended(settings, run)
    if document is None:
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(use_service(settings, worker=False))
            description = await describe_run(service.client, run)
            if is_closed(description):
                write_message(f"The run {run} has ended already.")
            else:
                await service.client.get_workflow_handle(run).cancel()
                farewell.text = f"The run {run} was told to stop; it ends as soon as a worker is there."
                # A worker must end the run; cancelled before, it begins no new work.
                await stack.enter_async_context(continuing_worker(service, settings, description, stopping=True))
                while not is_closed(await describe_run(service.client, run)):  # noqa: ASYNC110 - the run is elsewhere
                    await asyncio.sleep(_POLL_SECONDS)
            document = await read_current_document(settings, service, run)
    else:
        write_message(f"The run {run} has ended already.")
    if as_json:
        print_json(document)
    else:
        write_line(f"{run} {document.status.value}")


async def _read_ended(settings: Settings, run: str) -> RunDocument | None:
    """Return the stored document of a run that has ended; None where only the server can tell."""
    try:
        document = await (await find_run(settings.home, run)).read_document()
    except (UnknownRun, WorkspaceError):
        return None
    return document if document.status.is_final else None
