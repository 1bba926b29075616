"""The Temporal service of a command: the configured one, or the embedded server of this BATON_HOME."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from baton.errors import ServerStartFailed, TemporalUnreachable
from baton.settings.core import Settings
from workers.connection import TemporalTarget, connect_to_address, connect_to_target, read_target
from workers.embedded.server import EmbeddedServer, find_running_server, server_failure, use_embedded_server
from workers.search_attributes import ensure_search_attributes
from workers.tracing import open_tracing

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.service import TLSConfig

NAMESPACE_TIMEOUT = timedelta(seconds=30)
"""For the namespace of an embedded server to exist, once its port is open."""

RETENTION = timedelta(days=90)
"""Time that the embedded server keeps ended runs; its default is one day."""


@dataclass(frozen=True)
class TemporalService:
    """A connection to a Temporal service, with its address and Web UI."""

    client: "Client"
    address: str
    web_ui: str | None
    embedded: bool
    server: EmbeddedServer | None = None
    """The embedded server; None at a configured service."""

    @property
    def tls(self) -> "TLSConfig | None":
        """The client certificate for further connections of this process to the embedded server."""
        return self.server.credentials.tls() if self.server and self.server.credentials else None

    def run_link(self, run: str) -> str | None:
        """Return the URL of a run in the Web UI; None where the Web UI is not known."""
        return (
            f"{self.web_ui}/namespaces/{self.client.namespace}/workflows/{quote(run, safe='')}" if self.web_ui else None
        )


@asynccontextmanager
async def connect_service(settings: Settings, *, embedded_only: bool = False) -> AsyncIterator[TemporalService]:
    """Connect to the configured server, or to the embedded one, which is started if it does not run.

    The search attributes are registered before the context is entered. `embedded_only` ignores the configuration.
    Raises TemporalUnreachable if a configured server does not answer: no other server takes its place.
    """
    to = TemporalTarget(None, "default", {}) if embedded_only else read_target()
    async with open_tracing(settings) as plugins:
        more = {"keys": settings.make_key_ring(), "masker": settings.make_masker(), "plugins": plugins}
        async with _connect_or_start(settings, to, more) as service:
            yield service


@asynccontextmanager
async def _connect_or_start(
    settings: Settings, to: TemporalTarget, more: dict[str, Any]
) -> AsyncIterator[TemporalService]:
    if to.is_configured or to.has_default_address:
        # The embedded server of this home may be the configured one: then its certificate is needed. A webhook may have
        # no home.
        if (settings.home / "server").is_dir():
            with suppress(OSError):
                find_running_server(settings)
        try:
            client = await connect_to_target(to, **more)
        except TemporalUnreachable:
            if to.is_configured:
                raise
        else:
            await ensure_search_attributes(client)
            web_ui = settings.web_ui or _known_web_ui(client)
            yield TemporalService(client, client.service_client.config.target_host, web_ui, embedded=False)
            return
    async with use_embedded_server(settings) as server:
        client = await _connect_embedded(settings, server.address, more)
        await ensure_search_attributes(client)
        yield TemporalService(client, server.address, server.web_ui, embedded=True, server=server)


async def _connect_embedded(settings: Settings, address: str, more: dict[str, Any]) -> "Client":
    """Connect to a server that has just been started: its port is open shortly before its namespace exists.

    Raises ServerStartFailed with the reason if the server has died repeatedly since.
    """
    deadline = asyncio.get_running_loop().time() + NAMESPACE_TIMEOUT.total_seconds()
    while True:
        try:
            client = await connect_to_address(address, **more)
        except TemporalUnreachable:
            if (why := server_failure(settings)) is not None:
                raise ServerStartFailed(why) from None
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            await _extend_retention(client)
            return client


async def _extend_retention(client: "Client") -> None:
    """Raise the retention of ended runs at the embedded server to `RETENTION`."""
    from google.protobuf.duration_pb2 import Duration
    from temporalio.api.namespace.v1 import NamespaceConfig
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest

    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    if described.config.workflow_execution_retention_ttl.ToTimedelta() >= RETENTION:
        return
    retention = Duration()
    retention.FromTimedelta(RETENTION)
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(
            namespace=client.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=retention)
        )
    )


def _known_web_ui(client: "Client") -> str | None:
    """Return the Web UI of Temporal Cloud; that of any other server is known from the setting BATON_WEB_UI only."""
    host = client.service_client.config.target_host
    cloud = any(host.partition(":")[0].endswith(end) for end in (".tmprl.cloud", ".temporal.io"))
    return "https://cloud.temporal.io" if cloud else None
