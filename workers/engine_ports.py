"""The engine's own services: ports of this machine, and addresses elsewhere, that no setting opens to commands."""

import contextlib
from urllib.parse import urlsplit

from baton.errors import ConfigurationError
from baton.settings.core import Settings
from baton.settings.network_names import canonical_host
from workers.connection import read_target
from workers.embedded.server_files import ServerFiles, read_record
from workspaces.sandbox.network.destinations import ReservedServices


def read_engine_services(settings: Settings) -> ReservedServices:
    """Return the current services: an embedded server that is started again may have other ports."""
    ports = {settings.server_port, settings.ui_port, settings.github_webhook_port}
    places: set[tuple[str, int]] = set()
    with contextlib.suppress(ConfigurationError):
        places.add(_parse_netloc(read_target().address or ""))
    places.add(_parse_netloc(settings.metrics_address or ""))
    for url in (settings.base_url, settings.web_ui):
        places.add(_parse_netloc(urlsplit(url).netloc if url else "", 443 if url and url.startswith("https:") else 80))
    directory = settings.home / "server"
    if directory.is_dir():
        files = ServerFiles(directory)
        record = read_record(files)
        if record is not None:
            places |= {_parse_netloc(record.address), _parse_netloc(urlsplit(record.web_ui).netloc)}
            ports.add(record.inner_port)
        for path, fields in ((files.ports, 2), (files.codec, 1)):
            with contextlib.suppress(OSError, ValueError):
                ports |= set(map(int, path.read_text().split()[:fields]))
    # An IP address, or this machine by name, is reserved by its port alone: the machine has other names, too.
    ports |= {port for host, port in places if canonical_host(host) in (None, "localhost")}
    return ReservedServices(frozenset(port for port in ports if port), frozenset(place for place in places if place[1]))


def _parse_netloc(netloc: str, default: int = 0) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{netloc}")
        return (parts.hostname or "", (parts.port or default) if parts.hostname else 0)
    except ValueError:
        return ("", 0)
