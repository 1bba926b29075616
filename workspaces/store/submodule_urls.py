"""Decisions about the URLs of submodules, without I/O: the URL is a stranger's, the list of allowed ones a
person's.

An entry of the list is a host (`github.com`, `git.example.org:8443`: by https or ssh), or the beginning of a URL or of
a path (`https://github.com/acme`, `/srv/mirrors`), which ends at a `/`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9_](?:[\w.-]{0,60})")
_SCP = re.compile(r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>[^@/:\s\[\]]+):(?P<path>(?!//)[^:\s]+)")
_PLAIN = re.compile(r"[!-~]{1,2000}")
_NEVER = re.compile(r"[\\?#*'\"`$;&|<>()\[\]{}]")


@dataclass(frozen=True)
class UrlParts:
    """A URL in its parts; `scheme` is `file` for a path."""

    scheme: str
    user: str
    host: str
    port: int
    names: tuple[str, ...]


def read_url(url: str) -> UrlParts | None:
    """Return the parts of a URL that git may be given; None for any other."""
    if not _PLAIN.fullmatch(url) or url.startswith("-") or _NEVER.search(url):
        return None
    if url.startswith("/"):
        return _url_parts("file", "", "", 0, url)
    if "://" not in url:
        found = _SCP.fullmatch(url)
        return found and _url_parts("ssh", found["user"] or "", found["host"], _PORTS["ssh"], found["path"])
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.password is not None or parts.query or parts.fragment:
        return None
    user = parts.username or ""
    if parts.scheme == "file":
        return _url_parts("file", "", "", 0, parts.path) if not parts.netloc else None
    if parts.scheme not in _PORTS or not parts.hostname or (user and parts.scheme != "ssh"):
        return None
    return _url_parts(parts.scheme, user, parts.hostname, port or _PORTS[parts.scheme], parts.path)


def _url_parts(scheme: str, user: str, host: str, port: int, path: str) -> UrlParts | None:
    plain = unquote(path)
    if plain != unquote(plain) or any(ord(character) < 32 or character in "\\%" for character in plain):
        return None
    names = tuple(name for name in plain.split("/") if name)
    if not names or any(name in (".", "..") or name.startswith("-") for name in names):
        return None
    if scheme != "file" and not _HOST.fullmatch(host):
        return None
    if user and not _USER.fullmatch(user):
        return None
    return UrlParts(scheme, user, host.lower(), port, names)


def resolve_url(url: str, base: str) -> str:
    """Resolve a URL, as git does it, against that of the repository above; empty if the result would leave that
    host.
    """
    if not url.startswith(("./", "../")):
        return url
    whole = re.fullmatch(r"([A-Za-z+]+://[^/]*|(?:[^@/:\s]+@)?[^@/:\s]+:(?!//)|)(.*)", base)
    if whole is None:
        return ""
    start, path = whole[1], whole[2].rstrip("/")
    names = path.split("/")
    while url.startswith(("./", "../")):
        up, _, url = url.partition("/")
        if up == "..":
            if not names or names == [""]:
                return ""
            names.pop()
    above = "/".join(names)
    return f"{start}{above}/{url}" if above or path.startswith("/") else f"{start}{url}"


def is_allowed(url: str, allowed: tuple[str, ...]) -> bool:
    """Whether a person's list lets a URL be fetched."""
    place = read_url(url)
    return place is not None and any(_entry_admits(entry, place) for entry in allowed)


def _entry_admits(entry: str, place: UrlParts) -> bool:
    if "/" not in entry and "@" not in entry:
        host, _, port = entry.partition(":")
        if place.scheme not in ("https", "ssh") or host.lower() != place.host:
            return False
        return place.port == int(port) if port.isdecimal() else not port and place.port == _PORTS[place.scheme]
    start = _entry_start(entry)
    if start is None or (start.scheme, start.host, start.port) != (place.scheme, place.host, place.port):
        return False
    if start.user and start.user != place.user:
        return False
    if place.scheme == "file":
        # A link on the way must not lead out of the allowed directory.
        above, path = Path("/", *start.names).resolve(), Path("/", *place.names).resolve()
        return path != above and path.is_relative_to(above)
    return len(place.names) > len(start.names) and place.names[: len(start.names)] == start.names


def _entry_start(entry: str) -> UrlParts | None:
    """Return the parts of an entry that is the beginning of a URL; without a path it stands for its whole host."""
    place = read_url(entry)
    if place is not None or entry.startswith(("/", "file:")):
        return place
    bare = read_url(f"{entry.rstrip('/')}/x")
    return bare and UrlParts(bare.scheme, bare.user, bare.host, bare.port, ())


def protocol_of(url: str) -> str:
    """Return the one protocol that git may use for a URL."""
    place = read_url(url)
    return place.scheme if place else "none"


def parse_allowed(text: str) -> tuple[str, ...]:
    """Parse a person's list, with entries divided by commas."""
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())
