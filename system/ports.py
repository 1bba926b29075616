"""TCP ports of the loopback address: listen on one, test one, choose one."""

import socket

_LOOPBACK = "127.0.0.1"
_MAX_WAITING = 512
"""Connections that wait to be accepted."""


class PortTaken(Exception):
    """Another program has the port."""


def listen_on(port: int) -> socket.socket:
    """Return a socket that listens on a port. Raises PortTaken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_LOOPBACK, port))
        listener.listen(_MAX_WAITING)
    except OSError as error:
        listener.close()
        raise PortTaken(port) from error
    return listener


def is_free(port: int) -> bool:
    """Whether a program could listen on a port now; False for 0 and for numbers that are no port."""
    if not 0 < port < 65_536:
        return False
    with socket.socket() as probe:
        # As a server does: connections that have just ended do not block the port, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port(preferred: int = 0) -> int:
    """Return the preferred port if it is free, else any free one."""
    if is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
