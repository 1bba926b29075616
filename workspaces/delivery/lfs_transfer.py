"""The upload of LFS contents to the repository that gets their pointers, by the person's own `git lfs`.

It runs outside the sandbox, with the person's credentials, in a scratch repository of the engine without hooks and
without the project's `.lfsconfig`, so that it obeys no configuration of the repository. Only a person may send contents
to a server that a `.lfsconfig` names.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from baton.errors import ContentsMissing, GitHubDenied, RepositoryAway, WorkspaceError
from system.uncancellable import run_in_thread
from workspaces.delivery.lfs_store import LfsPointer
from workspaces.git.credentials import CredentialHeader
from workspaces.git.errors import clean_text, translate_errors
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.repositories import scratch_repository
from workspaces.git.run import GitResult, call_git
from workspaces.git.tree_codec import EMPTY_TREE, EXECUTABLE, FILE, TreeEntry
from workspaces.store.store import Store
from workspaces.store.target_repository import display_name, unreachable_error

_CONFIG_FILE = ".lfsconfig"
_REMOTE = "target"
_SERVER = re.compile(r"lfs\.(push)?url|remote\..*\.lfs(push)?url")
_MAX_OBJECTS = 200
"""Maximum of objects in one command line."""
_MAX_CHECK = 2 << 30
"""Maximum bytes that are fetched to check that the repository has the contents of foreign pointers."""
_NOT_INSTALLED = (
    "git-lfs, which uploads the contents of LFS files, is not installed where the worker runs; install it, and retry."
)


async def upload_contents(
    store: Store, pointers: Iterable[LfsPointer], contents: Mapping[LfsPointer, str], *, trees: Sequence[str] = ()
) -> None:
    """Ensure that the repository has the contents of these pointers: upload the store's own, check that it has others.

    `contents` are the store's own, as blobs. The `.lfsconfig` of each of `trees` is checked for another server. Raises
    ContentsMissing with the reason, and RepositoryAway or GitHubDenied if that is the reason.
    """
    wanted = sorted(set(pointers))
    if not wanted:
        return
    ours = {pointer: contents[pointer] for pointer in wanted if pointer in contents}
    theirs = [pointer for pointer in wanted if pointer not in contents]
    header = await store.credential_header()
    async with scratch_repository(store.root, "") as place:
        await _require_own_server(store, place, trees)
        if (await call_git(["lfs", "version"], git_dir=place, persons=True, check=False)).code != 0:
            raise ContentsMissing(_NOT_INSTALLED)
        with translate_errors("preparing an upload"):
            await run_in_thread(_prepare_repository, store, place, ours)
        oids = [pointer.oid for pointer in ours]
        for start in range(0, len(oids), _MAX_OBJECTS):
            some = oids[start : start + _MAX_OBJECTS]
            _require_success(
                store, await _run_lfs(place, ["push", "--object-id", _REMOTE, *some], header), header, "uploaded"
            )
        if theirs:
            await _require_there(store, place, theirs, header)


async def _run_lfs(place: Path, arguments: list[str], header: CredentialHeader | None) -> GitResult:
    try:
        return await call_git(["lfs", *arguments], git_dir=place, persons=True, check=False, header=header)
    except WorkspaceError as error:  # a time-out
        raise ContentsMissing(f"The contents of LFS files could not be transferred: {error}") from error


async def _require_there(
    store: Store, place: Path, pointers: list[LfsPointer], header: CredentialHeader | None
) -> None:
    """Fetch the contents of pointers that an agent wrote, because no query for them works with every server."""
    if sum(pointer.size for pointer in pointers) > _MAX_CHECK:
        raise ContentsMissing("The contents of the LFS pointers are too large to check that the repository has them.")
    with translate_errors("checking the contents of LFS files"):
        commit = await run_in_thread(_commit_of, place, pointers)
    fetched = await _run_lfs(place, ["fetch", _REMOTE, commit], header)
    with translate_errors("checking the contents of LFS files"):
        missing = await run_in_thread(
            lambda: [one for one in pointers if not _is_whole(_object_path(place, one.oid), one)]
        )
    if missing:
        _require_success(store, fetched, header, "found")
        raise ContentsMissing(
            f"{display_name(store.repo)} has no content for the LFS pointer to {missing[0].oid[:12]}, which an"
            " agent wrote."
        )


def _require_success(store: Store, said: GitResult, header: CredentialHeader | None, doing: str) -> None:
    if said.code == 0:
        return
    why = unreachable_error(store.repo, said.stderr, "reached by git-lfs", header)
    if isinstance(why, GitHubDenied | RepositoryAway):
        raise why
    raise ContentsMissing(
        f"The contents of LFS files could not be {doing} in {display_name(store.repo)}:"
        f" {clean_text(said.stderr, 300) or f'git-lfs ended with {said.code}'}"
    )


async def _require_own_server(store: Store, place: Path, trees: Sequence[str]) -> None:
    """Raise ContentsMissing if a `.lfsconfig` names another server, which must not get the person's credentials."""
    if store.repo.startswith("/"):
        return  # the objects join the person's own, and their git uploads them like any others
    own = store.repo.rstrip("/").removesuffix(".git")
    for tree in trees:
        entry = store.source.find_entry(tree, _CONFIG_FILE)
        if entry is None or entry.mode not in (FILE, EXECUTABLE):
            continue
        file = place / "lfsconfig"
        with translate_errors("reading .lfsconfig"):
            await run_in_thread(file.write_bytes, store.source.read_blob(entry.oid))
        listed = await call_git(
            ["config", "--file", str(file), "--no-includes", "--null", "--list"], git_dir=place, check=False
        )
        for setting in listed.split_names():
            name, _, value = setting.partition("\n")
            if _SERVER.fullmatch(name) and value.rstrip("/") not in (f"{own}/info/lfs", f"{own}.git/info/lfs"):
                raise ContentsMissing(
                    f"The repository's .lfsconfig names another server for LFS files ({display_name(value)[:200]}),"
                    " and Baton"
                    " uploads to the repository itself only: a repository must not choose where your credentials go."
                )


def _prepare_repository(store: Store, place: Path, contents: Mapping[LfsPointer, str]) -> None:
    """Configure the remote and write the objects for git-lfs; this configuration overrides the person's own.

    The storage is relative, because git-lfs writes to a repository on this machine with the same configuration.
    """
    url = f"file://{quote(store.repo)}" if store.repo.startswith("/") else store.repo
    settings = f"""\
[remote "{_REMOTE}"]
\turl = {_quote_value(url)}
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
        path = _object_path(place, pointer.oid)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.objects.read_blob(blob))


def _commit_of(place: Path, pointers: list[LfsPointer]) -> str:
    objects = ObjectDatabase(place)
    entries: dict[str, TreeEntry | None] = {
        one.oid: TreeEntry(FILE, objects.write_blob(one.file_bytes)) for one in pointers
    }
    return objects.write_commit(objects.edit_tree(EMPTY_TREE, entries), [], "pointers", datetime.now(UTC))


def _object_path(place: Path, oid: str) -> Path:
    return place / "lfs/objects" / oid[:2] / oid[2:4] / oid


def _is_whole(path: Path, pointer: LfsPointer) -> bool:
    try:
        if path.stat().st_size != pointer.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == pointer.oid
    except OSError:
        return False


def _quote_value(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
