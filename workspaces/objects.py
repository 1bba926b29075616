"""Reads and writes git objects through libgit2: blobs, trees by their raw bytes, commits with fixed dates.

Trees are handled as bytes because names in git are bytes; libgit2's Python tree builder takes UTF-8 only. Paths are
text with surrogates for what is not UTF-8 (`os.fsencode`), relative, with `/` between their parts.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pygit2
from pygit2.enums import ConfigLevel, ObjectType, Option

from workspaces.durable import sync_files, sync_names
from workspaces.faults import require_room
from workspaces.loose import places_of, read_loose, require_whole

FILE = 0o100644
EXECUTABLE = 0o100755
LINK = 0o120000
TREE = 0o040000
GITLINK = 0o160000
_MOST_REMEMBERED = 30_000
"""Entries of trees that are kept in memory, some 250 bytes each."""
_BLOCK = 1 << 16
"""Bytes that a small file and its directories may need."""

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


@dataclass(frozen=True)
class Author:
    """Who made a commit."""

    name: str = "Baton"
    email: str = "baton@localhost"


ENGINE = Author()


@cache
def prepare_library() -> None:
    """Make libgit2 read no configuration but that of the repository it opens."""
    for level in (ConfigLevel.SYSTEM, ConfigLevel.GLOBAL, ConfigLevel.XDG):
        pygit2.option(Option.SET_SEARCH_PATH, level, "/nonexistent")


def parts(path: str) -> list[bytes]:
    """The names of a path; ValueError for one that could leave its directory or reach into a `.git`."""
    names = os.fsencode(path).split(b"/")
    if any(name in (b"", b".", b"..", b".git") or b"\0" in name for name in names):
        raise ValueError(f"not a path of a project: {path!r}")
    return names


def is_path(path: str) -> bool:
    """Whether a path stays within its directory and out of every `.git`."""
    try:
        parts(path)
    except ValueError:
        return False
    return True


class Objects:
    """The objects of one bare repository and of those it borrows from."""

    def __init__(self, path: Path) -> None:
        prepare_library()
        self.repo = pygit2.Repository(str(path))
        self._path = path
        self._places = places_of(path)
        self._written: set[str] = set()
        self._trees: dict[str, dict[bytes, Entry]] = {}
        self._remembered = 0
        self._lock = threading.Lock()

    def blob(self, data: bytes) -> str:
        """Store bytes; gives their id."""
        with self._writing(len(data)):
            return self.written(str(self.repo.create_blob(data)))

    def blob_id(self, data: bytes) -> str:
        """The id that bytes have as a blob; nothing is stored."""
        return str(pygit2.hash(data))

    def data(self, oid: str) -> bytes:
        """The bytes of a blob; KeyError where there is none."""
        kind, data = self.read(oid)
        if kind != ObjectType.BLOB:
            raise KeyError(oid)
        return data

    def has(self, oid: str) -> bool:
        """Whether an object is there."""
        return bool(self.repo.odb.exists(oid))

    def read(self, oid: str) -> tuple[int, bytes]:
        """Kind and bytes of any object; KeyError where there is none, DamagedObject where it is not whole."""
        return read_loose(self._places, oid) or self.repo.read(oid)

    def entries(self, tree: str) -> Mapping[bytes, Entry]:
        """What stands directly in a tree, by name."""
        if tree == EMPTY_TREE:
            return {}
        known = self._trees.get(tree)
        return self._remember(tree, self._parse(tree)) if known is None else known

    def _remember(self, tree: str, entries: dict[bytes, Entry]) -> dict[bytes, Entry]:
        """Keep a tree in memory: a transcript of many turns is read a file at a time, each by way of the same trees."""
        if self._remembered > _MOST_REMEMBERED:
            self._trees, self._remembered = {}, 0
        self._trees[tree] = entries
        self._remembered += len(entries)
        return entries

    def _parse(self, tree: str) -> dict[bytes, Entry]:
        kind, raw = self.read(tree)
        if kind != ObjectType.TREE:
            raise KeyError(tree)
        found: dict[bytes, Entry] = {}
        at = 0
        while at < len(raw):
            space = raw.index(b" ", at)
            end = raw.index(b"\0", space)
            found[raw[space + 1 : end]] = Entry(int(raw[at:space], 8), raw[end + 1 : end + 21].hex())
            at = end + 21
        return found

    def write_tree(self, entries: Mapping[bytes, Entry]) -> str:
        """Store a tree in git's own order, in which a directory sorts as if its name ended in `/`."""
        ordered = sorted(entries.items(), key=lambda item: item[0] + b"/" if item[1].mode == TREE else item[0])
        raw = b"".join(b"%o %s\0%s" % (entry.mode, name, bytes.fromhex(entry.oid)) for name, entry in ordered)
        return self.raw_tree(raw)

    def raw_tree(self, raw: bytes) -> str:
        """Store the bytes of a tree."""
        with self._writing(len(raw)):
            return self.written(str(self.repo.write(ObjectType.TREE, raw)))

    def entry(self, tree: str, path: str) -> Entry | None:
        """What stands at a path, or None. The empty path is the tree itself."""
        found = Entry(TREE, tree)
        for name in os.fsencode(path).split(b"/") if path else []:
            if found.mode != TREE:
                return None
            below = self.entries(found.oid).get(name)
            if below is None:
                return None
            found = below
        return found

    def edit(self, tree: str, changes: Mapping[str, Entry | None]) -> str:
        """A tree with some paths set, or removed where the entry is None. Directories come and go as needed."""
        if not changes:
            return tree
        return self._edit(tree, [(parts(path), entry) for path, entry in changes.items()]) or self.write_tree({})

    def _edit(self, tree: str | None, changes: Sequence[tuple[list[bytes], Entry | None]]) -> str | None:
        entries = dict(self.entries(tree)) if tree else {}
        below: dict[bytes, list[tuple[list[bytes], Entry | None]]] = {}
        for names, entry in changes:
            if len(names) > 1:
                below.setdefault(names[0], []).append((names[1:], entry))
            elif entry is None:
                entries.pop(names[0], None)
            else:
                entries[names[0]] = entry
        for name, inner in below.items():
            current = entries.get(name)
            is_tree = current is not None and current.mode == TREE
            if not is_tree and all(entry is None for _, entry in inner):
                continue
            subtree = self._edit(current.oid if current is not None and is_tree else None, inner)
            if subtree is None:
                entries.pop(name, None)
            else:
                entries[name] = Entry(TREE, subtree)
        if not entries:
            return None
        written = self.write_tree(entries)
        self._remember(written, entries)
        return written

    def differences(self, old: str | None, new: str | None, prefix: bytes = b"") -> Iterator[Change]:
        """Every file, link or gitlink that differs between two trees; equal directories are not even opened."""
        if old == new:
            return
        before = self.entries(old) if old else {}
        after = self.entries(new) if new else {}
        for name in sorted(before.keys() | after.keys()):
            one, other = before.get(name), after.get(name)
            if one == other:
                continue
            path = prefix + name
            one_tree = one.oid if one and one.mode == TREE else None
            other_tree = other.oid if other and other.mode == TREE else None
            leaf_one = None if one_tree else one
            leaf_other = None if other_tree else other
            if leaf_one or leaf_other:
                yield Change(os.fsdecode(path), leaf_one, leaf_other)
            if one_tree or other_tree:
                yield from self.differences(one_tree, other_tree, path + b"/")

    def leaves(self, tree: str, prefix: bytes = b"") -> Iterator[tuple[str, Entry]]:
        """Every file, link and gitlink of a tree."""
        for name, entry in self.entries(tree).items():
            if entry.mode == TREE:
                yield from self.leaves(entry.oid, prefix + name + b"/")
            else:
                yield os.fsdecode(prefix + name), entry

    def tree_of(self, commit: str) -> str:
        """The tree of a commit, also by a tag on it; a tree's id is given back."""
        kind, data = self.read(commit)
        while kind == ObjectType.TAG:
            commit = data[len(b"object ") :].split(b"\n", 1)[0].decode()
            kind, data = self.read(commit)
        if kind == ObjectType.COMMIT:
            return data[len(b"tree ") :].split(b"\n", 1)[0].decode()
        if kind != ObjectType.TREE:
            raise KeyError(commit)
        return commit

    def parents(self, commit: str) -> list[str]:
        """The parents of a commit."""
        return [str(oid) for oid in self.commit_object(commit).parent_ids]

    def commit_object(self, commit: str) -> pygit2.Commit:
        """A commit as libgit2 has it."""
        require_whole(self._path, commit)
        return self.repo[commit].peel(pygit2.Commit)

    def commit(self, tree: str, parents: Sequence[str], message: str, at: datetime, author: Author = ENGINE) -> str:
        """Store a commit, durably with all that was written before it.

        The same arguments give the same id, whenever and wherever it is made.
        """
        when = int(at.astimezone(UTC).timestamp())
        by = pygit2.Signature(author.name, author.email, when, 0)
        engine = pygit2.Signature(ENGINE.name, ENGINE.email, when, 0)
        require_whole(self._path, tree, *parents)  # libgit2 reads them
        text = message.encode(errors="replace").decode().replace("\0", "")
        with self._writing(len(text)):
            made = self.written(str(self.repo.create_commit(None, by, engine, text, tree, list(parents))))
        self.sync()
        return made

    def written(self, oid: str) -> str:
        """Note an object that has to be on the disk before a commit may name it. libgit2's own syncing waits for each.

        Also noted is what was there before: another process may have written it, and not have come to sync it.
        """
        with self._lock:
            self._written.add(oid)
        return oid

    def sync(self) -> None:
        """Return when everything written so far is on the disk."""
        objects = self._path / "objects"
        with self._lock:  # who comes second waits for the first, who may be at the second's objects
            if self._written:
                sync_files([objects / oid[:2] / oid[2:] for oid in self._written], objects)
                self._written.clear()

    def move(self, ref: str, new: str) -> None:
        """Let a ref point to an object, whatever it points to now, durably."""
        path = self._path / ref
        known = path.exists()
        with self._writing(0), self.repo.transaction() as transaction:
            transaction.lock_ref(ref)
            transaction.set_target(ref, pygit2.Oid(hex=new))
        sync_names(path, path.parent if known else self._path / "refs")

    @contextmanager
    def _writing(self, size: int) -> Iterator[None]:
        try:
            yield
        except (pygit2.GitError, OSError, KeyError, ValueError):
            # Without a word of its own, libgit2 gives the last one it had, and its class: nothing in it can be trusted.
            require_room(Path(self.repo.path), size + _BLOCK)
            raise
