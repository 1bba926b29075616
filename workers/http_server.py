"""The HTTP server for an ASGI application inside a command, which keeps its own signal handlers."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from baton.errors import UsageError

_SHUTDOWN_SECONDS = 5
"""Time for requests under way once the server is to stop; uvicorn takes whole seconds."""


class _Server(uvicorn.Server):
    """uvicorn's server without signal handlers: they belong to the command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def serve_http(app: ASGIApp, host: str, port: int, what: str) -> AsyncIterator[str]:
    """Serve until the context is left, which gets the base URL. Port 0 takes a free one.

    Raises UsageError, which names the server as `what`, if it cannot listen there.
    """
    sock = _open_socket(host, port, what)
    # Without a log configuration uvicorn leaves the process's logging alone.
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=_SHUTDOWN_SECONDS
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not server.started and not running.done():  # noqa: ASYNC110 - uvicorn sets no event
            await asyncio.sleep(0.01)
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        sock.close()


def _open_socket(host: str, port: int, what: str) -> socket.socket:
    # With the protocol TCP named: asyncio disables Nagle's algorithm (40 ms an answer) on such sockets only.
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise UsageError(f"The {what} cannot listen on {host}:{port}: {error.strerror or error}.") from error
    return sock
