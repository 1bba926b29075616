"""The command `show`: the state of one run."""

from baton.errors import UsageError
from baton.settings.core import Settings
from interfaces.cli.arguments import check_run_id, load_settings
from interfaces.cli.runs.current_document import (
    connect_for_reading,
    read_current_document,
    read_document_offline,
    report_offline,
)
from interfaces.cli.runs.stored_run import find_run
from interfaces.cli.terminal.output import print_json, write_line, write_message
from interfaces.cli.terminal.runner import run_body
from interfaces.cli.views.run_summary import decision_lines, document_lines
from workspaces.store.disk_space import measure_disk_space


def show(run: str, state: bool, decisions: bool, as_json: bool) -> None:
    """Print the document of a run, its decisions, or `state.json`."""
    run = check_run_id(run)
    if state and decisions:
        raise UsageError("--state and --decisions exclude each other.")
    run_body(_print_run(load_settings(), run, state, decisions, as_json))


async def _print_run(settings: Settings, run: str, state: bool, decisions: bool, as_json: bool) -> None:
    if state:
        print_json(await (await find_run(settings.home, run)).read_document())
        return
    async with connect_for_reading(settings) as service:
        if service is None:
            document = await read_document_offline(settings, run)
            report_offline(settings)
        else:
            document = await read_current_document(settings, service, run)
    _warn_of_low_disk(settings)
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in document.decisions] if decisions else document)
        return
    for text in decision_lines(document)[1:] if decisions else document_lines(document):
        write_line(text)


def _warn_of_low_disk(settings: Settings) -> None:
    found = measure_disk_space(settings)
    if found.is_low or found.is_too_low:
        write_message(f"The disk is nearly full: {found.describe_space}", always=True)
