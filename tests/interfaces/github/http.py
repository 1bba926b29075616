"""A client as hostile as need be: it says byte for byte what goes over the wire, and when."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came back; status 0: the connection was closed without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def says(self) -> dict[str, Any]:
        """The body as JSON."""
        return dict(json.loads(self.body))


def request(headers: Mapping[str, str], body: bytes = b"", *, method: str = "POST", path: str = "/webhook") -> bytes:
    """A request's bytes; `Content-Length` is added unless the headers say how the body is sent."""
    given = {"Host": "localhost", **headers}
    if not {"content-length", "transfer-encoding"} & {name.lower() for name in given}:
        given["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to `http://host:port`."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def answer(reader: asyncio.StreamReader) -> Answer:
    """Read to the end of the connection: the server closes it after its answer."""
    try:
        raw = await reader.read()
    except ConnectionError:
        raw = b""
    if not raw:
        return Answer(0, {}, b"")
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


async def send(address: str, raw: bytes) -> Answer:
    """Send bytes and read the answer."""
    reader, writer = await connect(address)
    try:
        writer.write(raw)
        try:
            await writer.drain()
        except ConnectionError:
            return Answer(0, {}, b"")
        return await answer(reader)
    finally:
        writer.close()


async def post(address: str, headers: Mapping[str, str], body: bytes, path: str = "/webhook") -> Answer:
    """Post a delivery."""
    return await send(address, request(headers, body, path=path))


async def get(address: str, path: str) -> Answer:
    """Get a page."""
    return await send(address, request({}, method="GET", path=path))
