"""The command `webhook`: receives GitHub's deliveries and starts a workflow for each. `baton up` serves it, too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from baton.errors import ExitCode, TemporalUnreachable
from baton.settings.core import Settings
from interfaces.cli.arguments import load_settings
from interfaces.cli.runs.runtime import use_service, write_address
from interfaces.cli.terminal.output import print_json, write_message
from interfaces.cli.terminal.runner import Farewell, run_body
from interfaces.github.app import Webhook
from interfaces.github.server import serve_webhook
from interfaces.github.start_delivery import DeliveryStarter
from interfaces.github.verdicts import WebhookPolicy
from workers.connection import read_target
from workers.embedded.server import find_running_server

REDELIVERY, REDELIVERY_ENTERPRISE = timedelta(days=3), timedelta(days=7)
"""Time for which GitHub and an Enterprise Server let people send a delivery again.
https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks"""


def webhook(host: str | None, port: int | None, as_json: bool) -> None:
    """Serve until Ctrl-C; raises TemporalUnreachable if no server is configured and none of this home runs."""
    settings = load_settings(service=True, github_webhook_host=host, github_webhook_port=port)
    run_body(
        _serve_webhook(settings, as_json=as_json),
        farewell=Farewell(
            "Stopped. Accepted deliveries go on; GitHub keeps the others for some days, to be sent again."
        ),
        terminated=ExitCode.DONE,
    )


async def _serve_webhook(settings: Settings, *, as_json: bool) -> None:

    WebhookPolicy.from_settings(settings)
    if not read_target().is_configured and find_running_server(settings) is None:
        raise TemporalUnreachable(
            "No Temporal server is configured and none of this BATON_HOME runs: set TEMPORAL_ADDRESS,"
            " or use `baton up`, which serves the webhook as well."
        )
    async with use_service(settings, worker=False, metrics=True) as service:
        write_address(service)
        async with receive_webhooks(service.client, settings) as address:
            write_message("Ctrl-C stops.")
            if as_json:
                print_json({"url": f"{address}/webhook", "temporal": service.address})
            await asyncio.Event().wait()


@asynccontextmanager
async def receive_webhooks(client: Client, settings: Settings) -> AsyncIterator[str]:
    """Receive webhooks while the block runs, and yield the address.

    Raises ConfigurationError without a secret, UsageError if the address cannot be listened on.
    """

    policy = WebhookPolicy.from_settings(settings)
    await _check_retention(client, settings)
    application = Webhook(policy, DeliveryStarter(client)).build_application()
    async with serve_webhook(application, settings.github_webhook_host, settings.github_webhook_port) as address:
        write_message(f"GitHub webhook {address}/webhook, label {policy.label!r}")
        yield address


async def _check_retention(client: Client, settings: Settings) -> None:
    remembered, again = await read_retention(client), redelivery_time(settings)
    if remembered < again:
        write_message(
            f"The namespace {client.namespace} forgets ended runs after {remembered}, but GitHub can send a delivery"
            f" again for {again.days} days: what is sent again later would be done again. Raise its retention.",
            always=True,
        )


def redelivery_time(settings: Settings) -> timedelta:
    """Return the time for which a delivery can be sent again."""
    return REDELIVERY if settings.github_url == "https://github.com" else REDELIVERY_ENTERPRISE


async def read_retention(client: Client) -> timedelta:
    """Return the time for which the namespace remembers ended workflows."""
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    kept: timedelta = described.config.workflow_execution_retention_ttl.ToTimedelta()
    return kept
