"""Paths that agents wrote and the branch will not contain: the reasons, and their form in messages.

The reasons are the engine's own. The paths are untrusted, and may hold bytes that are not UTF-8.
"""

import os
import re
from collections.abc import Iterable, Mapping

IGNORED = "ignored"
LARGE = "large"
NAME = "name"
DEEP = "deep"
SPECIAL = "special"
NESTED = "nested"
EMPTY = "empty"
REFUSED = "refused"

REASONS: Mapping[str, str] = {
    IGNORED: "a .gitignore leaves it out",
    LARGE: "larger than 100 MiB",
    NAME: "its name can stand for .git, or is no path of a project",
    DEEP: "more than 100 directories deep, or with a path longer than 4,000 bytes",
    SPECIAL: "a pipe, a socket or a device",
    NESTED: "the history of a repository within the project; its files are kept",
    EMPTY: "an empty directory, and git keeps none",
    REFUSED: "git refuses it",
}
"""The explanation of each reason. An older worker may not know a newer reason; `words` has a default for it."""

_CACHES = re.compile(
    r"__pycache__|\.(?:pytest_cache|mypy_cache|ruff_cache|hypothesis|tox|nox|venv|eggs)|venv|node_modules"
    r"|\.(?:npm|yarn|pnpm-store|parcel-cache|turbo|next|nuxt|svelte-kit|angular|gradle|kotlin|cargo)"
    r"|\.(?:ipynb_checkpoints|cache|nyc_output|coverage|DS_Store)|htmlcov|Thumbs\.db"
)
_CACHE_NAMES = re.compile(r".*\.(?:py[co]|class|o|obj|egg-info|swp|tsbuildinfo)|\.coverage\..*", re.DOTALL)
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_ESCAPED = re.compile(rb"\\(?:([0-7]{3})|(.))", re.DOTALL)


def describe_reason(reason: str) -> str:
    """Return the explanation of a reason."""
    return REASONS.get(reason, "not kept")


def is_minor(path: str, reason: str) -> bool:
    """Whether a path is rarely missed: an empty directory, or a common cache that the project itself ignores."""
    if reason == EMPTY:
        return True
    names = path.rstrip("/").split("/")
    return reason == IGNORED and (any(map(_CACHES.fullmatch, names)) or bool(_CACHE_NAMES.fullmatch(names[-1])))


def show_path(path: str) -> str:
    """Return a path as printable text; one with special characters is quoted as git quotes it, and can be read back.

    Python's paths hold bytes that are not UTF-8 as lone surrogates, which JSON and terminals refuse.
    """
    if path.isprintable() and not any(mark in path for mark in '"\\'):
        return path
    return '"' + "".join(map(_escape_character, path)) + '"'


def read_path(shown: str) -> str:
    """Return the path of a text that `show_path` has returned."""
    if len(shown) < 2 or not (shown.startswith('"') and shown.endswith('"')):
        return shown
    return os.fsdecode(_ESCAPED.sub(_unescape_match, os.fsencode(shown[1:-1])))


def _escape_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def _unescape_match(found: "re.Match[bytes]") -> bytes:
    if found[1] is not None:
        return bytes([int(found[1], 8) & 255])
    return {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(found[2], found[2])


def with_reasons(paths: Mapping[str, str]) -> list[str]:
    """Return paths with their reasons, as `path (reason)`, in the same order."""
    return [f"{path} ({describe_reason(reason)})" for path, reason in paths.items()]


def group_by_name(paths: Iterable[str]) -> list[str]:
    """Return paths grouped by their last name, sorted, with the number of places of a name that occurs repeatedly."""
    count: dict[str, int] = {}
    whole: dict[str, str] = {}
    for path in paths:
        name = path.rstrip("/").rpartition("/")[2] + ("/" if path.endswith("/") else "")
        count[name] = count.get(name, 0) + 1
        whole.setdefault(name, path)
    return [whole[name] if number == 1 else f"{name} (in {number} places)" for name, number in sorted(count.items())]
