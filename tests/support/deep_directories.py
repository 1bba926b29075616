"""Directories nested deeper than any path can name, made the way a command would make them."""

import os
from pathlib import Path

NESTED = """
import os
for _ in range({count}):
    os.mkdir({name!r})
    os.chdir({name!r})
open("file", "w").close()
"""
"""A program that nests directories where it stands, with a file in the last."""


def nest(place: Path, count: int, name: str = "d", mode: int = 0o755) -> None:
    """Nest directories below a place by descriptors, each in the one before it, with a file in the last."""
    at = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(count):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.fchmod(at, mode) if mode != 0o755 else None
        os.close(at)
        at = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=at))
    os.close(at)
