"""The Temporal service of a command, and workers in its process."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse

from baton import naming
from baton.errors import SandboxUnavailable
from baton.settings.core import Settings
from interfaces.cli.terminal.output import message
from workers.run_metrics import census
from workers.sdk_runtime import core_runtime, serve_metrics
from workers.temporal_service import TemporalService, temporal_service
from workspaces.sandbox.bounds import bounds_of
from workspaces.sandbox.sandbox import probe

READING = "reading"
"""Stands in place of a host's name in the identity of a worker that answers queries and does no work."""

ANSWER_LIMIT = timedelta(seconds=3)
"""Time that a worker which seems to be at work has to answer."""


@asynccontextmanager
async def serving(
    settings: Settings, *, worker: bool = True, embedded_only: bool = False, metrics: bool = False
) -> AsyncIterator[TemporalService]:
    """Connect to the Temporal service, and run a worker in this process unless `worker` is false.

    `metrics`: the process is a service, so it serves metrics if the settings name an address.
    """
    address = settings.metrics_address if metrics else None
    if address is not None:
        serve_metrics(address)
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(temporal_service(settings, embedded_only=embedded_only))
        if address is not None:
            await stack.enter_async_context(census(service.client, core_runtime().metric_meter, settings.home))
            message(f"metrics http://{address}/metrics")
        if worker:
            await stack.enter_async_context(running_worker(service, settings))
        yield service


@asynccontextmanager
async def running_worker(service: TemporalService, settings: Settings) -> AsyncIterator[None]:
    """Run a worker of this host in this process."""
    # Takes seconds to import (agents, tools, the model's SDK), and `watch` or `stop` seldom need it.
    from workers.worker import running_worker as running

    async with running(service.client, settings):
        yield


async def require_sandbox(settings: Settings, more: str = "") -> None:
    """Raise SandboxUnavailable, with the remedy, before a model is paid: no command of an agent would run here."""
    status = await probe(settings.sandbox, bounds=bounds_of(settings))
    if status.kind == "unavailable":
        raise SandboxUnavailable(f"{status.reason} {status.advice}{more}")


def tell_where(service: TemporalService) -> None:
    """Write which server is used, and the address of its Web UI."""
    kind = "embedded server" if service.embedded else "Temporal server"
    web_ui = f", Web UI {service.web_ui}" if service.web_ui else ""
    message(f"{kind} {service.address}{web_ui}")
    if service.server is not None and service.server.profile is not None:
        message(f"It asks for a certificate: TEMPORAL_CONFIG_FILE={service.server.profile} gives it to `temporal`.")
        for warning in service.server.warnings:
            message(warning, always=True)


async def describe_queue(service: TemporalService, queue: str, *, workflows: bool) -> DescribeTaskQueueResponse:
    """Return the recent pollers of a task queue, and the size of its backlog."""
    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    return await service.client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=service.client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=kind,
            report_stats=True,
        )
    )


async def has_worker(service: TemporalService) -> bool:
    """Whether a worker has polled the shared task queue within five minutes, and may still be at work.

    Workers that only answer queries for one command do not count, nor processes of this machine that have ended.
    """
    described = await describe_queue(service, naming.TASK_QUEUE, workflows=True)
    return any(may_be_there(poller.identity) for poller in described.pollers)


def may_be_there(identity: str) -> bool:
    """Whether a poller of an identity, `pid@machine/host` for a worker of Baton, may still be at work."""
    process, _, where = identity.partition("@")
    machine, _, host = where.partition("/")
    if host == READING:
        return False
    if machine == socket.gethostname() and process.isdecimal():
        try:
            os.kill(int(process), 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass
    return True


@dataclass
class Attendance:
    """The worker that answers queries and updates of runs."""

    own: bool = False
    """Whether it is one of this process: no other worker answered in time."""


@asynccontextmanager
async def attended(service: TemporalService) -> AsyncIterator[Attendance]:
    """Make sure that queries and updates are answered: by the workers at work, or by a reading worker of this process.

    A worker that has ended stays among the pollers for minutes, so a listed worker has `ANSWER_LIMIT` to answer.
    """
    attendance = Attendance()

    async def help_out() -> None:
        if await has_worker(service):
            await asyncio.sleep(ANSWER_LIMIT.total_seconds())
        attendance.own = True
        async with reading_worker(service):
            await asyncio.Event().wait()

    helper = asyncio.create_task(help_out())
    try:
        yield attendance
    finally:
        helper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await helper


@asynccontextmanager
async def reading_worker(service: TemporalService) -> AsyncIterator[None]:
    """Run a worker of workflow code alone: it answers queries and updates, and begins no work."""
    # Takes a second to import, and most commands need no worker.
    from temporalio.worker import Worker

    from workers.versioning import deployment
    from workflows.registry import WORKFLOWS

    identity = f"{os.getpid()}@{socket.gethostname()}/{READING}"
    async with Worker(
        service.client,
        identity=identity,
        task_queue=naming.TASK_QUEUE,
        workflows=WORKFLOWS,
        deployment_config=deployment(),
    ):
        yield
