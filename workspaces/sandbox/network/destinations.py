"""The destinations that a command may connect to: names that a person opened, at public addresses.

A name is resolved here once, and the connection goes to the addresses that were checked, so that a later change of the
name has no effect.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from baton.settings.network_names import WEB_PORTS, NetworkGrant, canonical_address, canonical_host, find_grant

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a name; raises OSError if it has none."""

Kind = Literal["public", "private", "local", "never"]

_RESOLVE_SECONDS = 15.0

_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "fc00::/7",
            # Reserved for documentation and benchmarks, and used inside by some.
            "192.0.2.0/24",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "198.18.0.0/15",
            "2001:db8::/32",
        ),
    )
)
"""Networks in which a person's own registry may be, if the person names it."""

_NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            # Services of clouds that give credentials to any client; link-local ones are refused as such.
            "168.63.129.16/32",
            "100.100.100.200/32",
            "fd00:ec2::254/128",
            "192.0.0.0/24",
            "192.88.99.0/24",
            # IPv6 with an embedded IPv4 address: mapped, translated (NAT64), 6to4, Teredo.
            "::/8",
            "64:ff9b::/96",
            "64:ff9b:1::/48",
            "2001::/23",
            "2002::/16",
        ),
    )
)

_UNICAST = ipaddress.ip_network("2000::/3")
"""All public addresses of IPv6: https://www.iana.org/assignments/ipv6-address-space"""

_ALLOW = "a person allows it by BATON_NETWORK_ALLOW"
_NO_EXCEPTION = "which is never open to commands"


class DestinationRefused(Exception):
    """The destination is not open; the message is the reason, for agents and people."""


@dataclass(frozen=True)
class ReservedServices:
    """Services of the engine, which no setting opens."""

    ports: frozenset[int] = frozenset()
    """Ports on this machine."""
    places: frozenset[tuple[str, int]] = frozenset()
    """Name and port of services on other machines."""


async def resolve_name(name: str, port: int) -> Sequence[str]:
    """Return the addresses of a name by the machine's own resolver. Raises OSError if it has none."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Destinations:
    """The open hosts: all public ones, or those that a person named."""

    grants: tuple[NetworkGrant, ...] = ()
    reserved: Callable[[], ReservedServices] = ReservedServices
    resolver: Resolver = field(default=resolve_name)
    public: frozenset[str] = frozenset()
    """Names that a repository asks for: open at public addresses only, whatever else is."""
    closed: bool = False
    """Whether nothing but these names is open, where no name was granted either."""

    def admit_host(self, host: str, port: int) -> tuple[str, NetworkGrant | None]:
        """Return the name to resolve for a host, and the grant that names it. Raises Refused."""
        name = canonical_host(host)
        if name is None:
            address = canonical_address(host)
            grant = find_grant(self.grants, address, port) if address else None
            if address is None or grant is None or not grant.is_exact:
                raise DestinationRefused("it is an address and not a name")
            name = address
        else:
            grant = find_grant(self.grants, name, port)
        if (name, port) in self.reserved().places:
            raise DestinationRefused(f"it is a service of the engine, {_NO_EXCEPTION}")
        if grant is None and port not in WEB_PORTS:
            raise DestinationRefused(f"only the ports 80 and 443 are open; {_ALLOW}")
        if grant is None and (self.grants or self.closed) and name not in self.public:
            raise DestinationRefused(f"it is not one of the names that are open; {_ALLOW}")
        return name, grant

    async def resolve_addresses(self, name: str, port: int, grant: NetworkGrant | None) -> list[str]:
        """Resolve an admitted name. Raises Refused if one of its addresses is not open, OSError if it has none."""
        if canonical_address(name):
            found: Sequence[str] = [name]
        else:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                found = await self.resolver(name, port)
        if not found:
            raise OSError("the name has no address")
        for address in found:
            self._check_address(address, port, grant)
        return list(found)

    def _check_address(self, address: str, port: int, grant: NetworkGrant | None) -> None:
        kind = kind_of(address)
        if kind == "never":
            raise DestinationRefused(f"it leads to {address[:45]}, {_NO_EXCEPTION}")
        if kind == "public":
            return
        if port in self.reserved().ports:
            raise DestinationRefused(f"it leads to a service of the engine, {_NO_EXCEPTION}")
        exact = grant is not None and grant.is_exact
        if kind == "local" and not (exact and grant is not None and grant.port):
            raise DestinationRefused(
                "it leads to the machine itself; a person allows it by BATON_NETWORK_ALLOW, name with port"
            )
        if not exact:
            raise DestinationRefused(f"it leads into a private network; {_ALLOW}, by its full name")


def kind_of(text: str) -> Kind:
    """Classify an address: `local` is this machine; `never` is closed even if a person names it."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "never"  # an IPv6 address with a zone, for instance
    if address.is_loopback and not getattr(address, "ipv4_mapped", None):
        return "local"
    if any(address in network for network in _NEVER if network.version == address.version):
        return "never"
    if _is_own(text):
        return "local"
    if any(address in network for network in _PRIVATE if network.version == address.version):
        return "private"
    if address.is_multicast or not address.is_global or (address.version == 6 and address not in _UNICAST):
        return "never"
    return "public"


def _is_own(text: str) -> bool:
    """Whether this machine has the address: then the kernel chooses it as the source address. No packet is sent."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((text, 9))
        except OSError:
            return False
        return bool(probe.getsockname()[0] == text)
