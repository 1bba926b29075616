"""Brings the contents of LFS files to where their pointers are published, by the person's own `git lfs`.

It runs outside every sandbox, with the person's credentials, in a scratch repository of the engine's: there is no hook
and no `.lfsconfig` of theirs in it, so nothing that a repository says is obeyed. A server that a `.lfsconfig` names is
for a person to send to.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from baton.errors import ContentsMissing, GitHubDenied, RepositoryAway, WorkspaceError
from system.uncancellable import in_thread
from workspaces.delivery.lfs_store import Pointer
from workspaces.git.credentials import Header
from workspaces.git.errors import clean_text, translated
from workspaces.git.object_database import Objects
from workspaces.git.repositories import scratch
from workspaces.git.run import GitResult, git
from workspaces.git.tree_codec import EMPTY_TREE, EXECUTABLE, FILE, Entry
from workspaces.store.store import Store
from workspaces.store.target_repository import shown, unreachable

_CONFIG_FILE = ".lfsconfig"
_REMOTE = "target"
_SERVER = re.compile(r"lfs\.(push)?url|remote\..*\.lfs(push)?url")
_MOST_OBJECTS = 200
"""Objects in one command line."""
_LARGEST_CHECK = 2 << 30
"""Bytes that are fetched to see that the repository has what somebody's pointers stand for."""
_NOT_INSTALLED = (
    "git-lfs, which uploads the contents of LFS files, is not installed where the worker runs; install it, and retry."
)


async def bring(
    store: Store, pointers: Iterable[Pointer], contents: Mapping[Pointer, str], *, trees: Sequence[str] = ()
) -> None:
    """Return once the repository has what these pointers stand for: ours are uploaded, others have to be there.

    `trees` are those whose `.lfsconfig` may name another server. Raises ContentsMissing, with the reason; and
    RepositoryAway or GitHubDenied where that is why.
    """
    wanted = sorted(set(pointers))
    if not wanted:
        return
    ours = {pointer: contents[pointer] for pointer in wanted if pointer in contents}
    theirs = [pointer for pointer in wanted if pointer not in contents]
    header = await store.header()
    async with scratch(store.root, "") as place:
        await _require_own_server(store, place, trees)
        if (await git(["lfs", "version"], git_dir=place, persons=True, check=False)).code != 0:
            raise ContentsMissing(_NOT_INSTALLED)
        with translated("preparing an upload"):
            await in_thread(_prepare, store, place, ours)
        oids = [pointer.oid for pointer in ours]
        for start in range(0, len(oids), _MOST_OBJECTS):
            some = oids[start : start + _MOST_OBJECTS]
            _require(store, await _lfs(place, ["push", "--object-id", _REMOTE, *some], header), header, "uploaded")
        if theirs:
            await _require_there(store, place, theirs, header)


async def _lfs(place: Path, arguments: list[str], header: Header | None) -> GitResult:
    try:
        return await git(["lfs", *arguments], git_dir=place, persons=True, check=False, header=header)
    except WorkspaceError as error:  # it took too long
        raise ContentsMissing(f"The contents of LFS files could not be brought there: {error}") from error


async def _require_there(store: Store, place: Path, pointers: list[Pointer], header: Header | None) -> None:
    """Fetch what pointers that an agent wrote stand for: there is no other way to ask that works with every server."""
    if sum(pointer.size for pointer in pointers) > _LARGEST_CHECK:
        raise ContentsMissing("What the LFS pointers stand for is too large to see whether the repository has it.")
    with translated("looking for the contents of LFS files"):
        commit = await in_thread(_commit_of, place, pointers)
    fetched = await _lfs(place, ["fetch", _REMOTE, commit], header)
    with translated("looking for the contents of LFS files"):
        missing = await in_thread(lambda: [one for one in pointers if not _is_whole(_path(place, one.oid), one)])
    if missing:
        _require(store, fetched, header, "found")
        raise ContentsMissing(
            f"{shown(store.repo)} has no content for the LFS pointer to {missing[0].oid[:12]}, which an agent wrote."
        )


def _require(store: Store, said: GitResult, header: Header | None, doing: str) -> None:
    if said.code == 0:
        return
    why = unreachable(store.repo, said.stderr, "reached by git-lfs", header)
    if isinstance(why, GitHubDenied | RepositoryAway):
        raise why
    raise ContentsMissing(
        f"The contents of LFS files could not be {doing} in {shown(store.repo)}:"
        f" {clean_text(said.stderr, 300) or f'git-lfs ended with {said.code}'}"
    )


async def _require_own_server(store: Store, place: Path, trees: Sequence[str]) -> None:
    """Raise ContentsMissing where the repository names another server: our credentials are not for it to send about."""
    if store.repo.startswith("/"):
        return  # objects are kept beside the person's own, and their git sends them on as it would any other
    own = store.repo.rstrip("/").removesuffix(".git")
    for tree in trees:
        entry = store.source.entry(tree, _CONFIG_FILE)
        if entry is None or entry.mode not in (FILE, EXECUTABLE):
            continue
        file = place / "lfsconfig"
        with translated("reading .lfsconfig"):
            await in_thread(file.write_bytes, store.source.data(entry.oid))
        listed = await git(
            ["config", "--file", str(file), "--no-includes", "--null", "--list"], git_dir=place, check=False
        )
        for setting in listed.names():
            name, _, value = setting.partition("\n")
            if _SERVER.fullmatch(name) and value.rstrip("/") not in (f"{own}/info/lfs", f"{own}.git/info/lfs"):
                raise ContentsMissing(
                    f"The repository's .lfsconfig names another server for LFS files ({shown(value)[:200]}), and Baton"
                    " sends to the repository itself only: what a repository says is no reason to send your credentials"
                    " anywhere."
                )


def _prepare(store: Store, place: Path, contents: Mapping[Pointer, str]) -> None:
    """A remote and the objects, where git-lfs looks for them. What is configured here wins over the person's own.

    The storage is relative, for a repository on this machine is written to with the same configuration.
    """
    url = f"file://{quote(store.repo)}" if store.repo.startswith("/") else store.repo
    settings = f"""\
[remote "{_REMOTE}"]
\turl = {_quoted(url)}
[lfs]
\tstorage = lfs
\tallowincompletepush = false
\tskipdownloaderrors = false
\tlocksverify = false
\tfetchinclude = ""
\tfetchexclude = ""
"""
    with (place / "config").open("a") as file:
        file.write(settings)
    for pointer, blob in contents.items():
        path = _path(place, pointer.oid)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.objects.data(blob))


def _commit_of(place: Path, pointers: list[Pointer]) -> str:
    objects = Objects(place)
    entries: dict[str, Entry | None] = {one.oid: Entry(FILE, objects.blob(one.data)) for one in pointers}
    return objects.commit(objects.edit(EMPTY_TREE, entries), [], "pointers", datetime.now(UTC))


def _path(place: Path, oid: str) -> Path:
    return place / "lfs/objects" / oid[:2] / oid[2:4] / oid


def _is_whole(path: Path, pointer: Pointer) -> bool:
    try:
        if path.stat().st_size != pointer.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == pointer.oid
    except OSError:
        return False


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
