"""Git LFS without its filter: pointers to the contents of files, and the contents, which the store keeps.

A repository holds a pointer instead of the file: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from baton import identifiers
from system.safe_directory import SafeDirectory
from system.uncancellable import run_in_thread
from workspaces.delivery.filter_attributes import LFS, filters_of
from workspaces.git.errors import translate_errors
from workspaces.git.tree_codec import EMPTY_TREE, EXECUTABLE, FILE, TreeEntry
from workspaces.store.store import Store

MAX_POINTER = 1024
"""Maximum bytes of a pointer, by the specification."""

_VERSION = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER = re.compile(
    _VERSION
    + rb"(?:ext-\d-\w+ sha256:[0-9a-f]{64}\n)*oid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>0|[1-9]\d{0,18})\n"
)
_KEPT = re.compile(r"(?P<oid>[0-9a-f]{64})-(?P<size>\d+)")
_NO_TIME = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, order=True)
class LfsPointer:
    """A pointer to the content of a file: its SHA-256, and its size in bytes."""

    oid: str
    size: int

    @property
    def file_bytes(self) -> bytes:
        """The three lines that the repository holds."""
        return b"%boid sha256:%b\nsize %d\n" % (_VERSION, self.oid.encode(), self.size)


def pointer_to(content: bytes) -> LfsPointer:
    """Return the pointer to a content."""
    return LfsPointer(hashlib.sha256(content).hexdigest(), len(content))


def parse_pointer(data: bytes) -> LfsPointer | None:
    """Return the pointer in these bytes; None for other content, such as a pointer with conflict markers."""
    found = _POINTER.fullmatch(data) if len(data) <= MAX_POINTER else None
    return LfsPointer(found["oid"].decode(), int(found["size"])) if found else None


async def make_pointers(
    store: Store, tree: str, files: Mapping[str, TreeEntry]
) -> tuple[dict[str, TreeEntry], dict[LfsPointer, str]]:
    """Return pointers for those files of a tree that LFS would replace, by path, and their contents as blobs.

    Only the attributes of the tree count, so that all hosts get the same result. Empty files and files that are
    pointers already stay as they are.
    """
    found = await filters_of(store, [tree], files.keys())
    objects = store.objects

    def replace_contents() -> tuple[dict[str, TreeEntry], dict[LfsPointer, str]]:
        entries: dict[str, TreeEntry] = {}
        contents: dict[LfsPointer, str] = {}
        for path, names in found.items():
            entry = files[path]
            data = objects.read_blob(entry.oid) if names == (LFS,) else b""
            if data and parse_pointer(data) is None:
                pointer = pointer_to(data)
                contents[pointer] = entry.oid
                entries[path] = TreeEntry(entry.mode, objects.write_blob(pointer.file_bytes))
        return entries, contents

    with translate_errors("making LFS pointers"):
        return await run_in_thread(replace_contents)


async def keep_contents(store: Store, run: str, task: str, commit: str, contents: Mapping[LfsPointer, str]) -> None:
    """Keep the contents of the pointers in a project commit by a ref of their own."""
    if not contents:
        return
    entries: dict[str, TreeEntry | None] = {
        f"{at.oid}-{at.size}": TreeEntry(FILE, blob) for at, blob in contents.items()
    }

    def build_commit() -> str:
        tree = store.objects.edit_tree(EMPTY_TREE, entries)
        return store.objects.write_commit(tree, [], f"contents of LFS files of {commit}", _NO_TIME)

    with translate_errors("keeping the contents of LFS files"):
        kept = await run_in_thread(build_commit)
    await store.move_ref(identifiers.contents_ref(run, task, commit), kept, expected=None)


async def find_contents(store: Store, run: str) -> dict[LfsPointer, str]:
    """Return the contents of LFS files that a run's store keeps, as blobs by pointer."""
    found: dict[LfsPointer, str] = {}
    for ref in store.list_refs(run):
        commit = await store.read_head(ref) if identifiers.is_contents_ref(ref) else None
        if commit is None:
            continue
        with translate_errors("reading the contents of LFS files"):
            for name, entry in store.objects.list_entries(store.objects.tree_of(commit)).items():
                named = _KEPT.fullmatch(name.decode())
                if named:
                    found[LfsPointer(named["oid"], int(named["size"]))] = entry.oid
    return found


async def checkout_files(store: Store, run: str, commit: str, directory: Path) -> None:
    """Write the files of a commit into an empty directory, with the contents of files that the run put behind LFS.

    So tests see the files of the agents' workspaces. Files that were pointers before stay pointers, because the store
    does not have their contents.
    """
    await store.check_out(commit, directory)
    contents = await find_contents(store, run)
    if not contents:
        return
    objects = store.objects

    def find_pointers() -> dict[str, tuple[TreeEntry, str]]:
        blobs = {objects.blob_id(pointer.file_bytes): blob for pointer, blob in contents.items()}
        return {
            path: (entry, blobs[entry.oid])
            for path, entry in objects.list_leaves(objects.tree_of(commit))
            if entry.oid in blobs and entry.mode in (FILE, EXECUTABLE)
        }

    def write_file(path: str, entry: TreeEntry, blob: str) -> None:
        SafeDirectory(directory).write_file(path, objects.read_blob(blob), 0o755 if entry.mode == EXECUTABLE else 0o644)

    with translate_errors("checking a commit out"):
        found = await run_in_thread(find_pointers)
        for path, names in (await filters_of(store, [objects.tree_of(commit)], found)).items():
            if names == (LFS,):
                await run_in_thread(write_file, path, *found[path])
