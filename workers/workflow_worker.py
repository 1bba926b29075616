"""Workers that run workflow code on a task queue: of the service, of a single run, or only to answer queries."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from baton.policies import GRACEFUL_SHUTDOWN
from workers.pollers import make_identity
from workers.versioning import deployment_config
from workflows.registry import WORKFLOWS

_STICKY_TIMEOUT = timedelta(seconds=2)
"""A worker that was killed leaves its sticky queue behind; the default would delay every workflow task by 10 s."""


def make_workflow_worker(
    client: Client,
    task_queue: str,
    host: str,
    activities: Sequence[Callable[..., Any]] = (),
    build_id: str | None = None,
) -> Worker:
    """Return a worker for all workflows on a task queue, with the activities that need no workspace.

    `host` is the last part of its identity. `build_id` makes it a worker of that version (`workers.versioning`).
    """
    return Worker(
        client,
        identity=make_identity(host),
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=activities,
        sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
        deployment_config=deployment_config(build_id),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )
