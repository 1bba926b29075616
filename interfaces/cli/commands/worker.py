"""The commands `worker` and `worker status`: work on the runs of a Temporal server, and who else does."""

import asyncio
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from baton.errors import ExitCode, TemporalUnreachable, UsageError
from interfaces.cli import options
from interfaces.cli.terminal.output import line, message, one_line, print_json
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from temporalio.api.taskqueue.v1 import PollerInfo

    from baton.settings.core import Settings

_HOST = re.compile(r"/(?P<host>[0-9a-f]{8})$")

app = typer.Typer(
    help="Work on the runs of a Temporal server.",
    epilog="Example: TEMPORAL_ADDRESS=temporal.example.org:7233 baton worker",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@dataclass(frozen=True)
class Seen:
    """A worker process as the server sees it."""

    identity: str
    """Process, machine and host id, as `<pid>@<machine>/<host>`."""
    host: str
    seconds: float
    """Since it last asked for work."""
    build_id: str
    at_work: bool


@app.callback()
def worker(
    context: typer.Context,
    sandbox: options.Sandbox = None,
    build_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Version of this worker, for rolling deployments.")
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Let this version serve all runs, once it polls (with --build-id).")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Work on the runs of a Temporal server.

    The server is the one that is configured, or that of a `baton up` with the same home. Until Ctrl-C or SIGTERM:
    what is under way then is handed back, and goes on elsewhere. `baton worker status` says who is at work.
    With --json it says on stdout where it works, once it is ready.
    """
    if context.invoked_subcommand is not None:
        return
    settings = options.settings(quiet=False, sandbox=sandbox)
    options.require_model_access(settings)
    if promote and build_id is None:
        raise UsageError("--promote needs --build-id: which version is to serve all runs?")
    execute(
        _worker(settings, build_id, promote=promote, as_json=as_json),
        farewell=lambda: "Stopped. Open runs go on elsewhere.",
        terminated=ExitCode.DONE,
    )


@app.command(epilog="Example: baton worker status --json")
def status(as_json: options.Json = False) -> None:
    """Show the workers that ask for work, and what waits for one.

    Exit code: 1 when no worker is at work.
    """
    execute(_status(options.settings(), as_json))


async def _worker(settings: "Settings", build_id: str | None, *, promote: bool, as_json: bool) -> None:
    from interfaces.cli.runs.runtime import readiness, serving, tell_where
    from workers.connection import target
    from workers.embedded.server import running_server
    from workers.worker import running_worker

    if not target().configured and running_server(settings) is None:
        raise TemporalUnreachable(
            "No Temporal server is configured and none of this BATON_HOME runs: set TEMPORAL_ADDRESS,"
            " or use `baton up`."
        )
    async with (
        serving(settings, worker=False, metrics=True) as service,
        running_worker(service.client, settings, build_id=build_id) as at_work,
    ):
        tell_where(service)
        if build_id is not None and promote:
            from workers.versioning import make_current

            await make_current(service.client, build_id)
            message(f"The version {build_id} serves all runs from now on.")
        message("A worker is at work. Ctrl-C stops.")
        if as_json:
            print_json({**readiness(service, at_work), "build_id": build_id})
        await asyncio.Event().wait()


async def _status(settings: "Settings", as_json: bool) -> int:
    from baton import naming
    from interfaces.cli.runs.runtime import serving
    from workers.pollers import READING, describe_queue
    from workers.versioning import current_version

    async with serving(settings, worker=False) as service:
        described = await describe_queue(service.client, naming.TASK_QUEUE, workflows=True)
        working = [poller for poller in described.pollers if not poller.identity.endswith(f"/{READING}")]
        workers = sorted(map(_seen, working), key=lambda seen: seen.seconds)
        hosts = sorted({seen.host for seen in workers if seen.host})
        queues = {
            host: await describe_queue(service.client, naming.host_queue(host), workflows=False) for host in hosts
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
            line(f"{one_line(seen.identity)}  {how}, seen {seen.seconds:.0f} s ago{one_line(build)}")
        for queue, tasks in waiting.items():
            if tasks:
                line(f"{tasks} {'workflow tasks wait' if queue == 'runs' else f'steps wait for the host {queue}'}")
        message(
            f"The version {current} serves all runs." if current else "No version is set; any worker serves any run."
        )
        if not at_work:
            message("No worker is at work: start one with `baton worker` or `baton up`.")
    return ExitCode.DONE if at_work else ExitCode.FAILED


def _seen(poller: "PollerInfo") -> Seen:
    from workers.pollers import POLLER_LIFETIME, PollerIdentity

    last = poller.last_access_time.ToDatetime(UTC)
    seconds = max(0.0, (datetime.now(UTC) - last).total_seconds())
    host = _HOST.search(poller.identity)
    versioned = poller.deployment_options
    return Seen(
        identity=poller.identity,
        host=host["host"] if host else "",
        seconds=round(seconds, 1),
        build_id=versioned.build_id if versioned.deployment_name else "",
        at_work=seconds < POLLER_LIFETIME.total_seconds() and PollerIdentity.parse(poller.identity).may_be_alive(),
    )
