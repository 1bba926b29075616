"""The open network of one command: a proxy outside, a forwarder inside, and the variables by which programs find it.

The sandbox keeps its own network namespace, which has a loopback interface only; the one way out is the Unix socket of
the proxy. So neither the machine's ports nor its abstract sockets are in reach.
"""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from workspaces.sandbox.bwrap import shell_argv
from workspaces.sandbox.command import NetworkUse, SandboxCommand
from workspaces.sandbox.engine_python import base_executable
from workspaces.sandbox.environment import Toolchains
from workspaces.sandbox.network import forwarder
from workspaces.sandbox.network.destinations import Destinations
from workspaces.sandbox.network.proxy import Proxy
from workspaces.sandbox.network.upstream_proxy import UpstreamProxy

PORT = 23_128
"""Port on the sandbox's loopback; below the kernel's ephemeral ports, and used by no known program."""

_INSIDE = "/run/baton"
_FORWARDER = Path(forwarder.__file__).resolve()
_CLOSED = "the network is closed here: BATON_SANDBOX_NETWORK is `never` on this machine"
_NO_PYTHON = "the network cannot be opened: no Python that could run its forwarder is visible in the sandbox"


@dataclass(frozen=True)
class NetworkPolicy:
    """The hosts that a person opens to commands of agents and tests, and the machine's own proxy to them."""

    destinations: Destinations
    upstream: UpstreamProxy | None = None


def network_fault(policy: NetworkPolicy | None, toolchains: Toolchains) -> str:
    """Return the reason why a command that may use the network cannot have it here; empty if it can."""
    if policy is None:
        return _CLOSED
    return "" if _find_interpreter(toolchains) else _NO_PYTHON


@asynccontextmanager
async def opened_network(
    command: SandboxCommand, policy: NetworkPolicy | None, toolchains: Toolchains
) -> AsyncIterator[tuple[SandboxCommand, NetworkUse | None]]:
    """Yield the command to run with its network open, and the record of its use.

    A command that may not or cannot have the network is yielded without it, and the record says why.
    """
    if not command.network:
        yield command, None
        return
    python = _find_interpreter(toolchains)
    if policy is None or python is None:
        yield replace(command, network=False), NetworkUse(cut=network_fault(policy, toolchains))
        return
    proxy = Proxy(policy.destinations, policy.upstream)
    with tempfile.TemporaryDirectory(prefix="baton-network-", ignore_cleanup_errors=True) as name:
        path = Path(name, "proxy")
        server = await asyncio.start_unix_server(proxy.handle_client, sock=_listen_unix(path))
        try:
            forward = [python, "-I", "-S", f"{_INSIDE}/forwarder.py", f"{_INSIDE}/proxy", str(PORT)]
            mounts = {path: f"{_INSIDE}/proxy", _FORWARDER: f"{_INSIDE}/forwarder.py"}
            yield (
                replace(
                    command,
                    argv=[*forward, *shell_argv(command.argv)],
                    read_only={**command.read_only, **mounts},
                    env={**proxy_environment(), **command.env},
                ),
                proxy.use,
            )
        finally:
            server.close()
            await proxy.close_clients()


def proxy_environment() -> dict[str, str]:
    """Return the environment variables by which the usual programs find the proxy."""
    url = f"http://127.0.0.1:{PORT}"
    own = "localhost,127.0.0.1,::1"
    java = " ".join(f"-D{name}.proxyHost=127.0.0.1 -D{name}.proxyPort={PORT}" for name in ("http", "https"))
    names = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), url) | {"NO_PROXY": own}
    return {
        **names,
        **{name.lower(): value for name, value in names.items()},
        # These programs read variables of their own.
        "YARN_HTTP_PROXY": url,
        "YARN_HTTPS_PROXY": url,
        "NODE_USE_ENV_PROXY": "1",
        "MAVEN_OPTS": java,
        "GRADLE_OPTS": java,
    }


def _find_interpreter(toolchains: Toolchains) -> str | None:
    """Return a Python that the sandbox shows at its own path: Baton's base interpreter, else the system's."""
    for candidate in (base_executable(), Path("/usr/bin/python3"), Path("/usr/local/bin/python3")):
        shown = (Path("/usr"), *toolchains.directories)
        # A link to a directory that is not mounted is broken inside.
        if candidate.is_file() and all(
            any(path.is_relative_to(directory) for directory in shown) for path in (candidate, candidate.resolve())
        ):
            return str(candidate)
    return None


def _listen_unix(path: Path) -> socket.socket:
    """Return a listening socket at a path of any length, by the descriptor of its directory."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(directory)
    return listener
