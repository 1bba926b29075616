"""The Temporal service of a command, and workers in its process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from baton import identifiers
from baton.errors import SandboxUnavailable
from baton.settings.core import Settings
from interfaces.cli.terminal.output import write_message
from workers.pollers import READING, live_workers
from workers.run_metrics import record_run_metrics
from workers.sdk_runtime import sdk_runtime, serve_metrics
from workers.temporal_service import TemporalService, connect_service
from workspaces.sandbox.bounds import bounds_of
from workspaces.sandbox.sandbox import probe_sandbox

ANSWER_LIMIT = timedelta(seconds=3)
"""Time that a worker which seems to be at work has to answer."""


@asynccontextmanager
async def use_service(
    settings: Settings, *, worker: bool = True, embedded_only: bool = False, metrics: bool = False
) -> AsyncIterator[TemporalService]:
    """Connect to the Temporal service, and run a worker in this process unless `worker` is false.

    `metrics`: the process is a service, so it serves metrics if the settings name an address.
    """
    address = settings.metrics_address if metrics else None
    if address is not None:
        serve_metrics(address)
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(connect_service(settings, embedded_only=embedded_only))
        if address is not None:
            await stack.enter_async_context(
                record_run_metrics(service.client, sdk_runtime().metric_meter, settings.home)
            )
            write_message(f"metrics http://{address}/metrics")
        if worker:
            await stack.enter_async_context(running_worker(service, settings))
        yield service


@asynccontextmanager
async def running_worker(service: TemporalService, settings: Settings) -> AsyncIterator[None]:
    """Run a worker of this host in this process."""
    # Takes seconds to import (agents, tools, the model's SDK), and `watch` or `stop` seldom need it.
    from workers.worker import run_worker as running

    async with running(service.client, settings):
        yield


async def require_sandbox(settings: Settings, more: str = "") -> None:
    """Raise SandboxUnavailable, with the remedy, before a model is paid: no command of an agent would run here."""
    status = await probe_sandbox(settings.sandbox, bounds=bounds_of(settings))
    if status.kind == "unavailable":
        raise SandboxUnavailable(f"{status.reason} {status.advice}{more}")


def write_address(service: TemporalService) -> None:
    """Write which server is used, and the address of its Web UI."""
    kind = "embedded server" if service.embedded else "Temporal server"
    web_ui = f", Web UI {service.web_ui}" if service.web_ui else ""
    write_message(f"{kind} {service.address}{web_ui}")
    if service.server is not None and service.server.profile is not None:
        write_message(
            f"It asks for a certificate: TEMPORAL_CONFIG_FILE={service.server.profile} gives it to `temporal`."
        )
        for warning in service.server.warnings:
            write_message(warning, always=True)


async def has_worker(service: TemporalService, queue: str = identifiers.TASK_QUEUE, machine: str = "") -> bool:
    """Whether a worker has polled a task queue within five minutes, and may still be there; `machine`: one of that.

    Left out are workers that only answered queries during a command, and processes of this machine that have ended.
    """
    return any(machine in ("", worker.machine) for worker in await live_workers(service.client, queue))


@dataclass
class QueryAnswerer:
    """The worker that answers queries and updates of runs."""

    own: bool = False
    """Whether it is one of this process: no other worker answered in time."""


@asynccontextmanager
async def answer_queries(service: TemporalService, queue: str) -> AsyncIterator[QueryAnswerer]:
    """Answer queries and updates of runs on a task queue: by the workers there, else by a reading worker.

    A worker that has ended stays among the pollers for minutes, so a listed worker has `ANSWER_LIMIT` to answer.
    """
    attendance = QueryAnswerer()

    async def help_out() -> None:
        if await has_worker(service, queue):
            await asyncio.sleep(ANSWER_LIMIT.total_seconds())
        attendance.own = True
        async with reading_worker(service, queue):
            await asyncio.Event().wait()

    helper = asyncio.create_task(help_out())
    try:
        yield attendance
    finally:
        helper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await helper


@asynccontextmanager
async def reading_worker(service: TemporalService, queue: str = identifiers.TASK_QUEUE) -> AsyncIterator[None]:
    """Run a worker of workflow code alone: it answers queries and updates, and begins no work."""
    # Takes a second to import, and most commands need no worker.
    from workers.workflow_worker import make_workflow_worker

    async with make_workflow_worker(service.client, queue, READING):
        yield
