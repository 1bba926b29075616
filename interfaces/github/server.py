"""Serves the webhook on a socket, inside the program that calls: `baton webhook`, `baton up`, a test."""

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

HEADERS_LIMIT = timedelta(seconds=10)
"""How long a connection may be open without a whole request head."""

CONNECTIONS = 1_000
"""Connections beyond so many are answered with 503."""

MAX_WAITING = 512
"""Connections whose request has not arrived whole. Of more, the one that has waited longest is let go: a crowd that
sends nothing shuts out only those who are as slow."""

_HEAD_BYTES = 32 * 1024
_BACKLOG = 512
_FAREWELL = timedelta(seconds=10)
"""How long deliveries under way have when the server stops."""


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which lets go of those who never send a request. One connection is one request."""

    def __init__(self, config: uvicorn.Config, state: ServerState, patience: timedelta, queue: "Queue") -> None:
        super().__init__(config, state, {})
        self._patience = patience
        self._queue = queue

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the request."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._patience.total_seconds(), self._give_up)
        self._queue.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._timer.cancel()
        self._queue.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what has come; a request that is whole waits no more."""
        super().data_received(data)
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.more_body:
            self._queue.leave(self)

    def let_go(self) -> None:
        """Make room for others."""
        self.transport.abort()

    def _give_up(self) -> None:
        if cast("RequestResponseCycle | None", self.cycle) is None:
            self.transport.abort()


class Queue:
    """The connections that wait for their request, in the order in which they came."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._waiting: dict[GuardedProtocol, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, connection: GuardedProtocol) -> None:
        """Begin to wait; of too many the first one is let go."""
        self._waiting[connection] = None
        while len(self._waiting) > self._room:
            first = next(iter(self._waiting))
            del self._waiting[first]
            first.let_go()

    def leave(self, connection: GuardedProtocol) -> None:
        """Wait no more."""
        self._waiting.pop(connection, None)


def room_for_waiting() -> int:
    """So many connections may wait that most of the files that this process may have open are left for others."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_WAITING if soft == resource.RLIM_INFINITY else max(16, min(MAX_WAITING, soft // 4))


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
    room = room_for_waiting()
    queue = Queue(room)
    server = await asyncio.get_running_loop().create_server(
        lambda: GuardedProtocol(config, state, patience, queue), sock=sock, backlog=min(_BACKLOG, room)
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
