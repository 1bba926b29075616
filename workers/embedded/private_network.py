"""The private network of the embedded Temporal server, which asks for no credential itself, and the door in front.

The supervisor starts `python -I -S private_network.py STATUS API UI LOCK TLS -- COMMAND...` with descriptors of a pipe,
of two listening sockets and of the server's lock. The process enters a network namespace, forks the door as a child
outside, and executes the server, so that the supervisor's child is the server itself. The door forwards connections:
to the API for clients with the client's key (TLS), to the Web UI for the same user, or root. Standard library only.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import ssl
import struct
import sys
import time
from pathlib import Path

INNER_PORTS = (7233, 8233)
"""Ports of API and Web UI inside the network namespace."""

START_LIMIT = 30.0
"""Seconds for the server to listen."""
HANDSHAKE_LIMIT = 10.0

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # https://man7.org/linux/man-pages/man2/unshare.2.html
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1  # https://man7.org/linux/man-pages/man7/netdevice.7.html
_PR_SET_PDEATHSIG = 1
_ESTABLISHED = "01"

_FORBIDDEN = b"This is the Web UI of another user's server.\n"
_REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    % (
        len(_FORBIDDEN),
        _FORBIDDEN,
    )
)


class RelayEnd(asyncio.Protocol):
    """One end of a forwarded connection: it passes its data to the other end, with the other's flow control."""

    def __init__(self, other: "RelayEnd | None" = None) -> None:
        self.other = other
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, with Nagle's algorithm off."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Pass the data to the other end."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        """Stop reading at the other end."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume reading at the other end."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        """Close the other end, too, once its buffer is written."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()
        self.transport = None


class ClientEnd(RelayEnd):
    """The end towards a client; the other one is made when the client is admitted."""

    def __init__(self, port: int, users: "ConnectionOwners | None" = None) -> None:
        super().__init__()
        self._port = port
        self._users = users
        self._joining: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit or refuse the client; with TLS its certificate was checked before."""
        super().connection_made(transport)
        assert self.transport is not None
        if self._users is not None and not self._users.is_admitted(transport):
            self.transport.write(_REFUSAL)
            self.transport.close()
            return
        self.transport.pause_reading()
        self._joining = asyncio.get_running_loop().create_task(self._connect_server())

    async def _connect_server(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _transport, far = await loop.create_connection(lambda: RelayEnd(self), "127.0.0.1", self._port)
        except OSError:
            if self.transport is not None:
                self.transport.close()
            return
        self.other = far
        if self.transport is None:
            assert far.transport is not None
            far.transport.close()
        else:
            self.transport.resume_reading()


class ConnectionOwners:
    """The users of connections, from the kernel's tables: https://man7.org/linux/man-pages/man5/proc_net.5.html"""

    def __init__(self, tables: "list[int]") -> None:
        self._tables = tables

    def is_admitted(self, transport: asyncio.BaseTransport) -> bool:
        """Whether the other end belongs to this user or to root; True where there are no tables to read."""
        if not self._tables:
            return True
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        return self.find_owner(kernel_address(peer), kernel_address(own)) in (os.getuid(), 0)

    def find_owner(self, local: str, remote: str) -> "int | None":
        """Return the user id of an established connection; None for an ended one, which is listed as root's."""
        for table in self._tables:
            os.lseek(table, 0, os.SEEK_SET)
            with os.fdopen(os.dup(table)) as rows:
                lines = rows.readlines()[1:]
            for line in lines:
                fields = line.split()
                ends = (fields[1].removeprefix(MAPPED), fields[2].removeprefix(MAPPED))
                if ends == (local, remote) and fields[3] == _ESTABLISHED:
                    return int(fields[7])
        return None


MAPPED = "0000000000000000FFFF0000"
"""Prefix of an IPv4 address in the table of IPv6."""


def kernel_address(address: "tuple[str, int]") -> str:
    """Return an IPv4 address and port as the kernel's tables write them."""
    number = struct.unpack("=I", socket.inet_aton(address[0]))[0]
    return f"{number:08X}:{address[1]:04X}"


def open_tables() -> "list[int]":
    """Open the tables of connections, before the namespace is entered: a table is that of the opener's namespace."""
    found = []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            found.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    return found


def enter_namespace() -> bool:
    """Enter a network namespace with a loopback only; False where this machine does not permit one."""
    if sys.platform != "linux":
        return False
    # A child tries all of it first: there is no way back out of half a namespace.
    probe = os.fork()
    if probe == 0:
        with contextlib.suppress(OSError):
            _unshare_network()
            os._exit(0)
        os._exit(1)
    if os.waitpid(probe, 0)[1] != 0:
        return False
    _unshare_network()
    return True


def _unshare_network() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWNET) != 0:
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def free_ports() -> "tuple[int, int]":
    """Return two free ports of this machine, for a server without a network of its own."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def is_listening(port: int) -> bool:
    """Whether a server listens on a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def make_tls_context(directory: Path) -> ssl.SSLContext:
    """Return the TLS context that requires a client certificate of this home's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    context.load_verify_locations(directory / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


async def serve_door(
    api: socket.socket,
    ui: socket.socket,
    ports: "tuple[int, int]",
    tls: Path,
    users: ConnectionOwners,
    ready: "list[str]",
    status: int,
) -> None:
    """Serve until killed; write `ready` to the supervisor as soon as the server answers."""
    loop = asyncio.get_running_loop()
    context = make_tls_context(tls)
    deadline = time.monotonic() + START_LIMIT
    while not all(map(is_listening, ports)):
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.02)
    await loop.create_server(
        lambda: ClientEnd(ports[0]), sock=api, ssl=context, ssl_handshake_timeout=HANDSHAKE_LIMIT, backlog=512
    )
    await loop.create_server(lambda: ClientEnd(ports[1], users), sock=ui, backlog=512)
    os.write(status, (" ".join(["ready", *ready]) + "\n").encode())
    await asyncio.Event().wait()


def main(arguments: "list[str]") -> None:
    """Run the process with its command-line arguments."""
    status, api, ui, lock = map(int, arguments[:4])
    tls, command = Path(arguments[4]), arguments[6:]
    for descriptor in (status, api, ui):
        os.set_inheritable(descriptor, False)
    known = open_tables()
    isolated = enter_namespace()
    ports = INNER_PORTS if isolated else free_ports()
    server = os.getpid()
    if os.fork() == 0:
        os.close(lock)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server:
            ready = [str(0 if isolated else ports[0]), str(int(bool(known)))]
            sockets = (socket.socket(fileno=api), socket.socket(fileno=ui))
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(serve_door(*sockets, ports, tls, ConnectionOwners(known), ready, status))
        os._exit(1)
    if sys.platform == "linux":
        # A change of credentials (unshare) may have cleared it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execv(command[0], [*command, "--port", str(ports[0]), "--ui-port", str(ports[1])])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
