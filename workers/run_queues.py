"""Task queues of single runs on a shared Temporal service, and the workers that serve them.

A command that starts a run on a configured service puts it on a task queue of its own, `baton-run-<run>`: its worker
then takes no work of other runs, and no other worker takes the run while the command lives. When the command has
ended, `baton watch` in the same home serves the queue, or a `baton worker` that may continue the run adopts it.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.runtime.host_queue import HostActivities
from baton import identifiers
from baton.errors import ConfigurationError
from baton.logs import get_logger
from baton.settings.core import Settings
from workers.pollers import POLLER_LIFETIME, PollerIdentity, live_workers, make_identity
from workers.workflow_worker import make_workflow_worker

ADOPTION_INTERVAL = timedelta(seconds=5)
"""Between two searches for runs whose command has ended."""

MAX_ADOPTED = 200
"""Runs of commands that one search reads; those beyond are read once some of these have ended."""

_OPEN_RUNS = (
    f"WorkflowType = 'Pipeline' AND ExecutionStatus = 'Running' AND TaskQueue STARTS_WITH '{identifiers.run_queue('')}'"
)

_log = get_logger(__name__)


@dataclass(frozen=True)
class RunOrigin:
    """The place that a run was started from, kept in the memo of its workflow."""

    repo: str
    host: str = ""
    """Id of the host whose command works on the run; empty for a run that was started detached."""
    machine: str = ""
    """Name of the machine that `repo` is a path of; empty for a URL."""
    home: str = ""
    """Host id of the home that started a detached run of a path: a container of another name may have it next."""

    @classmethod
    def from_here(cls, repo: str, host: str = "", home: str = "") -> "RunOrigin":
        """Return the origin of a run that a command of this machine starts."""
        return cls(repo, host, socket.gethostname() if _local_path(repo) else "", home)

    @classmethod
    def from_memo(cls, memo: Mapping[str, Any]) -> "RunOrigin":
        """Read the memo of a run; fields that an older version did not write are empty."""
        return cls(*(str(memo.get(field, "")) for field in ("repo", "host", "machine", "home")))

    def to_memo(self) -> dict[str, str]:
        """Return the fields of the memo."""
        return asdict(self)

    def may_be_continued(self, host: str, *, has_state_remote: bool) -> bool:
        """Whether a worker of `host` on this machine can continue the run.

        Its own host always can, and so can the home that started it detached. Another one needs the repository, and the
        work that was done: that is in the state remote, and there is none yet where no host has begun.
        """
        if host in (self.host, self.home):
            return True
        path = _local_path(self.repo)
        if path is not None and (self.machine != socket.gethostname() or not path.is_dir()):
            return False
        return not self.host or has_state_remote

    def is_shared_at(self, host: str) -> bool:
        """Whether all workers of this host's home serve the run together: that home started it detached.

        So none waits for another one that is gone: the server lists the polls of a removed container for 90 s more.
        """
        return not self.host and self.home == host


def _local_path(repo: str) -> Path | None:
    url = urlsplit(repo)
    path = repo if repo.startswith("/") else unquote(url.path) if url.scheme == "file" else ""
    return Path(path) if path and "\0" not in path else None


class RunAdoption:
    """The runs of ended commands that a worker of the service continues."""

    def __init__(self, client: Client, settings: Settings, host: str, host_queue: str) -> None:
        self._client = client
        self._has_state_remote = settings.state_remote is not None
        self._host = host
        self._host_queue = host_queue
        self._adopted: dict[str, tuple[Worker, asyncio.Task[None]]] = {}

    async def adopt_repeatedly(self) -> None:
        """Search until cancelled; then stop the workers of the adopted runs."""
        failing = False
        try:
            while True:
                try:
                    await self._reconcile_runs()
                    failing = False
                except RPCError as error:
                    if not failing:
                        _log.warning("runs of ended commands cannot be read", reason=error.message)
                    failing = True
                await asyncio.sleep(ADOPTION_INTERVAL.total_seconds())
        finally:
            for queue in list(self._adopted):
                await self._release_run(queue)

    async def _reconcile_runs(self) -> None:
        """Adopt the runs that have no worker, and release the ended ones and those that their own host serves again."""
        for queue, (_, running) in list(self._adopted.items()):
            if running.done():  # it failed, and is started again below
                await self._release_run(queue)
        wanted = set()
        async for run in self._client.list_workflows(_OPEN_RUNS, limit=MAX_ADOPTED):
            try:
                origin = RunOrigin.from_memo(await run.memo())
            except ConfigurationError:
                continue  # encrypted with a key that this worker does not have
            if await self._is_wanted(run.task_queue, origin):
                wanted.add(run.task_queue)
                if run.task_queue not in self._adopted:
                    self._adopt_run(run.task_queue, run.id)
        for queue in set(self._adopted) - wanted:
            await self._release_run(queue)

    async def _is_wanted(self, queue: str, origin: RunOrigin) -> bool:
        if not origin.may_be_continued(self._host, has_state_remote=self._has_state_remote):
            return False
        others = [
            worker
            for worker in await live_workers(self._client, queue, POLLER_LIFETIME)
            if worker != PollerIdentity.parse_identity(make_identity(self._host))
            and not (worker.host == self._host and origin.is_shared_at(self._host))
        ]
        if queue in self._adopted:
            # The workspace is on the run's own host: steps go there again as soon as it serves the run.
            return not any(worker.host == origin.host != self._host for worker in others)
        return not others

    def _adopt_run(self, queue: str, run: str) -> None:
        # Unversioned: a version is promoted for the queues of the service, and this queue ends with its run.
        worker = make_workflow_worker(self._client, queue, self._host, [HostActivities(self._host_queue).acquire_host])
        self._adopted[queue] = worker, asyncio.create_task(worker.run())
        _log.info("run adopted", run=run, reason="no worker served it")

    async def _release_run(self, queue: str) -> None:
        worker, running = self._adopted.pop(queue)
        stopping = asyncio.create_task(worker.shutdown())
        await asyncio.wait({running})
        # The shutdown of a worker that failed at its start never completes.
        stopping.cancel()
        if (error := running.exception()) is not None:
            _log.warning("the worker of an adopted run failed", queue=queue, reason=str(error))


@asynccontextmanager
async def adopt_runs(client: Client, settings: Settings, host: str, host_queue: str) -> AsyncIterator[None]:
    """Continue the runs of ended commands while the context is open."""
    adopting = asyncio.create_task(RunAdoption(client, settings, host, host_queue).adopt_repeatedly())
    try:
        yield
    finally:
        adopting.cancel()
        with suppress(asyncio.CancelledError):
            await adopting
