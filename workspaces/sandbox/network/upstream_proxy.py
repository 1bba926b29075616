"""The proxy that this machine itself has to use, from the person's environment."""

import asyncio
import base64
import ssl
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from baton.errors import ConfigurationError

CONNECT_SECONDS = 20.0

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class UpstreamProxy:
    """The address and credentials of the machine's own proxy."""

    host: str
    port: int
    tls: bool = False
    authorization: str = field(default="", repr=False)
    bypass: str = ""
    """`NO_PROXY`: hosts that are reached without the proxy."""

    @classmethod
    def parse_environment(cls, url: str | None, bypass: str | None) -> "UpstreamProxy | None":
        """Read `HTTPS_PROXY` and `NO_PROXY`. Raises ConfigurationError for an invalid URL, without naming its value."""
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

    def serves_host(self, name: str) -> bool:
        """Whether a host must be reached through the proxy."""
        return not urllib.request.proxy_bypass_environment(name, {"no": self.bypass})  # type: ignore[attr-defined]


async def connect_through(upstream: UpstreamProxy, host: str, port: int) -> Stream:
    """Open a tunnel through the machine's own proxy. Raises OSError if it refuses, TimeoutError if it is slow."""
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
