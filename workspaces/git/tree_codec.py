"""What trees of git hold, by path and by name: modes, entries, changes, and the bytes of a tree.

Names in git are bytes. Paths are text with surrogates for what is not UTF-8 (`os.fsencode`), relative, with `/` between
their parts. Trees are read and written here, for libgit2's Python tree builder takes UTF-8 only.
"""

from collections.abc import Mapping
from typing import NamedTuple

FILE = 0o100644
EXECUTABLE = 0o100755
LINK = 0o120000
TREE = 0o040000
GITLINK = 0o160000

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class Entry(NamedTuple):
    """What stands at a path of a tree."""

    mode: int
    oid: str


class Change(NamedTuple):
    """A path whose entry differs between two trees."""

    path: str
    old: Entry | None
    new: Entry | None


def parse_tree(raw: bytes) -> dict[bytes, Entry]:
    """What stands directly in a tree, by name; ValueError where these are not the bytes of one."""
    found: dict[bytes, Entry] = {}
    at = 0
    while at < len(raw):
        space = raw.index(b" ", at)
        end = raw.index(b"\0", space)
        found[raw[space + 1 : end]] = Entry(int(raw[at:space], 8), raw[end + 1 : end + 21].hex())
        at = end + 21
    return found


def dump_tree(entries: Mapping[bytes, Entry]) -> bytes:
    """The bytes of a tree, in git's own order, in which a directory sorts as if its name ended in `/`."""
    ordered = sorted(entries.items(), key=lambda item: item[0] + b"/" if item[1].mode == TREE else item[0])
    return b"".join(b"%o %s\0%s" % (entry.mode, name, bytes.fromhex(entry.oid)) for name, entry in ordered)
