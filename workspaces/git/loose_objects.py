"""Loose objects (`objects/ab/cdef...`), read without libgit2, which never returns from one that was cut short.

A power cut can leave such a file. libgit2 up to 1.9.7 then loops without end and blocks the whole worker:
https://github.com/libgit2/libgit2/issues/7342. Callers of libgit2's own reading call `require_whole` first.
"""

import os
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pygit2.enums import ObjectType

KINDS = {
    b"blob": ObjectType.BLOB,
    b"tree": ObjectType.TREE,
    b"commit": ObjectType.COMMIT,
    b"tag": ObjectType.TAG,
}


class DamagedObject(ValueError):
    """The error for a file that is not the object of its name."""

    def __init__(self, oid: str) -> None:
        super().__init__(f"the object {oid} is damaged; `baton doctor --store --repair` may bring it back")


@lru_cache(maxsize=256)
def object_directories(repository: Path) -> tuple[str, ...]:
    """Return the directories with the objects of a repository of the engine: its own, and those it borrows from."""
    own = repository / "objects"
    try:
        lines = (own / "info/alternates").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    return (str(own), *(str(own / line) for line in lines if line))


def read_loose(places: Sequence[str], oid: str) -> tuple[int, bytes] | None:
    """Return kind and bytes of a loose object; None if it is packed or missing. Raises DamagedObject."""
    for place in places:
        try:  # this runs for each directory of a large project; building a Path takes three times as long
            descriptor = os.open(f"{place}/{oid[:2]}/{oid[2:]}", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with open(descriptor, "rb") as file:
            packed = file.read()
        unpacker = zlib.decompressobj()
        try:
            raw = unpacker.decompress(packed)
        except zlib.error as error:
            raise DamagedObject(oid) from error
        head, found, data = raw.partition(b"\0")
        name, _, size = head.partition(b" ")
        if not unpacker.eof or not found or name not in KINDS or size != b"%d" % len(data):
            raise DamagedObject(oid)
        return KINDS[name], data
    return None


def require_whole(repository: Path, *oids: str) -> None:
    """Raise DamagedObject if one of these objects is a loose file that is not whole."""
    for oid in oids:
        read_loose(object_directories(repository), oid)
