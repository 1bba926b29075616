"""The command `webhook`: receives GitHub's deliveries and hands them to Temporal. `baton up` serves it, too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from baton.errors import ExitCode, TemporalUnreachable
from interfaces.cli import options
from interfaces.cli.terminal.output import message, print_json
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from temporalio.client import Client

    from baton.settings.core import Settings

REDELIVERY, REDELIVERY_ENTERPRISE = timedelta(days=3), timedelta(days=7)
"""How long GitHub and an Enterprise Server let people send a delivery again.
https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog="Example: BATON_GITHUB_WEBHOOK_SECRET_FILE=/run/secrets/webhook baton webhook --port 8473")(
        webhook
    )


def webhook(
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Receive GitHub's webhooks.

    Needs the webhook's secret (BATON_GITHUB_WEBHOOK_SECRET) and a Temporal server: the one that is configured, or that
    of a `baton up` with the same home. Answers POST /webhook, GET /healthz and GET /readyz. Until Ctrl-C; with
    --json it says on stdout where it listens.
    """
    settings = options.settings(quiet=False, github_webhook_host=host, github_webhook_port=port)
    execute(
        _webhook(settings, as_json=as_json),
        farewell=lambda: "Stopped. What was taken goes on; GitHub keeps the rest for some days, to be sent again.",
        terminated=ExitCode.DONE,
    )


async def _webhook(settings: "Settings", *, as_json: bool) -> None:
    from interfaces.cli.runs.runtime import serving as service_of
    from interfaces.cli.runs.runtime import tell_where
    from interfaces.github.verdicts import Policy
    from workers.connection import target
    from workers.embedded.server import running_server

    Policy.of(settings)
    if not target().configured and running_server(settings) is None:
        raise TemporalUnreachable(
            "No Temporal server is configured and none of this BATON_HOME runs: set TEMPORAL_ADDRESS,"
            " or use `baton up`, which serves the webhook as well."
        )
    async with service_of(settings, worker=False, metrics=True) as service:
        tell_where(service)
        async with receiving(service.client, settings) as address:
            message("Ctrl-C stops.")
            if as_json:
                print_json({"url": f"{address}/webhook", "temporal": service.address})
            await asyncio.Event().wait()


@asynccontextmanager
async def receiving(client: "Client", settings: "Settings") -> AsyncIterator[str]:
    """Receive webhooks while the block runs; says where, and gives the address.

    Raises ConfigurationError without a secret, UsageError where it cannot listen.
    """
    from interfaces.github.app import Webhook
    from interfaces.github.server import serve
    from interfaces.github.start_delivery import Desk
    from interfaces.github.verdicts import Policy

    policy = Policy.of(settings)
    await _check_retention(client, settings)
    application = Webhook(policy, Desk(client)).application()
    async with serve(application, settings.github_webhook_host, settings.github_webhook_port) as address:
        message(f"GitHub webhook {address}/webhook, label {policy.label!r}")
        yield address


async def _check_retention(client: "Client", settings: "Settings") -> None:
    remembered, again = await retention(client), redelivery(settings)
    if remembered < again:
        message(
            f"The namespace {client.namespace} forgets ended runs after {remembered}, but GitHub can send a delivery"
            f" again for {again.days} days: what is sent again later would be done again. Raise its retention."
        )


def redelivery(settings: "Settings") -> timedelta:
    """How long a delivery can be sent again."""
    return REDELIVERY if settings.github_url == "https://github.com" else REDELIVERY_ENTERPRISE


async def retention(client: "Client") -> timedelta:
    """How long the namespace remembers ended workflows."""
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    kept: timedelta = described.config.workflow_execution_retention_ttl.ToTimedelta()
    return kept
