"""Names that commands with an open network may reach (`BATON_NETWORK_ALLOW`): parser and matcher. Pure."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

WEB_PORTS = (80, 443)
"""Ports that are open for a name without a port of its own."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_WRITTEN = "write names, as pypi.org, *.example.org or registry.example.org:8443"


@dataclass(frozen=True)
class NetworkGrant:
    """One entry of the setting: a name, all names below it, or every name; with its own port or those of the web."""

    name: str
    """In lower case; `*.example.org` covers what is below example.org, `*` every public name."""
    port: int | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the entry names one host and no pattern: only such a host may be in a private network."""
        return "*" not in self.name

    def covers_host(self, name: str, port: int) -> bool:
        """Whether the entry covers a host (as `canonical_host` returns it) on a port."""
        if port not in WEB_PORTS if self.port is None else port != self.port:
            return False
        return self.name in (name, "*") or (self.name.startswith("*.") and name.endswith(self.name[1:]))


def parse_grants(text: str) -> tuple[NetworkGrant, ...]:
    """Parse the entries of the setting; raises ValueError that names the invalid entry."""
    return tuple(_parse_grant(entry) for entry in re.split(r"[,\s]+", text.strip().lower()) if entry)


def find_grant(grants: Sequence[NetworkGrant], name: str, port: int) -> NetworkGrant | None:
    """Return the entry that covers a host: of several the most specific one; None where no entry covers it."""
    found = [grant for grant in grants if grant.covers_host(name, port)]
    return max(found, key=lambda grant: (grant.is_exact, grant.port is not None), default=None)


def canonical_host(text: str) -> str | None:
    """Return a host's name in canonical spelling; None for an address in any notation, and for an invalid name."""
    name = text.lower().removesuffix(".")
    # Resolvers take `2130706433`, `0x7f.1` and `127.1` for addresses: no name ends in a number.
    if not _NAME.fullmatch(name) or _NUMERIC.match(name.rpartition(".")[2]):
        return None
    return name


def canonical_address(text: str) -> str | None:
    """Return an IP address in canonical spelling, without brackets; None for any other text."""
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return None


def _parse_grant(entry: str) -> NetworkGrant:
    host, colon, digits = entry.rpartition(":") if canonical_address(entry) is None else (entry, "", "")
    if not colon:
        host = entry
    elif not digits.isdecimal() or not 0 < int(digits) < 65_536:
        raise ValueError(f"{entry[:80]!r} is no name with a port; {_WRITTEN}")
    port = int(digits) if colon else None
    if (address := canonical_address(host)) is not None:
        if port is None:
            raise ValueError(f"{entry[:80]!r}: an address needs its port, as 127.0.0.1:8080; {_WRITTEN}")
        return NetworkGrant(address, port)
    if host != "*" and canonical_host(host.removeprefix("*.")) is None:
        raise ValueError(f"{entry[:80]!r} is no name; {_WRITTEN}")
    return NetworkGrant(host.removesuffix("."), port)
