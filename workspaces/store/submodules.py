"""A project's submodules, and the contents of those that a person allows, at their commits.

    <store>/submodules/<key>.git     the objects that were fetched from one URL
    <store>/submodules/trees/<key>   the files of one submodule at its commit, nested ones in their places

`.gitmodules` is a stranger's text: a path in it counts only if the tree has a gitlink there, its names never count, and
a URL only if the person's list has it. git is given the one protocol of the URL, and follows no redirect.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pygit2
from pydantic import Field

from baton.errors import WorkspaceError
from baton.records.left_out import show_path
from baton.records.run import Record
from baton.text.truncation import cut_text
from system.directory_walk import walk_directories
from system.file_lock import hold_lock
from system.fsync import write_durably
from system.safe_directory import SafeDirectory, clear_away, copy_directory, is_path
from system.uncancellable import run_in_thread
from workspaces.git.errors import GitFailed, clean_text, translate_errors
from workspaces.git.object_database import ObjectDatabase, prepare_library
from workspaces.git.run import FETCH_OPTIONS, call_git
from workspaces.store.store import Store
from workspaces.store.submodule_urls import is_allowed, protocol_of, resolve_url
from workspaces.store.target_repository import display_name, explain_stderr

MAX_SUBMODULES = 100
"""Submodules of one project, nested ones included, that are fetched."""
MAX_DEPTH = 4
"""Submodules within submodules."""

_MAX_GITMODULES = 1 << 20
_FETCH_TIMEOUT = timedelta(minutes=10)
_SAFE = ("-c", "http.followRedirects=false")


@dataclass(frozen=True)
class SubmoduleContents:
    """The contents of a submodule at a commit."""

    commit: str
    tree: Path


class Submodule(Record):
    """One submodule of a commit."""

    path: str
    """The path itself; if it is no plain text, as `show_path` shows it, and then the submodule is not fetched."""
    commit: str
    url: str = ""
    """The URL in `.gitmodules`; empty if there is none."""
    source: str = ""
    """The URL that its contents were fetched from; empty if they were not."""
    reason: str = ""
    """The reason for which they were not."""
    nested: list["Submodule"] = Field(default_factory=list)


async def find_submodules(objects: ObjectDatabase, commit: str) -> list[Submodule]:
    """List the submodules of a commit, in the order of their paths, with the URLs that its `.gitmodules` gives them."""
    repository = Path(objects.repo.path)
    listed = await call_git(["ls-tree", "-r", "-z", commit], git_dir=repository)
    links: dict[str, str] = {}
    modules = ""
    for line in listed.split_names():
        about, _, path = line.partition("\t")
        mode, _, oid = about.split()
        if mode == "160000":
            links[path] = oid
        elif path == ".gitmodules" and mode in ("100644", "100755"):
            modules = oid
    urls = await _read_urls(objects, repository, modules) if links and modules else {}
    return [
        Submodule(path=show_path(path), commit=links[path], url=cut_text(show_path(urls.get(path, "")), 2_000))
        for path in sorted(links)
    ]


async def _read_urls(objects: ObjectDatabase, repository: Path, blob: str) -> dict[str, str]:
    with translate_errors("reading .gitmodules"):
        if len(await run_in_thread(objects.read_blob, blob)) > _MAX_GITMODULES:
            return {}
    # Include directives in a blob are not followed, and its settings never apply.
    told = await call_git(["config", "--blob", blob, "--no-includes", "-z", "--list"], git_dir=repository, check=False)
    found: dict[str, dict[str, str]] = {}
    for entry in told.split_names() if told.code == 0 else []:
        key, _, value = entry.partition("\n")
        section, _, name = key.rpartition(".")
        if section.startswith("submodule.") and name in ("path", "url"):
            found.setdefault(section, {})[name] = value
    return {one["path"]: one["url"] for one in found.values() if one.keys() >= {"path", "url"}}


async def fetch_submodules(store: Store, commit: str, allowed: tuple[str, ...]) -> list[Submodule]:
    """List the submodules of a project's commit; those with allowed URLs are fetched, nested submodules included."""
    found = await find_submodules(store.source, commit)
    await _fetch_all(store, found, store.repo, allowed, depth=1, left=[MAX_SUBMODULES])
    for one in found:
        try:
            await lay_out_submodules(store, [one])
        except WorkspaceError as error:
            one.source, one.reason = "", clean_text(str(error), 300)
    return found


async def _fetch_all(
    store: Store, found: Sequence[Submodule], base: str, allowed: tuple[str, ...], *, depth: int, left: list[int]
) -> None:
    for one in found:
        url = resolve_url(one.url, base)
        one.reason = _refusal_reason(one, url, allowed, depth, left[0])
        if one.reason:
            continue
        left[0] -= 1
        try:
            repository = await _fetch_commit(store, url, one.commit)
        except WorkspaceError as error:
            one.reason = clean_text(str(error), 300)
            continue
        one.source = url
        objects = await run_in_thread(ObjectDatabase, repository)
        one.nested = await find_submodules(objects, one.commit)
        await _fetch_all(store, one.nested, url, allowed, depth=depth + 1, left=left)


def _refusal_reason(one: Submodule, url: str, allowed: tuple[str, ...], depth: int, left: int) -> str:
    if not allowed:
        return "BATON_SUBMODULES allows none"
    if not one.url:
        return ".gitmodules has no URL for it"
    if not is_path(one.path) or one.path.startswith('"'):
        return "its path is none of a project"
    if not is_allowed(url, allowed):
        return "its URL is not allowed by BATON_SUBMODULES"
    if depth > MAX_DEPTH:
        return f"it is nested deeper than {MAX_DEPTH}"
    return f"there are more than {MAX_SUBMODULES}" if left <= 0 else ""


async def _fetch_commit(store: Store, url: str, commit: str) -> Path:
    """Return the repository that holds a submodule's commit, after fetching it. Raises WorkspaceError if that fails."""
    repository = store.root / "submodules" / f"{_hash_key(url)}.git"
    async with hold_lock(store.root / "submodules" / f"{_hash_key(url)}.lock"):
        await run_in_thread(_create_repository, repository)
        if await run_in_thread(_has_commit, repository, commit):
            return repository
        env = {"GIT_ALLOW_PROTOCOL": protocol_of(url)}
        ref = f"refs/submodule/{commit}"
        stderr = ""
        for options, specs in (
            (["--depth=1"], [f"+{commit}:{ref}"]),
            # Not every server sends a commit that no ref names.
            ([], ["+refs/heads/*:refs/theirs/heads/*", "+refs/tags/*:refs/theirs/tags/*"]),
        ):
            fetched = await call_git(
                [*_SAFE, "fetch", *FETCH_OPTIONS, *options, "--", url, *specs],
                git_dir=repository,
                persons=True,
                check=False,
                env=env,
                timeout=_FETCH_TIMEOUT,
            )
            stderr = fetched.stderr if fetched.code else stderr
            if await run_in_thread(_has_commit, repository, commit):
                await call_git(["update-ref", ref, commit], git_dir=repository)
                return repository
    why = explain_stderr(stderr) or clean_text(stderr, 200) or f"it has no commit {commit[:12]}"
    raise WorkspaceError(f"{display_name(url)} could not be fetched: {why}")


async def lay_out_submodules(store: Store, submodules: Sequence[Submodule]) -> dict[str, SubmoduleContents]:
    """Return the contents of the submodules that have a source, by path; fetched again if this host lacks them."""
    return {
        one.path: SubmoduleContents(one.commit, await _lay_out_tree(store, one)) for one in submodules if one.source
    }


async def fill_submodules(
    directory: Path, gitlinks: Mapping[str, str], fillings: Mapping[str, SubmoduleContents], scratch: Path
) -> list[str]:
    """Put the contents of submodules into a checkout, at the places of its gitlinks; returns their paths."""
    files = SafeDirectory(directory)
    wanted = [path for path in sorted(fillings) if gitlinks.get(path) == fillings[path].commit]
    with translate_errors("placing a submodule"):
        for path in wanted:
            await run_in_thread(place_copy, files, path, fillings[path].tree, scratch)
    return wanted


def describe_submodules(submodules: Sequence[Submodule]) -> list[str]:
    """Describe each submodule in a line; path and URL are foreign text."""
    lines = []
    for one in submodules:
        state = "its contents are there, read-only" if one.source else f"its contents are not there: {one.reason}"
        lines.append(f"{one.path} at {one.commit[:12]} ({one.url or 'no URL'}): {state}")
    return lines


async def _lay_out_tree(store: Store, one: Submodule) -> Path:
    target = store.root / "submodules/trees" / _hash_key(one.model_dump_json())
    if target.is_dir():
        return target
    async with hold_lock(store.root / "submodules" / f"{target.name}.lock"):
        if target.is_dir():
            return target
        with translate_errors("laying a submodule out"):
            target.parent.mkdir(parents=True, exist_ok=True)
            work = Path(await run_in_thread(tempfile.mkdtemp, dir=store.root / "submodules"))
        try:
            await _check_out(store, one, work / "files", work / "index")
            with translate_errors("laying a submodule out"):
                await run_in_thread(os.rename, work / "files", target)
        finally:
            await run_in_thread(clear_away, work)
    return target


async def _check_out(store: Store, one: Submodule, directory: Path, index: Path) -> None:
    repository = await _fetch_commit(store, one.source, one.commit)
    with translate_errors("laying a submodule out"):
        await run_in_thread(directory.mkdir)
    try:
        # git refuses names such as `.git` and `..`, and follows no link.
        await call_git(
            ["read-tree", "--reset", "-u", one.commit],
            git_dir=repository,
            work_tree=directory,
            env={"GIT_INDEX_FILE": str(index)},
        )
    except GitFailed as error:
        raise WorkspaceError(f"The submodule {one.path} cannot be laid out: {clean_text(str(error), 200)}") from error
    await run_in_thread(index.unlink, missing_ok=True)
    files = SafeDirectory(directory)
    for below in one.nested:
        if below.source and is_path(below.path):
            tree = await _lay_out_tree(store, below)
            with translate_errors("laying a submodule out"):
                await run_in_thread(place_copy, files, below.path, tree, directory.parent)


def place_copy(files: SafeDirectory, path: str, tree: Path, scratch: Path) -> None:
    """Put a copy of a directory at a path, in place of the entry there; no link on the way is followed."""
    copy = Path(tempfile.mkdtemp(dir=scratch))
    try:
        copy_directory(tree, copy / "files")
        files.make_directory(path)
        files.remove(path)
        with files.open_directory(path.rpartition("/")[0]) as parent:
            os.rename(copy / "files", os.fsencode(path.rpartition("/")[2]), dst_dir_fd=parent)
    finally:
        clear_away(copy)


def digest_of(files: SafeDirectory, path: str) -> str:
    """Return a digest that changes with the files below a directory: names, kinds, permissions, sizes and times."""
    digest = hashlib.sha256()
    with files.open_directory(path) as top:
        for at, entries in walk_directories(top):
            above = "/".join([path, *at.names])
            entries.sort(key=lambda entry: entry.name)
            for entry in entries:
                state = entry.stat(follow_symlinks=False)
                told = (
                    f"{above}/{entry.name}",
                    state.st_mode,
                    state.st_ino,
                    state.st_size,
                    state.st_mtime_ns,
                    state.st_ctime_ns,
                )
                digest.update(repr(told).encode("utf-8", "surrogatepass"))
            entries.reverse()  # in the order of the digests that older versions have kept
    return digest.hexdigest()


def _create_repository(repository: Path) -> None:
    prepare_library()
    if (repository / "ready").exists():
        return
    pygit2.init_repository(str(repository), bare=True)
    write_durably(repository / "info/attributes", "* -filter -working-tree-encoding\n")
    write_durably(repository / "ready", "1\n")


def _has_commit(repository: Path, commit: str) -> bool:
    """Whether a repository has a commit with its files."""
    found = pygit2.Repository(str(repository)).get(commit)
    return isinstance(found, pygit2.Commit)


def _hash_key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
