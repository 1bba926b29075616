"""The connection to a Temporal service, by Temporal's own conventions: `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`,
`TEMPORAL_API_KEY`, TLS, and profiles in the `temporal` command's configuration file. All commands ask this module
whether a server is configured: https://docs.temporal.io/develop/environment-configuration
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from baton.errors import ConfigurationError, TemporalUnreachable
from baton.settings.encryption_keys import KeyRing
from baton.text.key_masker import KeyMasker
from baton.text.redaction import strip_url_credentials

if TYPE_CHECKING:
    from temporalio.client import Client

DEFAULT_ADDRESS = "localhost:7233"
"""The address that the `temporal` command uses where none is configured."""

CONNECT_TIMEOUT = timedelta(seconds=5)
"""A configured server that has not answered by then is unreachable."""


@dataclass(frozen=True)
class TemporalTarget:
    """The Temporal server that the environment or a profile names."""

    address: str | None
    """None where neither names an address."""
    namespace: str
    config: dict[str, Any]
    """Keyword arguments of `Client.connect`."""

    @property
    def is_configured(self) -> bool:
        """Whether an address is configured, so that no embedded server is started."""
        return self.address is not None

    @property
    def has_default_address(self) -> bool:
        """Whether a namespace or the like is configured without an address: then the default address is tried first."""
        return self.address is None and bool(self.config)


def read_target() -> TemporalTarget:
    """Read environment and profile; raises ConfigurationError where the file or a combination of values is invalid."""
    from temporalio.envconfig import ClientConfig

    try:
        config = dict(ClientConfig.load_client_connect_config())
    except (RuntimeError, ValueError, OSError) as error:
        # The first line only: the others quote lines of the file, which may hold a key.
        reason = (str(error).splitlines() or ["unknown reason"])[0]
        raise ConfigurationError(f"Temporal's configuration (TEMPORAL_*, profile) cannot be read: {reason}.") from error
    address = config.pop("target_host", None)
    if address is not None and "://" in str(address):
        raise ConfigurationError(
            f"The Temporal address {strip_url_credentials(str(address))} is a URL: TEMPORAL_ADDRESS (or the profile's"
            " address) is host:port, for instance localhost:7233."
        )
    if address is None and (config.get("api_key") or config.get("tls")):
        raise ConfigurationError("A Temporal API key or TLS is configured, but no address: set TEMPORAL_ADDRESS.")
    return TemporalTarget(str(address) if address else None, str(config.get("namespace", "default")), config)


async def connect_to_target(
    to: TemporalTarget | None = None, timeout: timedelta = CONNECT_TIMEOUT, **more: Any
) -> "Client":
    """Connect to the configured server, or to Temporal's default address where none is configured.

    `more` is passed on to `connect_to_address`. Raises TemporalUnreachable if the server does not answer within the
    timeout, or
    does not have the namespace.
    """
    to = to or read_target()
    return await connect_to_address(to.address or DEFAULT_ADDRESS, timeout, **more, **to.config)


async def connect_to_address(
    address: str,
    timeout: timedelta = CONNECT_TIMEOUT,
    *,
    keys: KeyRing | None = None,
    masker: KeyMasker | None = None,
    **config: Any,
) -> "Client":
    """Connect to one address and check that the namespace exists; `config` as for `Client.connect`, plugins included.

    At an embedded server that this process knows, the client presents its certificate. Before payloads and failures
    leave this process, `masker` masks the engine's secrets in them, and `keys` encrypt them. Raises
    TemporalUnreachable with the reason.
    """
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.client import Client
    from temporalio.service import RPCError, RPCStatusCode

    from workers.data_converter import make_data_converter
    from workers.embedded.server import server_at
    from workers.sdk_runtime import sdk_runtime

    server = server_at(address.replace("localhost:", "127.0.0.1:"))
    if server is not None and server.credentials is not None and not config.get("tls"):
        try:
            config["tls"] = server.credentials.tls()
        except OSError as error:
            raise TemporalUnreachable(
                f"The embedded server at {address} asks for a certificate, and {error.filename} cannot be read"
                f" ({error.strerror}): only its owner has it; the next start of the server makes a missing one anew."
            ) from error
    converter = make_data_converter(keys, masker)
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            client = await Client.connect(address, data_converter=converter, runtime=sdk_runtime(), **config)
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except (TimeoutError, RuntimeError, ValueError) as error:
        # The SDK raises RuntimeError for a connection that fails, ValueError for an invalid address.
        raise TemporalUnreachable(
            f"No Temporal service answers at {address}: start it, or set TEMPORAL_ADDRESS to the right one,"
            " or unset it to use Baton's own server."
        ) from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise TemporalUnreachable(
                f"The Temporal service at {address} has no namespace {config.get('namespace', 'default')}: create it,"
                " or set TEMPORAL_NAMESPACE."
            ) from error
        if error.status in (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED):
            raise TemporalUnreachable(
                f"The Temporal service at {address} refuses these credentials ({error.message}): check"
                " TEMPORAL_API_KEY, TLS and TEMPORAL_NAMESPACE."
            ) from error
        raise TemporalUnreachable(
            f"The Temporal service at {address} answers with an error: {error.message}."
        ) from error
    return client
