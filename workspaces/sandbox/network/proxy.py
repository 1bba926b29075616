"""The proxy of an open network: the one way out of the sandbox, for HTTP and CONNECT, to open destinations only.

It listens on a Unix socket that only the sandbox of one command sees. Each connection carries one request or one tunnel
to one destination that was checked; a client that follows a redirect opens a new connection, which is checked again.
"""

import asyncio
import contextlib

import h11

from workspaces.sandbox.command import NetworkUse
from workspaces.sandbox.network.destinations import DestinationRefused, Destinations
from workspaces.sandbox.network.proxy_messages import (
    PIECE,
    IdleTimer,
    error_response,
    forwarded_headers,
    next_event,
    parse_target,
)
from workspaces.sandbox.network.upstream_proxy import CONNECT_SECONDS, Stream, UpstreamProxy, connect_through

MAX_CONNECTIONS = 128
"""Concurrent connections of one command; uv opens some fifty."""

MAX_BYTES = 8 << 30
"""Bytes of one command, both directions together."""

MAX_HEAD = 32 << 10
HEAD_SECONDS = 30.0
_LINGER_SECONDS = 2.0


class Proxy:
    """The proxy of one command; `use` records its connections and refusals."""

    def __init__(self, destinations: Destinations, upstream: UpstreamProxy | None = None) -> None:
        self._destinations = destinations
        self._upstream = upstream
        self._left = MAX_BYTES
        self._clients: set[asyncio.Task[None]] = set()
        self.use = NetworkUse()

    async def handle_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            # Some connections above the maximum are accepted, to be refused with a sentence.
            if len(self._clients) <= 2 * MAX_CONNECTIONS:
                await self._serve_request(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError, EOFError):
            pass  # one side is gone or does not speak HTTP: the other one sees the connection end
        finally:
            self._clients.discard(task)
            await _close_writer(writer)

    async def close_clients(self) -> None:
        """Close all open connections."""
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _serve_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                request = await next_event(client, reader)
            if not isinstance(request, h11.Request):
                return
            host, port, path = parse_target(request)
        except h11.RemoteProtocolError:
            await _refuse_client(reader, writer, error_response(400, "This is not a request that a proxy takes."))
            return
        except ValueError as error:
            await _refuse_client(reader, writer, error_response(400, str(error)))
            return
        if len(self._clients) > MAX_CONNECTIONS:
            text = f"More than {MAX_CONNECTIONS} connections at once are not open."
            await _refuse_client(reader, writer, error_response(503, text))
            return
        shown = f"{host.lower()[:253]}:{port}"
        try:
            remote = await self._connect_destination(host, port)
        except DestinationRefused as refusal:
            self.use.record_refusal(shown, str(refusal))
            await _refuse_client(reader, writer, error_response(403, f"the network refused {shown}: {refusal}."))
            return
        except (OSError, TimeoutError) as error:
            reason = "it did not answer in time" if isinstance(error, TimeoutError) else _error_text(error)
            self.use.record_refusal(shown, f"it cannot be reached: {reason}")
            await _refuse_client(reader, writer, error_response(502, f"{shown} cannot be reached: {reason}."))
            return
        self.use.count_connection(shown)
        try:
            if request.method == b"CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                rest, _ended = client.trailing_data
                await self._run_tunnel((reader, writer), remote, rest)
            else:
                await self._exchange_request(client, (reader, writer), remote, request, f"{host}:{port}", path)
        finally:
            await _close_writer(remote[1])

    async def _connect_destination(self, host: str, port: int) -> Stream:
        """Connect to a checked address, through the machine's own proxy if the host requires it. Raises Refused."""
        name, grant = self._destinations.admit_host(host, port)
        upstream = self._upstream if self._upstream and self._upstream.serves_host(name) else None
        try:
            addresses = await self._destinations.resolve_addresses(name, port, grant)
        except OSError:
            # Behind a proxy names may be unknown here; a name that a person granted is left to the proxy.
            if upstream is None:
                raise
            if grant is None:
                raise DestinationRefused(
                    "this machine cannot look the name up, so the proxy is asked only for names that a person allows"
                    " by BATON_NETWORK_ALLOW"
                ) from None
            addresses = []
        if upstream is not None:
            # The proxy might resolve a stranger's name differently, so it gets the checked address.
            return await connect_through(upstream, name if grant is not None or not addresses else addresses[0], port)
        fault: OSError = OSError("no address")
        for address in addresses:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(address, port)
            except TimeoutError:
                fault = TimeoutError("it did not answer in time")
            except OSError as error:
                fault = error
        raise fault

    async def _run_tunnel(self, client: Stream, remote: Stream, rest: bytes) -> None:
        remote[1].write(rest)
        self._count_bytes(len(rest))
        timer = IdleTimer()
        async with asyncio.TaskGroup() as both:
            both.create_task(self._copy_direction(client[0], remote[1], timer))
            both.create_task(self._copy_direction(remote[0], client[1], timer))

    async def _copy_direction(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timer: IdleTimer
    ) -> None:
        try:
            while piece := await timer.read_piece(reader):
                self._count_bytes(len(piece))
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, TimeoutError):
            # Both directions end with either, because a half-open connection would count against the maximum.
            writer.transport.abort()

    async def _exchange_request(
        self, client: h11.Connection, near: Stream, far: Stream, request: h11.Request, authority: str, path: bytes
    ) -> None:
        """Forward one plain request and its response; both are parsed and serialised again, so no bytes pass unseen."""
        server = h11.Connection(h11.CLIENT)
        host = authority.removesuffix(":80").encode()
        headers = [(b"Host", host), *forwarded_headers(request.headers), (b"Connection", b"close")]
        far[1].write(server.send(h11.Request(method=request.method, target=path, headers=headers)) or b"")
        timer = IdleTimer()
        body = asyncio.create_task(self._send_body(client, near[0], server, far[1], timer))
        try:
            await self._send_response(server, far[0], client, near[1], timer)
        finally:
            body.cancel()
            await asyncio.gather(body, return_exceptions=True)

    async def _send_body(
        self,
        client: h11.Connection,
        near: asyncio.StreamReader,
        server: h11.Connection,
        far: asyncio.StreamWriter,
        timer: IdleTimer,
    ) -> None:
        while not isinstance(event := await next_event(client, near, timer), h11.ConnectionClosed | h11.EndOfMessage):
            if isinstance(event, h11.Data):
                self._count_bytes(len(event.data))
                far.write(server.send(event) or b"")
                await far.drain()
        if isinstance(event, h11.EndOfMessage):
            far.write(server.send(h11.EndOfMessage()) or b"")
            await far.drain()

    async def _send_response(
        self,
        server: h11.Connection,
        far: asyncio.StreamReader,
        client: h11.Connection,
        near: asyncio.StreamWriter,
        timer: IdleTimer,
    ) -> None:
        while not isinstance(event := await next_event(server, far, timer), h11.ConnectionClosed | h11.EndOfMessage):
            if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                near.write(client.send(event) or b"")
            elif isinstance(event, h11.Response):
                headers = [*forwarded_headers(event.headers), (b"Connection", b"close")]
                answer = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
                near.write(client.send(answer) or b"")
            elif isinstance(event, h11.Data):
                self._count_bytes(len(event.data))
                near.write(client.send(event) or b"")
                await near.drain()
        if isinstance(event, h11.EndOfMessage):
            near.write(client.send(h11.EndOfMessage()) or b"")
            await near.drain()

    def _count_bytes(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            self.use.cut = f"the command has moved more than {MAX_BYTES >> 30} GiB; its connections were ended"
            raise TimeoutError(self.use.cut)


async def _refuse_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Send a response and read on for a moment, because closing with unread input may discard the response."""
    writer.write(answer)
    writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while await reader.read(PIECE):
                pass


def _error_text(error: OSError) -> str:
    return (error.strerror or str(error) or "no connection").lower()[:120]


async def _close_writer(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CONNECT_SECONDS):
            await writer.wait_closed()
