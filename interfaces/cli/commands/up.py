"""The command `up`: server, Web UI, worker and webhook in the foreground."""

import asyncio
from contextlib import AsyncExitStack

from baton.errors import ExitCode, UsageError
from baton.settings.core import SandboxMode, Settings
from interfaces.cli.arguments import load_settings
from interfaces.cli.commands.webhook import receive_webhooks
from interfaces.cli.runs.readiness import describe_readiness
from interfaces.cli.runs.runtime import use_service, write_address
from interfaces.cli.terminal.output import print_json, write_message
from interfaces.cli.terminal.runner import Farewell, run_body
from workers.connection import read_target
from workers.worker import run_worker


def up(server_port: int | None, ui_port: int | None, sandbox: SandboxMode | None, webhook: bool, as_json: bool) -> None:
    """Serve until Ctrl-C; raises UsageError if ports are given for a server that is configured."""
    settings = load_settings(service=True, server_port=server_port, ui_port=ui_port, sandbox=sandbox)
    run_body(
        _serve_all(settings, webhook=webhook, as_json=as_json),
        farewell=Farewell("Stopped. Open runs go on at the next start."),
        terminated=ExitCode.DONE,
    )


async def _serve_all(settings: Settings, *, webhook: bool, as_json: bool) -> None:
    if (address := read_target().address) and (settings.server_port or settings.ui_port):
        raise UsageError(f"TEMPORAL_ADDRESS names the server {address}: leave out --server-port and --ui-port.")
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(use_service(settings, worker=False, metrics=True))
        worker = receiver = None
        if settings.api_key is not None or settings.base_url is not None:
            worker = await stack.enter_async_context(run_worker(service.client, settings))
        write_address(service)
        if webhook and settings.github_webhook_secrets:
            receiver = await stack.enter_async_context(receive_webhooks(service.client, settings))
        if worker:
            write_message("A worker is at work. Ctrl-C stops.")
        else:
            write_message(
                "ANTHROPIC_API_KEY is not set, so no worker is started; server and Web UI only. Ctrl-C stops."
            )
        if as_json:
            print_json({**describe_readiness(service, worker), "webhook": receiver})
        await asyncio.Event().wait()
