"""Serves the webhook on a socket, inside the program that calls: `baton webhook`, `baton up`, a test."""

import asyncio
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

HEADERS_LIMIT = timedelta(seconds=10)
"""How long a connection may be open without a whole request head."""

CONNECTIONS = 1_000
"""Connections beyond so many are answered with 503."""

_HEAD_BYTES = 32 * 1024
_BACKLOG = 512
_FAREWELL = timedelta(seconds=10)
"""How long deliveries under way have when the server stops."""


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which lets go of those who never send a request. One connection is one request."""

    def __init__(self, config: uvicorn.Config, state: ServerState, patience: timedelta) -> None:
        super().__init__(config, state, {})
        self._patience = patience

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the request."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._patience.total_seconds(), self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if cast("RequestResponseCycle | None", self.cycle) is None:
            self.transport.abort()


@asynccontextmanager
async def serve(
    application: ASGIApp, host: str, port: int, *, patience: timedelta = HEADERS_LIMIT
) -> AsyncIterator[str]:
    """Serve while the block runs; gives the address, `http://127.0.0.1:8473`. Port 0 takes a free one.

    Raises UsageError where it cannot listen. On leaving, what is under way is answered first.
    """
    sock = _listen(host, port)
    config = uvicorn.Config(
        application,
        ws="none",
        lifespan="off",
        log_config=None,
        # Whoever passes by may send nonsense; it is answered, and not worth a line.
        log_level="error",
        access_log=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    config.load()
    state = ServerState()
    state.default_headers = [(b"connection", b"close")]
    server = await asyncio.get_running_loop().create_server(
        lambda: GuardedProtocol(config, state, patience), sock=sock, backlog=_BACKLOG
    )
    try:
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{sock.getsockname()[1]}"
    finally:
        server.close()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=_FAREWELL.total_seconds())
        for connection in list(state.connections):
            transport: asyncio.Transport = connection.transport
            transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks)


def _listen(host: str, port: int) -> socket.socket:
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
