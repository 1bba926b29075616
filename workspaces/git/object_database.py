"""Reads and writes git objects: blobs, trees by their raw bytes, commits with fixed dates.

An object is written by itself through libgit2, and with others of the same step into a pack (`together`).
"""

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import pygit2
from pygit2.enums import ConfigLevel, ObjectType, Option

from system.fsync import Unsynced
from workspaces.git.commits import ENGINE, Author, commit_bytes
from workspaces.git.errors import require_room
from workspaces.git.loose_objects import places_of, read_loose, require_whole
from workspaces.git.packs import MANY, Pack, merge
from workspaces.git.tree_codec import EMPTY_TREE, TREE, Change, Entry, dump_tree, parse_tree, parts

_MOST_REMEMBERED = 30_000
"""Entries of trees that are kept in memory, some 250 bytes each."""
_BLOCK = 1 << 16
"""Bytes that a small file and its directories may need."""
MOST_OPEN = 2 * MANY
"""Packs whose files libgit2 has open at the same time, in one process."""
_LARGEST_PACK = 16 << 20
"""Bytes of objects that are kept in memory for one pack."""

_NAMES = {ObjectType.BLOB: b"blob", ObjectType.TREE: b"tree", ObjectType.COMMIT: b"commit"}


@cache
def prepare_library() -> None:
    """Make libgit2 read no configuration but that of the repository it opens, and keep few packs open.

    What it has opened it keeps, removed packs too, as long as their repository: here until Python collects it.
    """
    for level in (ConfigLevel.SYSTEM, ConfigLevel.GLOBAL, ConfigLevel.XDG):
        pygit2.option(Option.SET_SEARCH_PATH, level, "/nonexistent")
    pygit2.option(Option.SET_MWINDOW_FILE_LIMIT, MOST_OPEN)
    # Said by git before 2.27 of a partial clone: that objects may be missing, which reading finds out by itself.
    pygit2.option(Option.SET_EXTENSIONS, ["partialclone"], 1)


class _Step(threading.local):
    """What a thread has in hand, by itself: a step is of one thread."""

    pack: Pack | None = None


@dataclass
class _Edit:
    """A directory whose entries are being changed."""

    name: bytes
    entries: dict[bytes, Entry]
    below: list[tuple[bytes, list[tuple[list[bytes], Entry | None]]]]
    """The directories in it that change, too; the last one first."""


class Objects:
    """The objects of one bare repository and of those it borrows from."""

    def __init__(self, path: Path) -> None:
        prepare_library()
        self.repo = pygit2.Repository(str(path))
        self._path = path
        self._places = places_of(path)
        self._step = _Step()
        self._packs = 0
        self._unsynced = Unsynced(path / "objects")
        self._trees: dict[str, dict[bytes, Entry]] = {}
        self._remembered = 0
        self._commits: dict[str, str] = {}
        self._lock = threading.Lock()

    @contextmanager
    def together(self, pack: Pack | None = None) -> Iterator[Pack]:
        """What this thread stores within goes into one pack, this one where it is given.

        `commit` writes it, and all that was in it. Until then only who is within such a block sees what is in it.
        """
        before = self._step.pack
        self._step.pack = Pack() if pack is None else pack
        try:
            yield self._step.pack
        finally:
            self._step.pack = before

    def blob(self, data: bytes) -> str:
        """Store bytes; gives their id."""
        return self._put(ObjectType.BLOB, data)

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
        """Whether an object is there; the empty tree always is, for git."""
        pack = self._step.pack
        return oid == EMPTY_TREE or (pack is not None and oid in pack) or bool(self.repo.odb.exists(oid))

    def read(self, oid: str) -> tuple[int, bytes]:
        """Kind and bytes of any object; KeyError where there is none, DamagedObject where it is not whole."""
        pack = self._step.pack
        return (pack and pack.get(oid)) or read_loose(self._places, oid) or self.repo.read(oid)

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
        return parse_tree(raw)

    def write_tree(self, entries: Mapping[bytes, Entry]) -> str:
        """Store a tree."""
        return self.raw_tree(dump_tree(entries))

    def raw_tree(self, raw: bytes) -> str:
        """Store the bytes of a tree."""
        return self._put(ObjectType.TREE, raw)

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
        # One entry for each directory on the way down: trees may be thousands of levels deep.
        stack = [self._begin_edit(b"", tree, [(parts(path), entry) for path, entry in changes.items()], 0)]
        while True:
            here = stack[-1]
            if here.below:
                name, inner = here.below.pop()
                current = here.entries.get(name)
                is_tree = current is not None and current.mode == TREE
                if is_tree or any(entry is not None for _, entry in inner):
                    subtree = current.oid if current is not None and is_tree else None
                    stack.append(self._begin_edit(name, subtree, inner, len(stack)))
                continue
            stack.pop()
            written = self._remember_written(here.entries) if here.entries else None
            if not stack:
                return written or self.write_tree({})
            if written is None:
                stack[-1].entries.pop(here.name, None)
            else:
                stack[-1].entries[here.name] = Entry(TREE, written)

    def _begin_edit(
        self, name: bytes, tree: str | None, changes: Sequence[tuple[list[bytes], Entry | None]], depth: int
    ) -> "_Edit":
        entries = dict(self.entries(tree)) if tree else {}
        below: dict[bytes, list[tuple[list[bytes], Entry | None]]] = {}
        for names, entry in changes:
            if len(names) > depth + 1:
                below.setdefault(names[depth], []).append((names, entry))
            elif entry is None:
                entries.pop(names[depth], None)
            else:
                entries[names[depth]] = entry
        return _Edit(name, entries, list(below.items())[::-1])

    def _remember_written(self, entries: dict[bytes, Entry]) -> str:
        written = self.write_tree(entries)
        self._remember(written, entries)
        return written

    def differences(self, old: str | None, new: str | None) -> Iterator[Change]:
        """Every file, link or gitlink that differs between two trees; equal directories are not even opened."""
        waiting = [(b"", old, new)] if old != new else []
        while waiting:
            prefix, one_tree, other_tree = waiting.pop()
            before = self.entries(one_tree) if one_tree else {}
            after = self.entries(other_tree) if other_tree else {}
            below = []
            for name in sorted(before.keys() | after.keys()):
                one, other = before.get(name), after.get(name)
                if one == other:
                    continue
                path = prefix + name
                one_below = one.oid if one and one.mode == TREE else None
                other_below = other.oid if other and other.mode == TREE else None
                leaf_one = None if one_below else one
                leaf_other = None if other_below else other
                if leaf_one or leaf_other:
                    yield Change(os.fsdecode(path), leaf_one, leaf_other)
                if one_below or other_below:
                    below.append((path + b"/", one_below, other_below))
            waiting += below[::-1]

    def leaves(self, tree: str, prefix: bytes = b"") -> Iterator[tuple[str, Entry]]:
        """Every file, link and gitlink of a tree."""
        waiting = [(prefix, tree)]
        while waiting:
            above, oid = waiting.pop()
            below = []
            for name, entry in self.entries(oid).items():
                if entry.mode == TREE:
                    below.append((above + name + b"/", entry.oid))
                else:
                    yield os.fsdecode(above + name), entry
            waiting += below[::-1]

    def tree_of(self, commit: str) -> str:
        """The tree of a commit, also by a tag on it; a tree's id is given back."""
        known = self._commits.get(commit)
        if known is not None:
            return known
        oid = commit
        kind, data = self.read(oid)
        while kind == ObjectType.TAG:
            oid = data[len(b"object ") :].split(b"\n", 1)[0].decode()
            kind, data = self.read(oid)
        if kind == ObjectType.COMMIT:
            return self._know(commit, data[len(b"tree ") :].split(b"\n", 1)[0].decode())
        if kind != ObjectType.TREE:
            raise KeyError(commit)
        return oid

    def _know(self, commit: str, tree: str) -> str:
        if len(self._commits) > _MOST_REMEMBERED // 10:
            self._commits = {}
        self._commits[commit] = tree
        return tree

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
        for oid in (tree, *parents):
            if oid not in self._commits:
                if not self.has(oid):
                    raise KeyError(oid)
                require_whole(self._path, oid)
        made = self._put(ObjectType.COMMIT, commit_bytes(tree, parents, message, at, author))
        self._write_pack()
        self.sync()
        self._know(made, tree)
        return made

    def _put(self, kind: ObjectType, data: bytes) -> str:
        pack = self._step.pack
        if pack is None:
            with self._writing(len(data)):
                return self.written(str(self.repo.write(kind, data)))
        if kind == ObjectType.BLOB:
            oid = self.blob_id(data)  # libgit2's, which refuses bytes that were made to have the id of others
        else:
            oid = hashlib.sha1(b"%s %d\0%s" % (_NAMES[kind], len(data), data), usedforsecurity=False).hexdigest()
        pack.add(kind, oid, data)
        if pack.size > _LARGEST_PACK:
            self._write_pack()
        return oid

    def _write_pack(self) -> None:
        """Write what this thread has in hand; merge packs where they are many."""
        pack = self._step.pack
        if not pack:
            return
        made = pack.write(self._path / "objects/pack")
        self._unsynced.note(*made, newest=made[-1])
        with self._lock:
            self._packs += 1
            look = self._packs % MANY == 1
        if look:
            with suppress(OSError, ValueError):  # for want of room, for instance: all is there as it is
                merge(self._path)
            # For a repository opened now knows nothing of the packs that were removed.
            self.repo = pygit2.Repository(str(self._path))

    def written(self, oid: str) -> str:
        """Note an object that has to be on the disk before a commit may name it. libgit2's own syncing waits for each.

        Also noted is what was there before: another process may have written it, and not have come to sync it.
        """
        self._unsynced.note(self._path / "objects" / oid[:2] / oid[2:])
        return oid

    def sync(self) -> None:
        """Return when everything written so far is on the disk."""
        self._unsynced.sync()

    @contextmanager
    def _writing(self, size: int) -> Iterator[None]:
        try:
            yield
        except (pygit2.GitError, OSError, KeyError, ValueError):
            # Without a word of its own, libgit2 gives the last one it had, and its class: nothing in it can be trusted.
            require_room(Path(self.repo.path), size + _BLOCK)
            raise
