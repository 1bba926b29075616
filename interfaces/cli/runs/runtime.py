"""What a command needs to move runs: a Temporal service and a worker in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from baton import naming
from interfaces.cli.terminal.output import message

if TYPE_CHECKING:
    from baton.settings.core import Settings
    from workers.temporal_service import TemporalService
    from workers.worker import WorkerHandle

ANSWER_LIMIT = 3.0
"""Seconds that a worker which seems to be there is given to answer."""


@asynccontextmanager
async def serving(
    settings: "Settings", *, worker: bool = True, embedded_only: bool = False, metrics: bool = False
) -> "AsyncIterator[TemporalService]":
    """The Temporal service, with a worker of this process beside it.

    `metrics`: this is a process that stays, so it serves metrics where the settings say so.
    """
    from workers.temporal_service import temporal_service

    address = settings.metrics_address if metrics else None
    if address is not None:
        from workers.sdk_runtime import serve_metrics

        serve_metrics(address)
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(temporal_service(settings, embedded_only=embedded_only))
        if address is not None:
            from workers.run_metrics import census
            from workers.sdk_runtime import core_runtime

            await stack.enter_async_context(census(service.client, core_runtime().metric_meter, settings.home))
            message(f"metrics http://{address}/metrics")
        if worker:
            from workers.worker import running_worker

            await stack.enter_async_context(running_worker(service.client, settings))
        yield service


async def require_sandbox(settings: "Settings", more: str = "") -> None:
    """Raise SandboxUnavailable, with what to do, before anything is paid for: no command of an agent would run here."""
    from baton.errors import SandboxUnavailable
    from workspaces.sandbox.bounds import bounds_of
    from workspaces.sandbox.sandbox import probe

    status = await probe(settings.sandbox, bounds=bounds_of(settings))
    if status.kind == "unavailable":
        raise SandboxUnavailable(f"{status.reason} {status.advice}{more}")


def tell_where(service: "TemporalService") -> None:
    """Say which server is used, and where its Web UI is."""
    kind = "embedded server" if service.embedded else "Temporal server"
    web_ui = f", Web UI {service.web_ui}" if service.web_ui else ""
    message(f"{kind} {service.address}{web_ui}")
    if service.server is not None and service.server.profile is not None:
        message(f"It asks for a certificate: TEMPORAL_CONFIG_FILE={service.server.profile} gives it to `temporal`.")
        for warning in service.server.warnings:
            message(warning)


def readiness(service: "TemporalService", worker: "WorkerHandle | None") -> dict[str, Any]:
    """What a program needs to know of a server, and of a worker of this process, that are ready."""
    return {
        "address": service.address,
        "namespace": service.client.namespace,
        "web_ui": service.web_ui,
        "embedded": service.embedded,
        "config_file": str(service.server.profile) if service.server and service.server.profile else None,
        "host": worker.host if worker else None,
        "queue": worker.queue if worker else None,
        "sandbox": worker.sandbox.status.kind if worker else None,
    }


async def has_worker(service: "TemporalService", queue: str = naming.TASK_QUEUE, machine: str = "") -> bool:
    """Whether a worker has polled a task queue within five minutes, and may still be there; `machine`: one of that.

    Left out are workers that only answered queries during a command, and processes of this machine that have ended.
    """
    from workers.pollers import live_workers

    return any(machine in ("", worker.machine) for worker in await live_workers(service.client, queue))


@dataclass
class Attendance:
    """Who answers queries and updates of runs."""

    own: bool = False
    """Whether a worker of this process had to help out: nobody else did in time."""


@asynccontextmanager
async def attended(service: "TemporalService", queue: str) -> AsyncIterator[Attendance]:
    """Answer queries and updates of runs on a task queue: by the workers there, else by one that runs no activity.

    A worker that has ended is among the pollers for minutes, so a listed one has `ANSWER_LIMIT` seconds to answer.
    """
    attendance = Attendance()

    async def help_out() -> None:
        if await has_worker(service, queue):
            await asyncio.sleep(ANSWER_LIMIT)
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
async def reading_worker(service: "TemporalService", queue: str = naming.TASK_QUEUE) -> AsyncIterator[None]:
    """Run a worker that runs workflow code only: it answers queries and updates, and begins no work."""
    from workers.pollers import READING
    from workers.workflow_worker import make_workflow_worker

    async with make_workflow_worker(service.client, queue, READING):
        yield
