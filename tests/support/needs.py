"""Needs of a test: the markers that choose what `make unit`, `make test` and `make test-all` run.

A marker names a service or a means that a test takes, and pyproject.toml describes each. Where a fixture provides it,
the marker follows from the fixture, so that it cannot be forgotten; a test that starts a service itself carries the
marker in its file. A test without the marker `server` is refused a server (`tests.support.server_guard`).
"""

import pytest

NEEDS_BY_FIXTURE = {
    "service": {"server"},
    "forge": {"github"},
    "npm": {"github"},
    "browser": {"browser"},
    "storage": {"image"},
    "disk": {"power"},
    "workers": {"crash"},
    "installed": {"install"},
    "compose": {"install"},
    "machine_sandbox": {"sandbox"},
    "sandbox": {"sandbox"},
    "cli": {"command"},
    "scripted": {"command"},
    "boxes": {"sandbox"},
}
"""Fixtures that provide a service, with the markers of the tests that use them."""

ORDER = ("crash", "install", "browser", "github", "server")
"""Markers of tests that wait for timers and other processes, the longest ones first."""


def mark_needs(item: pytest.Item) -> None:
    """Add the markers that follow from the fixtures of a test."""
    names = set(getattr(item, "fixturenames", ()))
    for name in sorted(needed for fixture in names & NEEDS_BY_FIXTURE.keys() for needed in NEEDS_BY_FIXTURE[fixture]):
        if item.get_closest_marker(name) is None:
            item.add_marker(name)


def has_need(item: pytest.Item, *names: str) -> bool:
    """Whether a test has one of these markers."""
    return any(item.get_closest_marker(name) is not None for name in names)


def rank_by_length(item: pytest.Item) -> int:
    """Return the rank of a test in `ORDER`, from 0; tests that only compute have the last one."""
    return next((rank for rank, name in enumerate(ORDER) if has_need(item, name)), len(ORDER))
