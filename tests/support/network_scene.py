"""What the tests of the open network need: servers of this machine, names of the test's, a company's proxy."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

OWN = sorted(set(subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()))
"""The machine's own addresses."""
PUBLIC = "93.184.216.34"
"""An address that no test may reach: the tests fail by connecting to it, not by refusing."""


@dataclass
class Site:
    """A server of this machine: what it was asked, and what it answers."""

    port: int
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nREACHED"
    requests: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def site(answer: bytes | None = None, host: str = "127.0.0.1") -> AsyncIterator[Site]:
    """A server that reads a head, and then answers and ends; an answer of `b"echo"` gives all that comes back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if made.answer == b"echo":
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
        else:
            piece = await reader.read(65_536)
            made.requests.append(piece)
            writer.write(made.answer if piece else b"")
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    made = Site(server.sockets[0].getsockname()[1])
    if answer is not None:
        made.answer = answer
    try:
        yield made
    finally:
        server.close()


@contextmanager
def machine_port(host: str = "0.0.0.0") -> Iterator[tuple[int, socket.socket]]:
    """A port on every interface of this machine, as a service of the engine might have it; accepted by none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        listener.setblocking(False)
        yield listener.getsockname()[1], listener


def reached(listener: socket.socket) -> bool:
    """Whether anybody has connected."""
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


class Names:
    """A resolver of the test's: addresses by name, in turn where several lists are given; counts the questions."""

    def __init__(self, **names: Sequence[str] | list[list[str]]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str, _port: int) -> Sequence[str]:
        self.asked.append(name)
        found = self.names.get(name)
        if found is None:
            raise OSError("Name or service not known")
        if found and isinstance(found[0], list):
            return found[min(self.asked.count(name), len(found)) - 1]
        return list(map(str, found))


@asynccontextmanager
async def company_proxy(status: str = "200 OK") -> AsyncIterator[tuple[int, list[str]]]:
    """A proxy that asks for a user, notes its requests, and answers every tunnel itself."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        if status.startswith("200") and await reader.read(65_536):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nREACHED")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()
