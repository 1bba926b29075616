"""The commands that stay: `up` (server and worker), `codec-server`, and `standin` (a scripted model)."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baton.errors import ExitCode, UsageError
from interfaces.cli import options
from interfaces.cli.terminal.output import line, message, print_json
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from baton.settings.core import Settings
    from baton.settings.encryption_keys import KeyRing


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog="Example: baton up --port 7233 --ui-port 8233")(up)
    app.command("codec-server", epilog="Example: baton codec-server --port 8234 --web-ui https://temporal.example.org")(
        codec_server
    )
    app.command(epilog="Example: baton standin --scenario demo --port 8099")(standin)


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


def codec_server(
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = 8234,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    web_ui: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A Web UI whose pages may call it; BATON_WEB_UI where none is given."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Decrypt for the Web UI and the `temporal` command.

    Needs BATON_ENCRYPTION_KEYS and BATON_CODEC_TOKEN. The embedded server brings its own. Until Ctrl-C; with --json it
    says on stdout where it listens.
    """
    settings = options.settings(quiet=False)
    ring, token = settings.key_ring(), settings.codec_token
    if ring is None:
        raise UsageError("BATON_ENCRYPTION_KEYS is not set: there is nothing to decrypt with.")
    if token is None:
        raise UsageError("BATON_CODEC_TOKEN is not set: without a token anybody could read everything.")
    uis = web_ui or ([settings.web_ui] if settings.web_ui else [])
    execute(_codec_server(ring, token.get_secret_value(), uis, host, port, as_json), terminated=ExitCode.DONE)


def standin(
    scenario: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Scenario file: who answers what, at which turn. `demo` is that of the demo."
        ),
    ],
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = 0,
    as_json: options.Json = False,
) -> None:
    """Serve a scripted stand-in for the model.

    Point ANTHROPIC_BASE_URL at it; it answers as the scenario says. Until Ctrl-C.
    """
    execute(_standin(scenario, port, as_json), terminated=ExitCode.DONE)


async def _standin(scenario: Path, port: int, as_json: bool) -> None:
    from standin.script.scenario_file import load_scenario
    from standin.server.server import serve

    async with serve(load_scenario(scenario), port=port) as standin:
        if as_json:
            print_json({"url": standin.base_url})
        else:
            line(f"Stand-in for the Messages API: {standin.base_url} (scripted answers, no model)")
        await asyncio.Event().wait()


async def _codec_server(ring: "KeyRing", token: str, web_uis: list[str], host: str, port: int, as_json: bool) -> None:
    from urllib.parse import urlsplit

    from workers.codec_server import codec_app
    from workers.http_server import http_server

    origins = ["{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in web_uis]
    async with http_server(codec_app(ring, token, origins), host, port, "codec server") as url:
        message(f"codec server {url}, for pages of {', '.join(origins) or 'no Web UI'}. Ctrl-C stops.")
        if as_json:
            print_json({"url": url, "web_uis": origins})
        await asyncio.Event().wait()


async def _up(settings: "Settings", *, webhook: bool, as_json: bool) -> None:
    from interfaces.cli.commands.webhook import receiving
    from interfaces.cli.runs.runtime import readiness, serving, tell_where
    from workers.connection import target
    from workers.worker import running_worker

    if (address := target().address) and (settings.server_port or settings.ui_port):
        raise UsageError(f"TEMPORAL_ADDRESS names the server {address}: leave out --port and --ui-port.")
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(serving(settings, worker=False, metrics=True))
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
            print_json({**readiness(service, worker), "webhook": receiver})
        await asyncio.Event().wait()
