"""Ports for the servers of tests, for those that cannot listen on port 0 and say which one they got."""

import random
import socket
from pathlib import Path

from system.ports import is_free

_LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

_claims: list[socket.socket] = []


def reserve_port() -> int:
    """Return a free port that stays free: the kernel gives it to no connection, and no other test process gets it.

    The ports that the kernel hands out (ip(7), ip_local_port_range) are left alone. A claim is a socket in the abstract
    namespace, which ends with this process.
    """
    first_of_kernel = int(_RANGE.read_text().split()[0])
    for port in random.sample(range(_LOWEST, first_of_kernel), k=1_000):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0baton-test-port-{port}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        if is_free(port):
            return port
    raise AssertionError("no port is free")
