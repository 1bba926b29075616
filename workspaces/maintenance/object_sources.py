"""Sources of a lost object: the other repository, workspaces, the target repository, the state remote."""

import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from baton.errors import BatonError
from system.directory_walk import DIRECTORY, walk_directories
from system.safe_directory import SafeDirectory
from system.uncancellable import run_in_thread
from workspaces.checkpoints.walk import MAX_PATH
from workspaces.git.object_database import ObjectDatabase, object_id
from workspaces.git.repositories import scratch_repository
from workspaces.git.run import call_git
from workspaces.maintenance.verify_workspaces import index_is_whole, runs_of
from workspaces.store.fetch import HEADS, TAGS
from workspaces.store.local_source import guard_options
from workspaces.store.promised_objects import open_complete
from workspaces.store.state_remote import StateRemote
from workspaces.store.store import Store
from workspaces.store.target_repository import list_refs

_MAX_FILE = 100 * 1024 * 1024
"""Maximum bytes of a file in a workspace that is read; larger ones are never kept."""


Found = tuple[int, bytes]
"""Kind and bytes of an object, of which the digest is its id."""


class ObjectSources:
    """All sources of a store's objects. The remote ones are asked only for objects that the local ones do not have."""

    def __init__(self, store: Store, stack: AsyncExitStack) -> None:
        self._store = store
        self._stack = stack
        self._files: dict[str, tuple[SafeDirectory, str]] | None = None
        self._opened: list[ObjectDatabase] = []
        self._closed = [self._open_stores, self._build_index_trees, self._fetch_target, self._fetch_remote]
        self.unreachable: list[str] = []
        """Why a far place could not be asked, in sentences."""

    async def find_object(self, oid: str) -> Found | None:
        """Return an object from the first source that has it; None if there is none."""
        if found := await run_in_thread(self._in_opened, self._opened, oid):
            return found
        if self._files is None:
            self._files = await run_in_thread(_files_by_id, self._store)
        if found := await run_in_thread(self._in_files, oid):
            return found
        while self._closed:
            added = await self._closed.pop(0)()
            self._opened += added
            if found := await run_in_thread(self._in_opened, added, oid):
                return found
        return None

    def _in_opened(self, places: list[ObjectDatabase], oid: str) -> Found | None:
        for objects in places:
            with suppress(pygit2.GitError, KeyError, ValueError, OSError):
                kind, data = objects.read_object(oid)
                if object_id(kind, data) == oid:
                    return kind, data
        return None

    def _in_files(self, oid: str) -> Found | None:
        assert self._files is not None
        if oid in self._files:
            with suppress(OSError, pygit2.GitError):
                data = _read_content(*self._files[oid])
                if object_id(ObjectType.BLOB, data) == oid:
                    return ObjectType.BLOB, data
        return None

    async def _open_stores(self) -> list[ObjectDatabase]:
        return [ObjectDatabase(self._store.source_path), ObjectDatabase(self._store.path)]

    async def _build_index_trees(self) -> list[ObjectDatabase]:
        """Build the directories that git's indexes of the workspaces list; the contents of files may be missing."""
        place = await self._stack.enter_async_context(scratch_repository(self._store.root))
        for index in self._add_workspaces("index"):
            if await run_in_thread(index_is_whole, index):
                await run_in_thread(
                    shutil.copyfile, index, place / "index"
                )  # git also writes to the index that it reads
                env = {"GIT_INDEX_FILE": str(place / "index")}
                await call_git(["write-tree", "--missing-ok"], git_dir=place, env=env, check=False)
        return [ObjectDatabase(place)]

    async def _fetch_target(self) -> list[ObjectDatabase]:
        """Fetch the target repository; for a partial clone also the objects that its remote has promised."""
        store = self._store
        place = await self._stack.enter_async_context(scratch_repository(store.root))
        specs = [f"+{HEADS}*:refs/target/heads/*", f"+{TAGS}*:refs/target/tags/*"]
        try:
            header = await store.credential_header()
            offered = await list_refs(store.repo, place, f"{HEADS}*", f"{TAGS}*", header=header, hooks=store.hooks)
            async with open_complete(store.repo, store.root, place, offered.refs, hooks=store.hooks) as served:
                guarded = await guard_options("upload-pack", served.address, place, hooks=store.hooks)
                await call_git(
                    ["fetch", "--quiet", "--no-tags", "--update-shallow", *guarded, "--", served.address, *specs],
                    git_dir=place,
                    persons=True,
                    header=header,
                )
        except BatonError as error:
            self.unreachable.append(f"The target repository could not be asked. {error}")
        return [ObjectDatabase(place)]

    async def _fetch_remote(self) -> list[ObjectDatabase]:
        remote: StateRemote | None = self._store.remote
        if remote is None:
            self.unreachable.append("BATON_STATE_REMOTE is not set, so no state remote was asked.")
            return []
        place = await self._stack.enter_async_context(scratch_repository(self._store.root))
        try:
            await remote.fetch_runs(self._store, await run_in_thread(runs_of, self._store), place)
        except BatonError as error:
            self.unreachable.append(str(error))
        return [ObjectDatabase(place)]

    def _add_workspaces(self, name: str) -> Iterator[Path]:
        for run in sorted(runs_of(self._store)):
            yield from sorted((self._store.home / "workspaces" / run).glob(f"*/{name}"))


@asynccontextmanager
async def open_sources(store: Store) -> AsyncIterator[ObjectSources]:
    """Open all sources of a store's objects; scratch repositories are removed at the end."""
    async with AsyncExitStack() as stack:
        yield ObjectSources(store, stack)


def _files_by_id(store: Store) -> dict[str, tuple[SafeDirectory, str]]:
    """Return every file and link in the workspaces of a store's runs, by the id that it has in git."""
    found: dict[str, tuple[SafeDirectory, str]] = {}
    for run in sorted(runs_of(store)):
        for work in sorted((store.home / "workspaces" / run).glob("*/work")):
            if work.is_symlink() or not work.is_dir():
                continue
            files = SafeDirectory(work)
            for path in _walk_files(work):
                with suppress(OSError, ValueError, pygit2.GitError):
                    data = _read_content(files, path)
                    found[object_id(ObjectType.BLOB, data)] = (files, path)
    return found


def _walk_files(work: Path) -> Iterator[str]:
    top = os.open(work, DIRECTORY)
    try:
        for at, entries in walk_directories(top):
            path = at.relative_path
            if len(path) > MAX_PATH:
                entries.clear()  # such paths are never kept
            entries[:] = [entry for entry in entries if path or entry.name != ".git"]
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    yield f"{path}/{entry.name}" if path else entry.name
    finally:
        os.close(top)


def _read_content(files: SafeDirectory, path: str) -> bytes:
    """Return the bytes that git keeps of a path: those of a file, or a link's target. Raises OSError for any other
    kind.
    """
    state = files.stat(path)
    if state is None or state.st_size > _MAX_FILE:
        raise OSError(f"nothing to read at {path!r}")
    return files.readlink(path) if stat.S_ISLNK(state.st_mode) else files.read_file(path)
