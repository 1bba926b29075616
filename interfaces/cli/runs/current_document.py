"""The document of a run, from its workflow where a server runs, and from the stores of this home otherwise."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from baton.errors import ConfigurationError, TemporalUnreachable, UnknownRun, WorkspaceError
from baton.records.run import RunDocument
from baton.settings.core import Settings
from interfaces.cli.runs.runtime import answer_queries
from interfaces.cli.runs.snapshot import describe_run, is_closed, take_snapshot
from interfaces.cli.runs.stored_run import find_run
from interfaces.cli.terminal.output import write_message
from workers.connection import connect_to_target, read_target
from workers.embedded.server import find_running_server
from workers.temporal_service import TemporalService, connect_service


@asynccontextmanager
async def connect_for_reading(settings: Settings) -> AsyncIterator[TemporalService | None]:
    """Connect to the Temporal service for a command that only reads; None where none runs: it starts none.

    A configured server must answer: raises TemporalUnreachable.
    """
    if not await _is_running(settings):
        yield None
        return
    async with connect_service(settings) as service:
        yield service


async def _is_running(settings: Settings) -> bool:
    to = read_target()
    if to.is_configured:
        return True
    # Reading the server's files makes their directory: a home that never had a server stays as it is.
    with suppress(OSError):
        if (settings.home / "server").is_dir() and find_running_server(settings) is not None:
            return True
    if not to.has_default_address:
        return False
    try:
        await connect_to_target(to)
    except TemporalUnreachable:
        return False
    return True


def report_offline(settings: Settings) -> None:
    """Say that an answer comes from the stores of this home."""
    write_message(
        f"No Temporal server runs, so this is the state that the stores under {settings.home} have;"
        " `baton up` starts a server.",
        always=True,
    )


async def read_document_offline(settings: Settings, run: str) -> RunDocument:
    """Return a run's document from the stores, where no server runs; raises UnknownRun with the way to the others."""
    try:
        return await (await find_run(settings.home, run)).read_document()
    except UnknownRun as error:
        raise UnknownRun(
            f"{error} No Temporal server runs, and a run that no worker has begun is known to the server only:"
            " `baton up` starts it."
        ) from error


async def has_ended(settings: Settings, run: str) -> bool:
    """Whether a server runs and says that a run has ended; False where none runs."""
    async with connect_for_reading(settings) as service:
        return service is not None and is_closed(await describe_run(service.client, run))


async def read_current_document(settings: Settings, service: TemporalService, run: str) -> RunDocument:
    """Return the run's document: while the run is open, from its workflow, by a worker of our own if no other answers.

    The store's copy is as old as the last step of a worker; answers, messages and deadlines arrive without one. It
    serves for a run that the server has forgotten, and for one that this version of Baton cannot read.
    """
    try:
        description = await describe_run(service.client, run)
    except UnknownRun:
        # A server forgets ended runs after a while; the store does not.
        return await (await find_run(settings.home, run)).read_document()
    try:
        stored = (await (await find_run(settings.home, run)).read_document()) if is_closed(description) else None
    except UnknownRun:
        stored = None
    except WorkspaceError as error:
        stored = None
        write_message(str(error), always=True)
    if stored is not None and stored.status.is_final:
        return stored.model_copy(update={"web_ui": service.run_link(run)})
    try:
        await description.memo()  # raises ConfigurationError if the run's encryption key is missing here
        async with answer_queries(service, description.task_queue):
            return (await take_snapshot(service, run)).document
    except (RPCError, WorkflowQueryFailedError, ConfigurationError) as error:
        if isinstance(error, RPCError) and error.status is RPCStatusCode.UNAVAILABLE:
            raise
        try:
            kept = await (await find_run(settings.home, run)).read_document()
        except (UnknownRun, WorkspaceError):
            raise error from None
        why = f": {error}" if isinstance(error, ConfigurationError) else "."
        write_message(f"This is the run's state as it was last saved, for it does not answer{why}", always=True)
        return kept.model_copy(update={"web_ui": service.run_link(run)})
