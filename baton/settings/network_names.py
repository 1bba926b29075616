"""Names that a person opens to commands, `BATON_NETWORK_ALLOW`: how they are written, and which one fits. Pure."""

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
class Grant:
    """One entry: a name, all names below one, or any name at all; with a port of its own, or the web's."""

    name: str
    """In lower case; `*.example.org` covers what is below example.org, `*` every public name."""
    port: int | None = None

    @property
    def exact(self) -> bool:
        """Whether it names one host and no pattern: only then may that host be in a private network."""
        return "*" not in self.name

    def admits(self, name: str, port: int) -> bool:
        """Whether it covers a host (as `host_name` gives it) on a port."""
        if port not in WEB_PORTS if self.port is None else port != self.port:
            return False
        return self.name in (name, "*") or (self.name.startswith("*.") and name.endswith(self.name[1:]))


def parse_grants(text: str) -> tuple[Grant, ...]:
    """Read the entries of a setting; ValueError names the one that cannot be meant."""
    return tuple(_grant(entry) for entry in re.split(r"[,\s]+", text.strip().lower()) if entry)


def find_grant(grants: Sequence[Grant], name: str, port: int) -> Grant | None:
    """Return the entry that covers a host; of several the one that says most."""
    found = [grant for grant in grants if grant.admits(name, port)]
    return max(found, key=lambda grant: (grant.exact, grant.port is not None), default=None)


def host_name(text: str) -> str | None:
    """Return a host's name in its one spelling; None for an address in any notation, and for no name at all."""
    name = text.lower().removesuffix(".")
    # Resolvers take `2130706433`, `0x7f.1` and `127.1` for addresses: no name ends in a number.
    if not _NAME.fullmatch(name) or _NUMERIC.match(name.rpartition(".")[2]):
        return None
    return name


def plain_address(text: str) -> str | None:
    """Return an IP address in its one spelling, brackets taken off; None for anything else."""
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        return None


def _grant(entry: str) -> Grant:
    host, colon, digits = entry.rpartition(":") if plain_address(entry) is None else (entry, "", "")
    if not colon:
        host = entry
    elif not digits.isdecimal() or not 0 < int(digits) < 65_536:
        raise ValueError(f"{entry[:80]!r} is no name with a port; {_WRITTEN}")
    port = int(digits) if colon else None
    if (address := plain_address(host)) is not None:
        if port is None:
            raise ValueError(f"{entry[:80]!r}: an address needs its port, as 127.0.0.1:8080; {_WRITTEN}")
        return Grant(address, port)
    if host != "*" and host_name(host.removeprefix("*.")) is None:
        raise ValueError(f"{entry[:80]!r} is no name; {_WRITTEN}")
    return Grant(host.removesuffix("."), port)
