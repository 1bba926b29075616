"""The server of a stand-in on a real socket, inside a test or a demo (`serve`), or alone (`run_forever`)."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from baton.errors import UsageError
from standin.api.schema import build_adapters
from standin.script.scenario import Scenario
from standin.script.scenario_file import load_scenario
from standin.server.app import StandIn
from standin.server.wire import TRANSPORT


class _Protocol(H11Protocol):
    """uvicorn's HTTP protocol, with the transport in the ASGI scope, because faults break the connection itself."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        inner: Any = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            await inner({**scope, TRANSPORT: transport}, receive, send)

        self.app = with_transport


def _bind_socket(host: str, port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only on sockets with IPPROTO_TCP. Without it an answer takes 40 ms longer.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise UsageError(
            f"The stand-in cannot listen on {host}:{port}: {error.strerror}. Choose another port."
        ) from error
    return sock


@asynccontextmanager
async def serve_scenario(
    scenario: Scenario, port: int = 0, host: str = "127.0.0.1", *, keep_bodies: bool = False
) -> AsyncIterator[StandIn]:
    """Serve a scenario during a block; `base_url` is its URL, `requests` is its log.

    Port 0 picks a free one. `keep_bodies` keeps every request's body in its record. The end of the block aborts open
    connections. Raises UsageError if the port cannot be bound.
    """
    standin = StandIn(scenario, keep_bodies=keep_bodies)
    # Without a log configuration uvicorn does not change the process's logging.
    config = uvicorn.Config(
        standin.build_application(),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=3600,
    )
    config.load()
    build_adapters()
    state = ServerState()
    loop = asyncio.get_running_loop()
    sock = _bind_socket(host, port)
    server = await loop.create_server(lambda: _Protocol(config, state, {}, loop), sock=sock, backlog=512)
    name = f"[{host}]" if ":" in host else host
    standin.base_url = f"http://{name}:{sock.getsockname()[1]}"
    try:
        yield standin
    finally:
        server.close()
        for connection in list(state.connections):
            transport: asyncio.Transport = connection.transport
            transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks)


async def _until_stopped(scenario: Scenario, host: str, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with serve_scenario(scenario, port=port, host=host) as standin:
        print(f"Stand-in for the Messages API: {standin.base_url} (scripted answers, no model)", flush=True)  # noqa: T201
        await stopped.wait()


def run_forever(scenario_path: str | Path, host: str = "127.0.0.1", port: int = 0) -> None:
    """Serve a scenario file, or a shipped scenario by its name, until SIGINT or SIGTERM.

    Prints one line with the address on stdout; raises ConfigurationError for the file, UsageError for the port.
    """
    asyncio.run(_until_stopped(load_scenario(scenario_path), host, port))
