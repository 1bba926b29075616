"""The command `show`: the state of one run."""

from baton.errors import UsageError
from baton.settings.core import Settings
from interfaces.cli.arguments import check_run_id, load_settings
from interfaces.cli.runs.current_document import (
    current_document,
    explain_stores,
    read_stored_document,
    reading_service,
)
from interfaces.cli.runs.stored_run import find_run
from interfaces.cli.terminal.output import line, message, print_json
from interfaces.cli.terminal.runner import execute
from interfaces.cli.views.run_summary import decision_lines, document_lines
from workspaces.store.disk_space import room


def show(run: str, state: bool, decisions: bool, as_json: bool) -> None:
    """Print the document of a run, its decisions, or `state.json`."""
    run = check_run_id(run)
    if state and decisions:
        raise UsageError("--state and --decisions exclude each other.")
    execute(_show(load_settings(), run, state, decisions, as_json))


async def _show(settings: Settings, run: str, state: bool, decisions: bool, as_json: bool) -> None:
    if state:
        print_json(await (await find_run(settings.home, run)).document())
        return
    async with reading_service(settings) as service:
        if service is None:
            document = await read_stored_document(settings, run)
            explain_stores(settings)
        else:
            document = await current_document(settings, service, run)
    _warn_of_low_disk(settings)
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in document.decisions] if decisions else document)
        return
    for text in decision_lines(document)[1:] if decisions else document_lines(document):
        line(text)


def _warn_of_low_disk(settings: Settings) -> None:
    found = room(settings)
    if found.low or found.too_low:
        message(f"The disk is nearly full: {found.words}", always=True)
