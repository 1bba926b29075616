"""Trees of git, by path and by name: modes, entries, changes, and the bytes of a tree.

Names in git are bytes. Paths are text with surrogates for bytes that are not UTF-8 (`os.fsencode`), relative, with `/`
between their parts. Trees are read and written here because libgit2's Python tree builder takes UTF-8 only.
"""

from collections.abc import Mapping
from typing import NamedTuple

FILE = 0o100644
EXECUTABLE = 0o100755
LINK = 0o120000
TREE = 0o040000
GITLINK = 0o160000

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class TreeEntry(NamedTuple):
    """One entry of a tree: a file, link, directory or gitlink."""

    mode: int
    oid: str


class TreeChange(NamedTuple):
    """A path with different entries in two trees."""

    path: str
    old: TreeEntry | None
    new: TreeEntry | None


def parse_tree(raw: bytes) -> dict[bytes, TreeEntry]:
    """Return the entries of a tree by name. Raises ValueError for bytes that are no tree."""
    found: dict[bytes, TreeEntry] = {}
    at = 0
    while at < len(raw):
        space = raw.index(b" ", at)
        end = raw.index(b"\0", space)
        found[raw[space + 1 : end]] = TreeEntry(int(raw[at:space], 8), raw[end + 1 : end + 21].hex())
        at = end + 21
    return found


def dump_tree(entries: Mapping[bytes, TreeEntry]) -> bytes:
    """Return the bytes of a tree, in git's own order, in which a directory sorts as if its name ended in `/`."""
    ordered = sorted(entries.items(), key=lambda item: item[0] + b"/" if item[1].mode == TREE else item[0])
    return b"".join(b"%o %s\0%s" % (entry.mode, name, bytes.fromhex(entry.oid)) for name, entry in ordered)
