"""The commands that stay: `up` (server and worker), `worker`, and `standin` (a scripted Messages API)."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baton.errors import ExitCode, TemporalUnreachable, UsageError
from interfaces.cli import options
from interfaces.cli.exits import execute
from interfaces.cli.output import message, print_json

if TYPE_CHECKING:
    from baton.settings import Settings
    from workers.service import TemporalService
    from workers.worker import WorkerHandle


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog="Example: baton up --port 7233 --ui-port 8233")(up)
    app.command(epilog="Example: TEMPORAL_ADDRESS=temporal.example.org:7233 baton worker")(worker)
    app.command(epilog="Example: baton standin --scenario demo.yaml --port 8099")(standin)


def up(
    port: options.Port = None,
    ui_port: options.UiPort = None,
    sandbox: options.Sandbox = None,
    webhook: Annotated[
        bool, typer.Option("--webhook/--no-webhook", help="Serve GitHub's webhook, where its secret is set.")
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Serve in the foreground: server, Web UI, worker, and GitHub's webhook where its secret is set.

    Until Ctrl-C; what is open then goes on at the next start. With --json it says on stdout where, once it is ready.
    """
    settings = options.settings(quiet=False, server_port=port, ui_port=ui_port, sandbox=sandbox)
    execute(
        _up(settings, webhook=webhook, as_json=as_json),
        farewell=lambda: "Stopped. Open runs go on at the next start.",
        terminated=ExitCode.DONE,
    )


def worker(
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

    The server is the one that is configured, or that of a `baton up` with the same home. Until Ctrl-C.
    With --json it says on stdout which, once it is ready.
    """
    settings = options.settings(quiet=False, sandbox=sandbox)
    options.require_model_access(settings)
    if promote and build_id is None:
        raise UsageError("--promote needs --build-id: which version is to serve all runs?")
    execute(
        _worker(settings, build_id, promote=promote, as_json=as_json),
        farewell=lambda: "Stopped. Open runs go on elsewhere.",
        terminated=ExitCode.DONE,
    )


def standin(
    scenario: Annotated[Path, typer.Option(metavar="FILE", help="Scenario file: who answers what, at which turn.")],
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 0,
) -> None:
    """Serve a scripted stand-in for the model.

    Point ANTHROPIC_BASE_URL at it; it answers as the scenario says.
    """
    from standin.server import run_forever

    run_forever(scenario, "127.0.0.1", port)


async def _up(settings: "Settings", *, webhook: bool, as_json: bool) -> None:
    from interfaces.cli.engine import serving, tell_where
    from interfaces.cli.webhook import receiving
    from workers.connection import target
    from workers.worker import running_worker

    if (address := target().address) and (settings.server_port or settings.ui_port):
        raise UsageError(f"TEMPORAL_ADDRESS names the server {address}: leave out --port and --ui-port.")
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(serving(settings, worker=False))
        worker = receiver = None
        if settings.api_key is not None or settings.base_url is not None:
            worker = await stack.enter_async_context(running_worker(service.client, settings))
        tell_where(service)
        if webhook and settings.github_webhook_secrets:
            receiver = await stack.enter_async_context(receiving(service.client, settings))
        if worker:
            message("A worker is at work. Ctrl-C stops.")
        else:
            message("ANTHROPIC_API_KEY is not set, so no worker is started; server and Web UI only. Ctrl-C stops.")
        if as_json:
            print_json({**_ready(service, worker), "webhook": receiver})
        await asyncio.Event().wait()


async def _worker(settings: "Settings", build_id: str | None, *, promote: bool, as_json: bool) -> None:
    from interfaces.cli.engine import serving, tell_where
    from workers.connection import target
    from workers.embedded import running_server
    from workers.worker import running_worker

    if not target().configured and running_server(settings) is None:
        raise TemporalUnreachable(
            "No Temporal server is configured and none of this BATON_HOME runs: set TEMPORAL_ADDRESS,"
            " or use `baton up`."
        )
    async with (
        serving(settings, worker=False) as service,
        running_worker(service.client, settings, build_id=build_id) as worker,
    ):
        tell_where(service)
        if build_id is not None and promote:
            from workers.versioning import make_current

            await make_current(service.client, build_id)
            message(f"The version {build_id} serves all runs from now on.")
        message("A worker is at work. Ctrl-C stops.")
        if as_json:
            print_json({**_ready(service, worker), "build_id": build_id})
        await asyncio.Event().wait()


def _ready(service: "TemporalService", worker: "WorkerHandle | None") -> dict[str, Any]:
    """What a program needs to know of a server and a worker that are ready."""
    return {
        "address": service.address,
        "namespace": service.client.namespace,
        "web_ui": service.web_ui,
        "embedded": service.embedded,
        "host": worker.host if worker else None,
        "queue": worker.queue if worker else None,
        "sandbox": worker.sandbox.status.kind if worker else None,
    }
