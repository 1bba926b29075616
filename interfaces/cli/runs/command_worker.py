"""The worker that a command brings for one run: at the embedded server for all runs, else for that run only."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import WorkflowExecutionDescription
from temporalio.service import RPCError

from baton import identifiers
from baton.errors import BatonError, ConfigurationError
from baton.settings.core import Settings
from interfaces.cli.runs.runtime import has_worker
from interfaces.cli.terminal.output import program_name, write_message
from workers.host_id import read_host_id
from workers.pollers import POLLER_LIFETIME, live_workers
from workers.run_queues import RunOrigin
from workers.temporal_service import TemporalService

CHECK_INTERVAL = timedelta(seconds=3)
"""Between two checks whether another process of this home serves the run."""


@asynccontextmanager
async def own_worker(service: TemporalService, settings: Settings, run: str) -> AsyncIterator[str]:
    """Run the worker of a command that starts a run, and yield the id of its host.

    All runs at the embedded server are this home's, so its workers share them. A configured service may have runs of
    other people: there the worker serves the run's own task queue only.
    """
    # Takes seconds to import (agents, tools, the model's SDK), and `watch` or `stop` seldom need it.
    from workers.worker import run_worker

    async with run_worker(service.client, settings, run=None if service.embedded else run) as worker:
        yield worker.host


@asynccontextmanager
async def continuing_worker(
    service: TemporalService, settings: Settings, description: WorkflowExecutionDescription, *, stopping: bool
) -> AsyncIterator[bool]:
    """Run a worker for a run that was started before, where this command may; else say how the run continues.

    Gives whether it may. On a configured service, a command works on a run only if a command of this home began it, for
    the work is here. While another process of this home serves the run, this one waits for its end. `stopping`: the run
    was told to stop, so no model is called and no key is needed.
    """
    from workers.worker import run_worker

    run = description.id
    if service.embedded:
        async with run_worker(service.client, settings):
            yield True
        return
    reason = await _reason_to_look_only(settings, description, stopping=stopping)
    if reason is not None:
        if not await has_worker(service, description.task_queue):
            write_message(f"No worker serves the run {run}: {reason}")
        yield False
        return
    working = asyncio.create_task(_work_when_needed(service, settings, run))
    try:
        yield True
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def _reason_to_look_only(
    settings: Settings, description: WorkflowExecutionDescription, *, stopping: bool
) -> str | None:
    """Return the sentence on how the run is continued, where this command may not; None where it may."""
    if not identifiers.is_run_queue(description.task_queue):
        return f"start one with `{program_name()} worker`."
    try:
        origin = RunOrigin.from_memo(await description.memo())
    except ConfigurationError as error:
        return str(error)
    where = f" on the machine {origin.machine}" if origin.machine else ""
    if not origin.host:
        return f"start one with `{program_name()} worker`{where}."
    if not settings.home.is_dir() or origin.host != read_host_id(settings.home):
        return (
            f"`{program_name()} watch {description.id}` in the home that started it goes on with it, or a"
            f" `{program_name()} worker`{where}."
        )
    if not stopping and settings.api_key is None and settings.base_url is None:
        return (
            f"ANTHROPIC_API_KEY is not set, so this command only follows it. `{program_name()} watch"
            f" {description.id}` with"
            f" the key goes on with it, or a `{program_name()} worker`."
        )
    return None


async def _work_when_needed(service: TemporalService, settings: Settings, run: str) -> None:
    """Serve a run as soon as no other process of this home does; a worker of another home releases it then."""

    from workers.worker import run_worker

    host, queue = read_host_id(settings.home), identifiers.run_queue(run)

    async def is_served() -> bool:
        try:
            workers = await live_workers(service.client, queue, POLLER_LIFETIME)
        except RPCError:
            return True  # not known while the service is unreachable: check again
        return any(worker.host == host for worker in workers)

    try:
        while await is_served():  # noqa: ASYNC110 - the workers are in other processes
            await asyncio.sleep(CHECK_INTERVAL.total_seconds())
        async with run_worker(service.client, settings, run=run):
            await asyncio.Event().wait()
    except BatonError as error:
        write_message(f"This command cannot work on the run {run}: {error}")


def tell_how_it_continues(service: TemporalService, run: str) -> None:
    """Say who continues an open run at a configured service after this command, whose worker leaves with it."""
    if not service.embedded:
        write_message(
            f"This command's worker has left: `{program_name()} watch {run}` goes on with the run, or a"
            f" `{program_name()} worker`."
        )
