"""The commands `worker` and `worker status`: work on the runs of a Temporal server, and list its workers."""

import asyncio
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import typer
from temporalio.api.taskqueue.v1 import PollerInfo

from baton import identifiers
from baton.errors import ExitCode, TemporalUnreachable, UsageError
from baton.settings.core import SandboxMode, Settings
from interfaces.cli.arguments import load_settings, require_model_access
from interfaces.cli.runs.readiness import describe_readiness
from interfaces.cli.runs.runtime import use_service, write_address
from interfaces.cli.terminal.output import one_line, print_json, write_line, write_message
from interfaces.cli.terminal.runner import Farewell, run_body
from workers.connection import read_target
from workers.embedded.server import find_running_server
from workers.pollers import POLLER_LIFETIME, READING, PollerIdentity, describe_queue
from workers.versioning import current_version, make_current
from workers.worker import run_worker

_HOST = re.compile(r"/(?P<host>[0-9a-f]{8})$")


@dataclass(frozen=True)
class SeenWorker:
    """A worker process as the server sees it."""

    identity: str
    """Process, machine and host id, as `<pid>@<machine>/<host>`."""
    host: str
    seconds: float
    """Since it last polled for work."""
    build_id: str
    at_work: bool


def worker(
    context: typer.Context, sandbox: SandboxMode | None, build_id: str | None, promote: bool, as_json: bool
) -> None:
    """Work until Ctrl-C; raises TemporalUnreachable if no server is configured and none of this home runs."""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings(service=True, sandbox=sandbox)
    require_model_access(settings)
    if promote and build_id is None:
        raise UsageError("--promote needs --build-id: which version is to serve all runs?")
    run_body(
        _run_worker(settings, build_id, promote=promote, as_json=as_json),
        farewell=Farewell("Stopped. Open runs go on elsewhere."),
        terminated=ExitCode.DONE,
    )


def show_status(as_json: bool) -> None:
    """Print the workers and the work that waits; exits with 1 if no worker is at work."""
    run_body(_print_status(load_settings(), as_json))


async def _run_worker(settings: Settings, build_id: str | None, *, promote: bool, as_json: bool) -> None:

    if not read_target().is_configured and find_running_server(settings) is None:
        raise TemporalUnreachable(
            "No Temporal server is configured and none of this BATON_HOME runs: set TEMPORAL_ADDRESS,"
            " or use `baton up`."
        )
    async with (
        use_service(settings, worker=False, metrics=True) as service,
        run_worker(service.client, settings, build_id=build_id) as at_work,
    ):
        write_address(service)
        if build_id is not None and promote:
            await make_current(service.client, build_id)
            write_message(f"The version {build_id} serves all runs from now on.")
        write_message("A worker is at work. Ctrl-C stops.")
        if as_json:
            print_json({**describe_readiness(service, at_work), "build_id": build_id})
        await asyncio.Event().wait()


async def _print_status(settings: Settings, as_json: bool) -> int:

    async with use_service(settings, worker=False) as service:
        described = await describe_queue(service.client, identifiers.TASK_QUEUE, workflows=True)
        working = [poller for poller in described.pollers if not poller.identity.endswith(f"/{READING}")]
        workers = sorted(map(_describe_poller, working), key=lambda seen: seen.seconds)
        hosts = sorted({seen.host for seen in workers if seen.host})
        queues = {
            host: await describe_queue(service.client, identifiers.host_queue(host), workflows=False) for host in hosts
        }
        current = await current_version(service.client)
    waiting = {"runs": described.stats.approximate_backlog_count}
    waiting |= {host: queue.stats.approximate_backlog_count for host, queue in queues.items()}
    at_work = any(seen.at_work for seen in workers)
    if as_json:
        print_json(
            {
                "at_work": at_work,
                "current_build_id": current,
                "workers": [asdict(seen) for seen in workers],
                "waiting": waiting,
            }
        )
    else:
        for seen in workers:
            how = "at work" if seen.at_work else "gone"
            build = f"  version {seen.build_id}" if seen.build_id else ""
            write_line(f"{one_line(seen.identity)}  {how}, seen {seen.seconds:.0f} s ago{one_line(build)}")
        for queue, tasks in waiting.items():
            if tasks:
                write_line(
                    f"{tasks} {'workflow tasks wait' if queue == 'runs' else f'steps wait for the host {queue}'}"
                )
        write_message(
            f"The version {current} serves all runs." if current else "No version is set; any worker serves any run."
        )
        if not at_work:
            write_message("No worker is at work: start one with `baton worker` or `baton up`.")
    return ExitCode.DONE if at_work else ExitCode.FAILED


def _describe_poller(poller: PollerInfo) -> SeenWorker:

    last = poller.last_access_time.ToDatetime(UTC)
    seconds = max(0.0, (datetime.now(UTC) - last).total_seconds())
    host = _HOST.search(poller.identity)
    versioned = poller.deployment_options
    return SeenWorker(
        identity=poller.identity,
        host=host["host"] if host else "",
        seconds=round(seconds, 1),
        build_id=versioned.build_id if versioned.deployment_name else "",
        at_work=seconds < POLLER_LIFETIME.total_seconds()
        and PollerIdentity.parse_identity(poller.identity).may_be_alive(),
    )
