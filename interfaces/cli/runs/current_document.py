"""The document of a run, from its workflow where a server runs, and from the stores of this home otherwise."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from baton.errors import ConfigurationError, TemporalUnreachable, UnknownRun, WorkspaceError
from baton.records.run import RunDocument
from baton.settings.core import Settings
from interfaces.cli.runs.runtime import attended
from interfaces.cli.runs.snapshot import describe, is_closed, look
from interfaces.cli.runs.stored_run import find_run
from interfaces.cli.terminal.output import message
from workers.connection import connect, target
from workers.embedded.server import running_server
from workers.temporal_service import TemporalService, temporal_service


@asynccontextmanager
async def reading_service(settings: Settings) -> AsyncIterator[TemporalService | None]:
    """Connect to the Temporal service for a command that only reads; None where none runs: it starts none.

    A configured server must answer: raises TemporalUnreachable.
    """
    if not await _is_running(settings):
        yield None
        return
    async with temporal_service(settings) as service:
        yield service


async def _is_running(settings: Settings) -> bool:
    to = target()
    if to.configured:
        return True
    # Reading the server's files makes their directory: a home that never had a server stays as it is.
    with suppress(OSError):
        if (settings.home / "server").is_dir() and running_server(settings) is not None:
            return True
    if not to.only_default:
        return False
    try:
        await connect(to)
    except TemporalUnreachable:
        return False
    return True


def explain_stores(settings: Settings) -> None:
    """Say that an answer comes from the stores of this home."""
    message(
        f"No Temporal server runs, so this is the state that the stores under {settings.home} have;"
        " `baton up` starts a server.",
        always=True,
    )


async def read_stored_document(settings: Settings, run: str) -> RunDocument:
    """Return a run's document from the stores, where no server runs; raises UnknownRun with the way to the others."""
    try:
        return await (await find_run(settings.home, run)).document()
    except UnknownRun as error:
        raise UnknownRun(
            f"{error} No Temporal server runs, and a run that no worker has begun is known to the server only:"
            " `baton up` starts it."
        ) from error


async def has_ended(settings: Settings, run: str) -> bool:
    """Whether a server runs and says that a run has ended; False where none runs."""
    async with reading_service(settings) as service:
        return service is not None and is_closed(await describe(service.client, run))


async def current_document(settings: Settings, service: TemporalService, run: str) -> RunDocument:
    """Return the run's document: while the run is open, from its workflow, by a worker of our own if no other answers.

    The store's copy is as old as the last step of a worker; answers, messages and deadlines arrive without one. It
    serves for a run that the server has forgotten, and for one that this version of Baton cannot read.
    """
    try:
        description = await describe(service.client, run)
    except UnknownRun:
        # A server forgets ended runs after a while; the store does not.
        return await (await find_run(settings.home, run)).document()
    try:
        stored = (await (await find_run(settings.home, run)).document()) if is_closed(description) else None
    except UnknownRun:
        stored = None
    except WorkspaceError as error:
        stored = None
        message(str(error), always=True)
    if stored is not None and stored.status.is_final:
        return stored.model_copy(update={"web_ui": service.run_link(run)})
    try:
        await description.memo()  # raises ConfigurationError if the run's encryption key is missing here
        async with attended(service, description.task_queue):
            return (await look(service, run)).document
    except (RPCError, WorkflowQueryFailedError, ConfigurationError) as error:
        if isinstance(error, RPCError) and error.status is RPCStatusCode.UNAVAILABLE:
            raise
        try:
            kept = await (await find_run(settings.home, run)).document()
        except (UnknownRun, WorkspaceError):
            raise error from None
        why = f": {error}" if isinstance(error, ConfigurationError) else "."
        message(f"This is the run's state as it was last saved, for it does not answer{why}", always=True)
        return kept.model_copy(update={"web_ui": service.run_link(run)})
