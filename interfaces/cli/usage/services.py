"""The commands that serve until Ctrl-C: server, worker, webhook, codec server."""

from typing import Annotated

import typer

from interfaces.cli.usage.command_group import CommandGroup, Panel, RenamedOption, declare_command, make_callback
from interfaces.cli.usage.options import AsJson, ListenPort, Sandbox, ServerPort, UiPort

app = typer.Typer()
workers = typer.Typer(
    name="worker",
    cls=CommandGroup,
    help="Work on the runs of a Temporal server.",
    epilog="Example: TEMPORAL_ADDRESS=temporal.example.org:7233 baton worker",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@declare_command(
    app,
    "up",
    panel=Panel.SERVICES,
    example="baton up --server-port 7233 --ui-port 8233",
    renamed={"--port": RenamedOption("--server-port")},
)
def up(
    server_port: ServerPort = None,
    ui_port: UiPort = None,
    sandbox: Sandbox = None,
    webhook: Annotated[
        bool, typer.Option("--webhook/--no-webhook", help="Serve GitHub's webhook, where its secret is set.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Serve in the foreground: server, Web UI, worker, and GitHub's webhook where its secret is set.

    Until Ctrl-C; open runs go on at the next start. With --json it prints its addresses on stdout, once it is ready.
    """


def worker(
    context: typer.Context,
    sandbox: Sandbox = None,
    build_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Version of this worker, for rolling deployments.")
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Let this version serve all runs, once it polls (with --build-id).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Work on the runs of a Temporal server.

    The server is the one that is configured, or that of a `baton up` with the same home. Until Ctrl-C or SIGTERM:
    the turn under way is then handed back, and goes on elsewhere. `baton worker status` lists the workers.
    With --json it prints its host and queue on stdout, once it is ready.
    """


workers.callback()(make_callback(worker, "worker", "worker"))


@declare_command(workers, "worker", name="status", function="show_status", example="baton worker status --json")
def status(as_json: AsJson = False) -> None:
    """Show the workers that poll for work, and the work that waits for one.

    Exit code: 1 when no worker is at work.
    """


@declare_command(
    app,
    "webhook",
    panel=Panel.SERVICES,
    example="BATON_GITHUB_WEBHOOK_SECRET_FILE=/run/secrets/webhook baton webhook --port 8473",
)
def webhook(
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Receive GitHub's webhooks.

    Needs the webhook's secret (BATON_GITHUB_WEBHOOK_SECRET) and a Temporal server: the one that is configured, or that
    of a `baton up` with the same home. Answers POST /webhook, GET /healthz and GET /readyz. Until Ctrl-C; with
    --json it prints its address on stdout.
    """


@declare_command(
    app,
    "codec_server",
    name="codec-server",
    panel=Panel.SERVICES,
    example="baton codec-server --port 8234 --web-ui https://temporal.example.org",
)
def codec_server(
    port: ListenPort = 8234,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    web_ui: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A Web UI whose pages may call it; BATON_WEB_UI where none is given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decrypt payloads for the Web UI and the `temporal` command.

    Needs BATON_ENCRYPTION_KEYS and BATON_CODEC_TOKEN. The embedded server has its own. Until Ctrl-C; with --json it
    prints its address on stdout.
    """
