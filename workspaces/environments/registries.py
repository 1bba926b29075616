"""Package registries that this host's own clients are configured with: a set-up may reach them besides the public ones.

The person configured them for this machine, so a set-up may use them, in a private network too. A URL with credentials
is not passed on: nothing in the sandbox may read them.
"""

import configparser
import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from baton.settings.network_names import NetworkGrant

_PYTHON = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_NODE = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
_NPM_LINE = re.compile(r"^registry\s*=\s*(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Registries:
    """Variables that lead the package managers of a set-up to this host's registries, and the way there."""

    env: Mapping[str, str] = field(default_factory=dict)
    grants: tuple[NetworkGrant, ...] = ()
    notes: tuple[str, ...] = ()
    """A sentence for each registry that is not passed on."""


def find_registries(variables: Mapping[str, str] | None = None, user_home: Path | None = None) -> Registries:
    """Read the configuration of pip, uv and npm: environment variables first, then the person's files.

    https://pip.pypa.io/en/stable/topics/configuration/ and https://docs.npmjs.com/cli/configuring-npm/npmrc
    """
    found = os.environ if variables is None else variables
    place = Path.home() if user_home is None else user_home
    python = next((found[name] for name in _PYTHON if found.get(name)), "") or _pip_index(found, place)
    node = next((found[name] for name in _NODE if found.get(name)), "") or _npm_registry(place)
    env: dict[str, str] = {}
    grants: list[NetworkGrant] = []
    notes: list[str] = []
    for url, names in ((python, ("UV_DEFAULT_INDEX", "PIP_INDEX_URL")), (node, ("npm_config_registry",))):
        parts = _split(url)
        if parts is None:
            continue
        host, port, secret = parts
        if secret:
            notes.append(
                f"The registry at {host} is configured with credentials, which set-ups are never given:"
                " the public registry is used."
            )
            continue
        env |= dict.fromkeys(names, url)
        grants.append(NetworkGrant(host, port))
    return Registries(env, tuple(grants), tuple(notes))


def _split(url: str) -> tuple[str, int | None, bool] | None:
    """The host, its port where it is not the web's, and whether the URL holds credentials; None for no web address."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return parts.hostname, parts.port, bool(parts.username or parts.password)
    return None


def _pip_index(variables: Mapping[str, str], place: Path) -> str:
    named = variables.get("PIP_CONFIG_FILE")
    files = [Path(named)] if named else [place / ".config/pip/pip.conf", place / ".pip/pip.conf", Path("/etc/pip.conf")]
    for file in files:
        parser = configparser.RawConfigParser(strict=False)
        with contextlib.suppress(OSError, configparser.Error, ValueError):
            parser.read_string(file.read_text())
            if url := parser.get("global", "index-url", fallback=""):
                return url.strip()
    return ""


def _npm_registry(place: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        if match := _NPM_LINE.search((place / ".npmrc").read_text()):
            return match[1]
    return ""
