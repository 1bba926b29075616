"""The proxy of an open network: the one way out of the sandbox, for HTTP and for CONNECT, to open destinations only.

It listens on a Unix socket that only the sandbox of one command sees. Each connection carries one request, or one
tunnel, to one destination that was looked at; a client that is redirected comes back and is looked at again.
"""

import asyncio
import base64
import contextlib
import ssl
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import h11

from baton.errors import ConfigurationError
from workspaces.sandbox.command import NetworkUse
from workspaces.sandbox.network.destinations import Destinations, Refused

MAX_CONNECTIONS = 128
"""At once, of one command; uv opens some fifty."""

MAX_BYTES = 8 << 30
"""Of one command, both directions together."""

MAX_HEAD = 32 << 10
HEAD_SECONDS = 30.0
CONNECT_SECONDS = 20.0
IDLE_SECONDS = 600.0
_LINGER_SECONDS = 2.0
_PIECE = 1 << 16

# https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1, and what is meant for proxies.
_HOP = frozenset(
    [
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"upgrade",
        b"via",
        b"forwarded",
        b"x-forwarded-for",
        b"proxy-connection",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"proxy-authentication-info",
    ]
)

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Upstream:
    """The proxy that this machine itself has to use, by the person's environment."""

    host: str
    port: int
    tls: bool = False
    authorization: str = field(default="", repr=False)
    bypass: str = ""
    """`NO_PROXY`: hosts that are reached without it."""

    @classmethod
    def parse(cls, url: str | None, bypass: str | None) -> "Upstream | None":
        """Read `HTTPS_PROXY` and `NO_PROXY`; raises ConfigurationError, without the value, for one that is no use."""
        if not url:
            return None
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
            parts = urlsplit("")
        if not host or parts.scheme not in ("http", "https"):
            raise ConfigurationError("HTTPS_PROXY is not the URL of an HTTP proxy: commands get no network through it.")
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        token = f"Basic {base64.b64encode(user.encode()).decode()}" if user else ""
        tls = parts.scheme == "https"
        return cls(host, port or (443 if tls else 80), tls, token, bypass or "")

    def serves(self, name: str) -> bool:
        """Whether a host is to be reached through it."""
        return not urllib.request.proxy_bypass_environment(name, {"no": self.bypass})  # type: ignore[attr-defined]


class Proxy:
    """The proxy of one command; `use` tells what came of it."""

    def __init__(self, destinations: Destinations, upstream: Upstream | None = None) -> None:
        self._destinations = destinations
        self._upstream = upstream
        self._left = MAX_BYTES
        self._clients: set[asyncio.Task[None]] = set()
        self.use = NetworkUse()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            # A few more are listened to, for long enough to be told.
            if len(self._clients) <= 2 * MAX_CONNECTIONS:
                await self._serve(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError, EOFError):
            pass  # one of both ends is gone, or does not speak HTTP: the other one sees the connection end
        finally:
            self._clients.discard(task)
            await _close(writer)

    async def close(self) -> None:
        """End what is still open."""
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                request = await _next(client, reader)
            if not isinstance(request, h11.Request):
                return
            host, port, path = _target(request)
        except h11.RemoteProtocolError:
            await _refuse(reader, writer, _answer(400, "This is not a request that a proxy takes."))
            return
        except ValueError as error:
            await _refuse(reader, writer, _answer(400, str(error)))
            return
        if len(self._clients) > MAX_CONNECTIONS:
            text = f"More than {MAX_CONNECTIONS} connections at once are not open."
            await _refuse(reader, writer, _answer(503, text))
            return
        shown = f"{host.lower()[:253]}:{port}"
        try:
            remote = await self._dial(host, port)
        except Refused as refusal:
            self.use.refuse(shown, str(refusal))
            await _refuse(reader, writer, _answer(403, f"the network refused {shown}: {refusal}."))
            return
        except (OSError, TimeoutError) as error:
            reason = "it did not answer in time" if isinstance(error, TimeoutError) else _words(error)
            self.use.refuse(shown, f"it cannot be reached: {reason}")
            await _refuse(reader, writer, _answer(502, f"{shown} cannot be reached: {reason}."))
            return
        self.use.reach(shown)
        try:
            if request.method == b"CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                rest, _ended = client.trailing_data
                await self._tunnel((reader, writer), remote, rest)
            else:
                await self._exchange(client, (reader, writer), remote, request, f"{host}:{port}", path)
        finally:
            await _close(remote[1])

    async def _dial(self, host: str, port: int) -> Stream:
        """Connect to an address that was looked at; through the machine's own proxy where it has to use one."""
        name, grant = self._destinations.admit(host, port)
        upstream = self._upstream if self._upstream and self._upstream.serves(name) else None
        try:
            addresses = await self._destinations.addresses(name, port, grant)
        except OSError:
            # Behind a proxy names may be unknown here; one that a person named is left to the proxy.
            if upstream is None:
                raise
            if grant is None:
                raise Refused(
                    "this machine cannot look the name up, so the proxy is asked only for names that a person allows"
                    " by BATON_NETWORK_ALLOW"
                ) from None
            addresses = []
        if upstream is not None:
            # A name of a stranger's might lead the proxy elsewhere than us: it is asked for the address.
            return await _through(upstream, name if grant is not None or not addresses else addresses[0], port)
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

    async def _tunnel(self, client: Stream, remote: Stream, rest: bytes) -> None:
        remote[1].write(rest)
        self._spend(len(rest))
        pulse = _Pulse()
        async with asyncio.TaskGroup() as both:
            both.create_task(self._copy(client[0], remote[1], pulse))
            both.create_task(self._copy(remote[0], client[1], pulse))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pulse: "_Pulse") -> None:
        try:
            while piece := await pulse.read(reader):
                self._spend(len(piece))
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, TimeoutError):
            # Both directions end with either: a half that waits for ever would hold its place.
            writer.transport.abort()

    async def _exchange(
        self, client: h11.Connection, near: Stream, far: Stream, request: h11.Request, authority: str, path: bytes
    ) -> None:
        """One plain request and its response; both are taken apart and written anew, so nothing hides in them."""
        server = h11.Connection(h11.CLIENT)
        host = authority.removesuffix(":80").encode()
        headers = [(b"Host", host), *_passed_on(request.headers), (b"Connection", b"close")]
        far[1].write(server.send(h11.Request(method=request.method, target=path, headers=headers)) or b"")
        pulse = _Pulse()
        body = asyncio.create_task(self._send_body(client, near[0], server, far[1], pulse))
        try:
            await self._send_response(server, far[0], client, near[1], pulse)
        finally:
            body.cancel()
            await asyncio.gather(body, return_exceptions=True)

    async def _send_body(
        self,
        client: h11.Connection,
        near: asyncio.StreamReader,
        server: h11.Connection,
        far: asyncio.StreamWriter,
        pulse: "_Pulse",
    ) -> None:
        while not isinstance(event := await _next(client, near, pulse), h11.ConnectionClosed | h11.EndOfMessage):
            if isinstance(event, h11.Data):
                self._spend(len(event.data))
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
        pulse: "_Pulse",
    ) -> None:
        while not isinstance(event := await _next(server, far, pulse), h11.ConnectionClosed | h11.EndOfMessage):
            if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                near.write(client.send(event) or b"")
            elif isinstance(event, h11.Response):
                headers = [*_passed_on(event.headers), (b"Connection", b"close")]
                answer = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
                near.write(client.send(answer) or b"")
            elif isinstance(event, h11.Data):
                self._spend(len(event.data))
                near.write(client.send(event) or b"")
                await near.drain()
        if isinstance(event, h11.EndOfMessage):
            near.write(client.send(h11.EndOfMessage()) or b"")
            await near.drain()

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            self.use.cut = f"the command has moved more than {MAX_BYTES >> 30} GiB; its connections were ended"
            raise TimeoutError(self.use.cut)


class _Pulse:
    """When a connection last moved, in either direction: a long download is no idle request."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """The next piece; TimeoutError once the whole connection was idle for too long."""
        while True:
            try:
                async with asyncio.timeout_at(self._last + IDLE_SECONDS):
                    piece = await reader.read(_PIECE)
            except TimeoutError:
                if self._loop.time() < self._last + IDLE_SECONDS:
                    continue
                raise
            self._last = self._loop.time()
            return piece


async def _next(connection: h11.Connection, reader: asyncio.StreamReader, pulse: _Pulse | None = None) -> h11.Event:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await (pulse.read(reader) if pulse else reader.read(_PIECE)))
        elif event is h11.PAUSED:
            return h11.ConnectionClosed()
        else:
            assert not isinstance(event, type)
            return event


def _target(request: h11.Request) -> tuple[str, int, bytes]:
    """Host, port and path that a request asks for; ValueError with what to do instead."""
    target = request.target.decode("ascii", "replace")
    names = [name for name, _value in request.headers]
    if request.method == b"CONNECT":
        if b"content-length" in names or b"transfer-encoding" in names:
            raise ValueError("A CONNECT has no body.")
        host, colon, digits = target.rpartition(":")
        if not colon or not digits.isdecimal() or len(digits) > 5:
            raise ValueError("A CONNECT names a host and a port.")
        return _plain(host), int(digits), b""
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc:
        raise ValueError("This is a proxy for HTTP, and for HTTPS by CONNECT. Other protocols are not supported.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return _plain(host), parts.port or 80, path.encode("ascii")


def _plain(host: str) -> str:
    """A host as it may stand in messages and in a header: no control characters, no spaces."""
    if not host or len(host) > 253 or not host.isascii() or not host.isprintable() or set(host) & set(" /\\@?#'\"<>"):
        raise ValueError("That is not the name of a host.")
    return host


def _passed_on(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    listed = list(headers)
    named = {part.strip().lower() for name, value in listed if name == b"connection" for part in value.split(b",")}
    framed = any(name == b"transfer-encoding" for name, _value in listed)
    gone = _HOP | named | {b"host"} | ({b"content-length"} if framed else set())
    # How long a body is, is not the sender's to take back by calling it a hop's matter.
    gone -= {b"transfer-encoding"} | (set() if framed else {b"content-length"})
    return [(name, value) for name, value in listed if name not in gone]


async def _through(upstream: Upstream, host: str, port: int) -> Stream:
    context = ssl.create_default_context() if upstream.tls else None
    async with asyncio.timeout(CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(upstream.host, upstream.port, ssl=context)
        try:
            authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
            lines += [f"Proxy-Authorization: {upstream.authorization}"] if upstream.authorization else []
            writer.write("\r\n".join([*lines, "", ""]).encode("ascii"))
            head = await reader.readuntil(b"\r\n\r\n")
            status = head.split(b"\r\n", 1)[0].split()
            if len(status) < 2 or not status[1].startswith(b"2"):
                shown = status[1][:3].decode("ascii", "replace") if len(status) > 1 else "no HTTP"
                raise OSError(f"the machine's own proxy answers {shown}")
        except BaseException as error:
            writer.transport.abort()
            if isinstance(error, asyncio.IncompleteReadError | asyncio.LimitOverrunError):
                raise OSError("the machine's own proxy gives no answer") from error
            raise
    return reader, writer


def _answer(status: int, sentence: str) -> bytes:
    body = f"Baton: {sentence}\n".encode()
    head = f"HTTP/1.1 {status} {'Forbidden' if status == 403 else 'Refused'}\r\nContent-Type: text/plain; charset=utf-8"
    return f"{head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Answer, and read on for a moment: a connection that ends with something unread may lose the answer."""
    writer.write(answer)
    writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while await reader.read(_PIECE):
                pass


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or "no connection").lower()[:120]


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CONNECT_SECONDS):
            await writer.wait_closed()
