"""The HTTP messages of the proxy: their events, the target of a request, the headers to forward, the refusals."""

import asyncio
from collections.abc import Iterable
from urllib.parse import urlsplit

import h11

IDLE_SECONDS = 600.0
PIECE = 1 << 16
"""Bytes that are read at once."""

Headers = list[tuple[bytes, bytes]]

# Hop-by-hop headers (https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1) and headers that are meant for proxies.
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


class IdleTimer:
    """The time of the last piece on a connection, in either direction: a long download is not an idle request."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()

    async def read_piece(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next piece. Raises TimeoutError after both directions were idle for too long."""
        while True:
            try:
                async with asyncio.timeout_at(self._last + IDLE_SECONDS):
                    piece = await reader.read(PIECE)
            except TimeoutError:
                if self._loop.time() < self._last + IDLE_SECONDS:
                    continue
                raise
            self._last = self._loop.time()
            return piece


async def next_event(
    connection: h11.Connection, reader: asyncio.StreamReader, timer: IdleTimer | None = None
) -> h11.Event:
    """Return the next event of a connection. Raises h11.ProtocolError, and TimeoutError by the timer."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await (timer.read_piece(reader) if timer else reader.read(PIECE)))
        elif event is h11.PAUSED:
            return h11.ConnectionClosed()
        else:
            assert not isinstance(event, type)
            return event


def parse_target(request: h11.Request) -> tuple[str, int, bytes]:
    """Return host, port and path of a request's target. Raises ValueError with a sentence for the client."""
    target = request.target.decode("ascii", "replace")
    names = [name for name, _value in request.headers]
    if request.method == b"CONNECT":
        if b"content-length" in names or b"transfer-encoding" in names:
            raise ValueError("A CONNECT has no body.")
        host, colon, digits = target.rpartition(":")
        if not colon or not digits.isdecimal() or len(digits) > 5:
            raise ValueError("A CONNECT names a host and a port.")
        return _check_host(host), int(digits), b""
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc:
        raise ValueError("This is a proxy for HTTP, and for HTTPS by CONNECT. Other protocols are not supported.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return _check_host(host), parts.port or 80, path.encode("ascii")


def _check_host(host: str) -> str:
    """Return a host that is safe in messages and headers. Raises ValueError for control characters and spaces."""
    if not host or len(host) > 253 or not host.isascii() or not host.isprintable() or set(host) & set(" /\\@?#'\"<>"):
        raise ValueError("That is not the name of a host.")
    return host


def forwarded_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers without those of one hop, which `Connection` may name, too."""
    listed = list(headers)
    named = {part.strip().lower() for name, value in listed if name == b"connection" for part in value.split(b",")}
    framed = any(name == b"transfer-encoding" for name, _value in listed)
    gone = _HOP | named | {b"host"} | ({b"content-length"} if framed else set())
    # The length of a body cannot be removed by naming it in `Connection`.
    gone -= {b"transfer-encoding"} | (set() if framed else {b"content-length"})
    return [(name, value) for name, value in listed if name not in gone]


def error_response(status: int, sentence: str) -> bytes:
    """Return a complete response that refuses a request with a sentence."""
    body = f"Baton: {sentence}\n".encode()
    head = f"HTTP/1.1 {status} {'Forbidden' if status == 403 else 'Refused'}\r\nContent-Type: text/plain; charset=utf-8"
    return f"{head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
