"""Which names and addresses an open network leads to, by what a person named."""

import pytest

from baton.errors import ConfigurationError
from baton.settings.core import read_settings
from baton.settings.network_names import canonical_host, find_grant, parse_grants
from tests.support.network_scene import OWN, PUBLIC, Names
from workspaces.sandbox.network.destinations import DestinationRefused, Destinations, ReservedServices, kind_of


@pytest.mark.parametrize(
    ("allow", "open_places", "closed_places"),
    [
        ("pypi.org", ["pypi.org:443", "pypi.org:80"], ["pypi.org:8443", "x.pypi.org:443", "xpypi.org:443"]),
        ("*.example.org", ["a.example.org:443", "a.b.example.org:80"], ["example.org:443", "aexample.org:443"]),
        ("npm.corp.test:8443", ["npm.corp.test:8443"], ["npm.corp.test:443", "corp.test:8443"]),
        ("*", ["anything.test:443"], ["anything.test:22"]),
        ("A.Test. , b.test\nc.test:1", ["a.test:443", "b.test:80", "c.test:1"], ["c.test:80"]),
        ("127.0.0.1:8080,[::1]:9", ["127.0.0.1:8080", "::1:9"], ["127.0.0.1:80", "127.0.0.2:8080"]),
    ],
)
def test_entries_of_the_setting(allow: str, open_places: list[str], closed_places: list[str]) -> None:
    grants = parse_grants(allow)
    for place in [*open_places, *closed_places]:
        host, _, port = place.rpartition(":")
        assert (find_grant(grants, host, int(port)) is not None) == (place in open_places), place


@pytest.mark.parametrize(
    "allow",
    ["https://pypi.org", "pypi.org/simple", "127.0.0.1", "::1", "a..b", "*.*.test", "a.test:0", "x:y", "0x7f.1"],
)
def test_an_entry_that_cannot_be_meant_is_refused_at_the_start(allow: str) -> None:
    with pytest.raises(ConfigurationError, match="BATON_NETWORK_ALLOW"):
        read_settings(network_allow=allow)


@pytest.mark.parametrize(
    "host", ["1", "127.1", "0x7f000001", "a.0x7f", "1.2.3.4.", "::1", "[::1]", "a b", "ä.test", "", "."]
)
def test_addresses_in_any_notation_are_no_names(host: str) -> None:
    assert canonical_host(host) is None


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        *((address, "local") for address in ("127.0.0.1", "127.8.9.10", "::1", *OWN)),
        *(
            (address, "private")
            for address in ("10.255.0.1", "172.31.0.9", "192.168.77.7", "100.64.0.1", "fd12::1", "203.0.113.9")
        ),
        *((address, "public") for address in ("1.1.1.1", PUBLIC, "2606:4700::1111")),
        *((address, "never") for address in ("0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "255.255.255.255")),
        *(
            (address, "never")
            for address in ("168.63.129.16", "100.100.100.200", "192.0.0.192", "192.0.0.1", "240.0.0.1")
        ),
        *((address, "never") for address in ("::", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "fe80::1")),
        *(
            (address, "never")
            for address in ("64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::", "ff02::1")
        ),
        *((address, "never") for address in ("fd00:ec2::254", "fec0::1", "fe80::1%lo", "nonsense", "")),
    ],
)
def test_kinds_of_addresses(address: str, kind: str) -> None:
    assert kind_of(address) == kind


@pytest.mark.parametrize(
    ("allow", "address", "port", "opened"),
    [
        ("", PUBLIC, 443, True),
        ("", "10.0.0.7", 443, False),
        ("*", "10.0.0.7", 443, False),
        ("*.test", "10.0.0.7", 443, False),
        ("a.test", "10.0.0.7", 443, True),
        ("a.test", "127.0.0.1", 443, False),
        ("a.test:443", "127.0.0.1", 443, True),
        ("*.test:443", "127.0.0.1", 443, False),
        ("a.test:443", "169.254.169.254", 443, False),
        ("a.test:443", "::ffff:127.0.0.1", 443, False),
    ],
)
async def test_where_a_name_may_lead(allow: str, address: str, port: int, opened: bool) -> None:
    destinations = Destinations(parse_grants(allow), ReservedServices, Names(a_test=[address]))
    name, grant = destinations.admit_host("A.test.", port)
    if opened:
        assert await destinations.resolve_addresses(name, port, grant) == [address]
        return
    with pytest.raises(DestinationRefused):
        await destinations.resolve_addresses(name, port, grant)
