"""The object database of a bare repository: blobs, trees by their raw bytes, commits with fixed dates.

New objects are loose files of libgit2's; `repack` brings them together from time to time.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

import pygit2
from pygit2.enums import ConfigLevel, ObjectType, Option

from system.fsync import UnsyncedFiles
from system.safe_directory import split_path
from workspaces.git.commits import ENGINE, CommitAuthor, commit_bytes
from workspaces.git.errors import require_free_space
from workspaces.git.loose_objects import KINDS, DamagedObject, object_directories, read_loose, require_whole
from workspaces.git.tree_codec import EMPTY_TREE, TREE, TreeChange, TreeEntry, dump_tree, parse_tree

_MAX_REMEMBERED = 30_000
"""Entries of trees that are kept in memory, some 250 bytes each."""
_BLOCK = 1 << 16
"""Bytes that a small file and its directories may need."""
MAX_OPEN_PACKS = 32
"""Packs whose files libgit2 has open at the same time, in one process."""
_MAX_REWRITES = 3
"""Further tries to write a loose file whose directory a repack removes meanwhile."""
_FASTEST = 1
"""Level of compression: a checkpoint waits for it, and `git repack` compresses deltas anew."""

_NAMES = {kind: name for name, kind in KINDS.items()}


@cache
def prepare_library() -> None:
    """Make libgit2 read no configuration but that of the repository it opens, and keep few packs open.

    It keeps open files, those of removed packs too, as long as their repository object lives.
    """
    for level in (ConfigLevel.SYSTEM, ConfigLevel.GLOBAL, ConfigLevel.XDG):
        pygit2.option(Option.SET_SEARCH_PATH, level, "/nonexistent")
    pygit2.option(Option.SET_MWINDOW_FILE_LIMIT, MAX_OPEN_PACKS)
    # git before 2.27 marks a partial clone so. A missing object shows when it is read.
    pygit2.option(Option.SET_EXTENSIONS, ["partialclone"], 1)


def object_id(kind: int, data: bytes) -> str:
    """Return the id of an object. Raises GitError for a blob that was made to have the id of another one."""
    if kind == ObjectType.BLOB:
        return str(pygit2.hash(data))
    head = b"%s %d\0" % (_NAMES[ObjectType(kind)], len(data))
    return hashlib.sha1(head + data, usedforsecurity=False).hexdigest()


@dataclass
class _DirectoryEdit:
    """One directory on the way down of an edit, with its entries as they will be."""

    name: bytes
    entries: dict[bytes, TreeEntry]
    below: list[tuple[bytes, list[tuple[list[bytes], TreeEntry | None]]]]
    """The directories in it that change, too; the last one first."""


class ObjectDatabase:
    """The objects of one bare repository and of those it borrows from."""

    def __init__(self, path: Path) -> None:
        prepare_library()
        self.repo = pygit2.Repository(str(path))
        self._path = path
        self._places = object_directories(path)
        # Without the packs: an object that is only in a pack is written again, because garbage collection may be about
        # to drop a pack with unreferenced objects. https://git-scm.com/docs/git-gc#_notes
        self._loose = pygit2.Odb()
        self._loose.add_backend(pygit2.OdbBackendLoose(str(path / "objects"), _FASTEST, False), 1)
        self._unsynced = UnsyncedFiles(path / "objects")
        self._trees: dict[str, dict[bytes, TreeEntry]] = {}
        self._remembered = 0
        self._commits: dict[str, str] = {}

    def write_blob(self, data: bytes) -> str:
        """Store bytes as a blob; returns its id."""
        return self.write_object(ObjectType.BLOB, data)

    def blob_id(self, data: bytes) -> str:
        """Return the id of bytes as a blob, without storing them."""
        return str(pygit2.hash(data))

    def read_blob(self, oid: str) -> bytes:
        """Return the bytes of a blob. Raises KeyError if there is no such blob."""
        kind, data = self.read_object(oid)
        if kind != ObjectType.BLOB:
            raise KeyError(oid)
        return data

    def has_object(self, oid: str) -> bool:
        """Whether an object is there; always so for the empty tree, as in git."""
        return oid == EMPTY_TREE or bool(self.repo.odb.exists(oid))

    def read_object(self, oid: str) -> tuple[int, bytes]:
        """Return kind and bytes of any object. Raises KeyError if there is none, DamagedObject if it is not whole."""
        return read_loose(self._places, oid) or self.repo.read(oid)

    def list_entries(self, tree: str) -> Mapping[bytes, TreeEntry]:
        """Return the entries of a tree by name, without those of its subdirectories."""
        if tree == EMPTY_TREE:
            return {}
        known = self._trees.get(tree)
        return self._cache_tree(tree, self._read_tree(tree)) if known is None else known

    def _cache_tree(self, tree: str, entries: dict[bytes, TreeEntry]) -> dict[bytes, TreeEntry]:
        """Cache a tree: a transcript of many turns is read a file at a time, each time by way of the same trees."""
        if self._remembered > _MAX_REMEMBERED:
            self._trees, self._remembered = {}, 0
        self._trees[tree] = entries
        self._remembered += len(entries)
        return entries

    def _read_tree(self, tree: str) -> dict[bytes, TreeEntry]:
        kind, raw = self.read_object(tree)
        if kind != ObjectType.TREE:
            raise KeyError(tree)
        return parse_tree(raw)

    def write_tree(self, entries: Mapping[bytes, TreeEntry]) -> str:
        """Store a tree."""
        return self.write_raw_tree(dump_tree(entries))

    def write_raw_tree(self, raw: bytes) -> str:
        """Store the bytes of a tree."""
        return self.write_object(ObjectType.TREE, raw)

    def find_entry(self, tree: str, path: str) -> TreeEntry | None:
        """Return the entry at a path of a tree, or None. The empty path is the tree itself."""
        found = TreeEntry(TREE, tree)
        for name in os.fsencode(path).split(b"/") if path else []:
            if found.mode != TREE:
                return None
            below = self.list_entries(found.oid).get(name)
            if below is None:
                return None
            found = below
        return found

    def edit_tree(self, tree: str, changes: Mapping[str, TreeEntry | None]) -> str:
        """Return a tree with some paths set, or removed for a None. Directories are made and removed as needed."""
        if not changes:
            return tree
        # One entry for each directory on the way down: trees may be thousands of levels deep.
        stack = [self._begin_edit(b"", tree, [(split_path(path), entry) for path, entry in changes.items()], 0)]
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
                stack[-1].entries[here.name] = TreeEntry(TREE, written)

    def _begin_edit(
        self, name: bytes, tree: str | None, changes: Sequence[tuple[list[bytes], TreeEntry | None]], depth: int
    ) -> "_DirectoryEdit":
        entries = dict(self.list_entries(tree)) if tree else {}
        below: dict[bytes, list[tuple[list[bytes], TreeEntry | None]]] = {}
        for names, entry in changes:
            if len(names) > depth + 1:
                below.setdefault(names[depth], []).append((names, entry))
            elif entry is None:
                entries.pop(names[depth], None)
            else:
                entries[names[depth]] = entry
        return _DirectoryEdit(name, entries, list(below.items())[::-1])

    def _remember_written(self, entries: dict[bytes, TreeEntry]) -> str:
        written = self.write_tree(entries)
        self._cache_tree(written, entries)
        return written

    def diff_trees(self, old: str | None, new: str | None) -> Iterator[TreeChange]:
        """Yield every file, link or gitlink that differs between two trees; equal directories are not read."""
        waiting = [(b"", old, new)] if old != new else []
        while waiting:
            prefix, one_tree, other_tree = waiting.pop()
            before = self.list_entries(one_tree) if one_tree else {}
            after = self.list_entries(other_tree) if other_tree else {}
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
                    yield TreeChange(os.fsdecode(path), leaf_one, leaf_other)
                if one_below or other_below:
                    below.append((path + b"/", one_below, other_below))
            waiting += below[::-1]

    def list_leaves(self, tree: str, prefix: bytes = b"") -> Iterator[tuple[str, TreeEntry]]:
        """Yield every file, link and gitlink of a tree, with its path below `prefix`."""
        waiting = [(prefix, tree)]
        while waiting:
            above, oid = waiting.pop()
            below = []
            for name, entry in self.list_entries(oid).items():
                if entry.mode == TREE:
                    below.append((above + name + b"/", entry.oid))
                else:
                    yield os.fsdecode(above + name), entry
            waiting += below[::-1]

    def tree_of(self, commit: str) -> str:
        """Return the tree of a commit, or of a tag on one; a tree's own id is returned as it is."""
        known = self._commits.get(commit)
        if known is not None:
            return known
        oid = commit
        kind, data = self.read_object(oid)
        while kind == ObjectType.TAG:
            oid = data[len(b"object ") :].split(b"\n", 1)[0].decode()
            kind, data = self.read_object(oid)
        if kind == ObjectType.COMMIT:
            return self._cache_commit(commit, data[len(b"tree ") :].split(b"\n", 1)[0].decode())
        if kind != ObjectType.TREE:
            raise KeyError(commit)
        return oid

    def _cache_commit(self, commit: str, tree: str) -> str:
        if len(self._commits) > _MAX_REMEMBERED // 10:
            self._commits = {}
        self._commits[commit] = tree
        return tree

    def list_parents(self, commit: str) -> list[str]:
        """Return the parents of a commit."""
        return [str(oid) for oid in self.commit_object(commit).parent_ids]

    def commit_object(self, commit: str) -> pygit2.Commit:
        """Return a commit as an object of libgit2."""
        require_whole(self._path, commit)
        return self.repo[commit].peel(pygit2.Commit)

    def write_commit(
        self, tree: str, parents: Sequence[str], message: str, at: datetime, author: CommitAuthor = ENGINE
    ) -> str:
        """Store a commit, durably with all objects that were written before it.

        The same arguments give the same id, at any time and on any host.
        """
        for oid in (tree, *parents):
            if oid not in self._commits:
                if not self.has_object(oid):
                    raise KeyError(oid)
                require_whole(self._path, oid)
        made = self.write_object(ObjectType.COMMIT, commit_bytes(tree, parents, message, at, author))
        self.sync_objects()
        self._cache_commit(made, tree)
        return made

    def write_object(self, kind: int, data: bytes) -> str:
        """Store an object of any kind; returns its id."""
        oid = object_id(kind, data)
        with self._explain_failure(len(data)):
            if not self._is_loose(oid):
                self._write_loose(kind, data)
        return self.note_unsynced(oid)

    def _write_loose(self, kind: int, data: bytes) -> None:
        """Write a loose file; again if a repack has just removed its directory, which was empty.

        libgit2 makes the directory, and then renames a file into it.
        """
        for last in (False,) * _MAX_REWRITES + (True,):
            try:
                self._loose.write(kind, data)
                return
            except OSError:
                if last:
                    raise

    def _is_loose(self, oid: str) -> bool:
        """Whether an object is a whole loose file already, which is made as young as a new one; a damaged file is
        removed.

        libgit2 takes a file for the object without reading it, also one that a power cut has left empty.
        """
        path = self._path / "objects" / oid[:2] / oid[2:]
        try:
            os.utime(path)  # garbage collection spares young files
            return read_loose(self._places[:1], oid) is not None
        except FileNotFoundError:
            return False
        except DamagedObject:
            path.unlink(missing_ok=True)
            return False

    def close_packs(self) -> None:
        """Let go of the files of packs that were removed; libgit2 keeps those that it has opened."""
        self.repo = pygit2.Repository(str(self._path))

    def note_unsynced(self, oid: str) -> str:
        """Note an object that must be on the disk before a commit names it: libgit2's own syncing waits for each file.

        Objects that were there before are noted as well: the process that wrote them may have died before it synced
        them.
        """
        self._unsynced.add_paths(self._path / "objects" / oid[:2] / oid[2:])
        return oid

    def sync_objects(self) -> None:
        """Wait until all objects written so far are on the disk. Raises OSError if one of them is gone."""
        for path in self._unsynced.sync_added():
            if not self.has_object(oid := path.parent.name + path.name):
                raise OSError(f"the object {oid} was removed before a ref came to name it; try again")

    @contextmanager
    def _explain_failure(self, size: int) -> Iterator[None]:
        try:
            yield
        except (pygit2.GitError, OSError, KeyError, ValueError):
            # Without a message of its own, libgit2 gives its last one, with that one's class: neither can be trusted.
            require_free_space(Path(self.repo.path), size + _BLOCK)
            raise
