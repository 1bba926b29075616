"""The worker processes that ask a task queue for work, as the Temporal server lists them.

A worker of Baton names itself `<pid>@<machine>/<host id>`. The server lists a poller for five minutes after its last
poll, so a listed poller may have ended: https://docs.temporal.io/cli/task-queue#describe
"""

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temporalio.api.workflowservice.v1 import DescribeTaskQueueResponse
    from temporalio.client import Client

READING = "reading"
"""In place of a host id: a worker that answers queries during one command, and runs no activity."""

POLLER_LIFETIME = timedelta(seconds=90)
"""A worker polls at least once a minute; one that has not polled for this long has ended."""


@dataclass(frozen=True)
class PollerIdentity:
    """The parts of a worker's identity; empty where the worker is not Baton's."""

    process: str
    machine: str
    host: str

    @classmethod
    def parse_identity(cls, identity: str) -> "PollerIdentity":
        """Split `<pid>@<machine>/<host id>`."""
        process, _, place = identity.partition("@")
        machine, _, host = place.partition("/")
        return cls(process, machine, host)

    def may_be_alive(self) -> bool:
        """Whether the process may still run: False for a process of this machine that has ended."""
        if self.machine == socket.gethostname() and self.process.isdecimal():
            try:
                os.kill(int(self.process), 0)
            except (ProcessLookupError, OverflowError):
                return False
            except PermissionError:
                pass
        return True


def make_identity(host: str) -> str:
    """Return the identity of a worker of this process."""
    return f"{os.getpid()}@{socket.gethostname()}/{host}"


async def describe_queue(client: "Client", queue: str, *, workflows: bool) -> "DescribeTaskQueueResponse":
    """Return the server's description of a task queue: its pollers, and the number of tasks that wait."""
    from temporalio.api.enums.v1 import TaskQueueType
    from temporalio.api.taskqueue.v1 import TaskQueue
    from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    return await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=kind,
            report_stats=True,
        )
    )


async def live_workers(client: "Client", queue: str, lifetime: timedelta | None = None) -> list[PollerIdentity]:
    """Return the workers that serve a queue of workflows; `lifetime` is the age of a poll from which one has ended.

    Workers that only answer queries during one command are left out.
    """
    described = await describe_queue(client, queue, workflows=True)
    now = datetime.now(UTC)
    polled = [
        PollerIdentity.parse_identity(poller.identity)
        for poller in described.pollers
        if lifetime is None or now - poller.last_access_time.ToDatetime(UTC) < lifetime
    ]
    return [identity for identity in polled if identity.host != READING and identity.may_be_alive()]
