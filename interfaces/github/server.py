"""The HTTP server of the webhook, inside the calling program: `baton webhook`, `baton up`, a test."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from baton.errors import UsageError

HEAD_TIMEOUT = timedelta(seconds=10)
"""For a connection to send a whole request head."""

MAX_CONNECTIONS = 1_000
"""Further connections are answered with 503."""

MAX_WAITING = 512
"""Connections whose request has not arrived whole. Beyond that the one that has waited longest is dropped: a crowd of
silent connections shuts out only others that are as slow."""

_MAX_HEAD_BYTES = 32 * 1024
_BACKLOG = 512
_SHUTDOWN_TIMEOUT = timedelta(seconds=10)
"""For deliveries under way when the server stops."""


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP protocol with a timeout for the request head. One connection is one request."""

    def __init__(
        self, config: uvicorn.Config, state: ServerState, patience: timedelta, queue: "WaitingConnections"
    ) -> None:
        super().__init__(config, state, {})
        self._patience = patience
        self._queue = queue

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout, and queue the connection."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._patience.total_seconds(), self._drop_if_silent)
        self._queue.add_connection(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeout, and leave the queue."""
        self._timer.cancel()
        self._queue.remove_connection(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass data to the parser; leave the queue once the request is whole."""
        super().data_received(data)
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.more_body:
            self._queue.remove_connection(self)

    def drop_connection(self) -> None:
        """Drop the connection in favour of others."""
        self.transport.abort()

    def _drop_if_silent(self) -> None:
        if cast("RequestResponseCycle | None", self.cycle) is None:
            self.transport.abort()


class WaitingConnections:
    """The connections whose request has not arrived whole, in the order in which they came."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._waiting: dict[GuardedProtocol, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add_connection(self, connection: GuardedProtocol) -> None:
        """Add a connection; beyond the maximum drop the oldest one."""
        self._waiting[connection] = None
        while len(self._waiting) > self._maximum:
            first = next(iter(self._waiting))
            del self._waiting[first]
            first.drop_connection()

    def remove_connection(self, connection: GuardedProtocol) -> None:
        """Remove a connection; a no-op if it is not in the queue."""
        self._waiting.pop(connection, None)


def max_waiting_connections() -> int:
    """Return the maximum of waiting connections: at most a quarter of the files that this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_WAITING if soft == resource.RLIM_INFINITY else max(16, min(MAX_WAITING, soft // 4))


@asynccontextmanager
async def serve_webhook(
    application: ASGIApp, host: str, port: int, *, patience: timedelta = HEAD_TIMEOUT
) -> AsyncIterator[str]:
    """Serve while the block runs, which gets the address: `http://127.0.0.1:8473`. Port 0 takes a free one.

    Raises UsageError if it cannot listen. On leaving, requests under way are answered first.
    """
    sock = _open_socket(host, port)
    config = uvicorn.Config(
        application,
        ws="none",
        lifespan="off",
        log_config=None,
        # Invalid requests of strangers are answered, and not logged.
        log_level="error",
        access_log=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
    )
    config.load()
    state = ServerState()
    state.default_headers = [(b"connection", b"close")]
    maximum = max_waiting_connections()
    queue = WaitingConnections(maximum)
    server = await asyncio.get_running_loop().create_server(
        lambda: GuardedProtocol(config, state, patience, queue), sock=sock, backlog=min(_BACKLOG, maximum)
    )
    try:
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{sock.getsockname()[1]}"
    finally:
        server.close()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=_SHUTDOWN_TIMEOUT.total_seconds())
        for connection in list(state.connections):
            transport: asyncio.Transport = connection.transport
            transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks)


def _open_socket(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, proto)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise UsageError(
            f"The webhook cannot listen on {host}:{port}: {error.strerror}. Choose another address or port"
            " (BATON_GITHUB_WEBHOOK_HOST, BATON_GITHUB_WEBHOOK_PORT)."
        ) from error
    return sock
