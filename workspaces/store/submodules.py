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
from baton.records.run import Contract
from baton.text.truncation import cut
from system.directory_walk import walk
from system.fsync import write_durably
from system.uncancellable import in_thread
from workspaces.git.errors import GitFailed, clean_text, translated
from workspaces.git.file_lock import locked
from workspaces.git.object_database import Objects, prepare_library
from workspaces.git.run import FETCH_OPTIONS, git
from workspaces.git.safe_directory import Beneath, clear_away, copy_tree, is_path
from workspaces.store.store import Store
from workspaces.store.submodule_urls import is_allowed, protocol_of, resolve_url
from workspaces.store.target_repository import reason_of, shown

MAX_SUBMODULES = 100
"""Submodules of one project, nested ones included, that are fetched."""
MAX_DEPTH = 4
"""Submodules within submodules."""

_MAX_GITMODULES = 1 << 20
_FETCH_TIMEOUT = timedelta(minutes=10)
_SAFE = ("-c", "http.followRedirects=false")


@dataclass(frozen=True)
class Filling:
    """The contents of a submodule at a commit."""

    commit: str
    tree: Path


class Submodule(Contract):
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


async def find_submodules(objects: Objects, commit: str) -> list[Submodule]:
    """List the submodules of a commit, in the order of their paths, with the URLs that its `.gitmodules` gives them."""
    repository = Path(objects.repo.path)
    listed = await git(["ls-tree", "-r", "-z", commit], git_dir=repository)
    links: dict[str, str] = {}
    modules = ""
    for line in listed.names():
        about, _, path = line.partition("\t")
        mode, _, oid = about.split()
        if mode == "160000":
            links[path] = oid
        elif path == ".gitmodules" and mode in ("100644", "100755"):
            modules = oid
    urls = await _urls(objects, repository, modules) if links and modules else {}
    return [
        Submodule(path=show_path(path), commit=links[path], url=cut(show_path(urls.get(path, "")), 2_000))
        for path in sorted(links)
    ]


async def _urls(objects: Objects, repository: Path, blob: str) -> dict[str, str]:
    with translated("reading .gitmodules"):
        if len(await in_thread(objects.data, blob)) > _MAX_GITMODULES:
            return {}
    # Include directives in a blob are not followed, and its settings never apply.
    told = await git(["config", "--blob", blob, "--no-includes", "-z", "--list"], git_dir=repository, check=False)
    found: dict[str, dict[str, str]] = {}
    for entry in told.names() if told.code == 0 else []:
        key, _, value = entry.partition("\n")
        section, _, name = key.rpartition(".")
        if section.startswith("submodule.") and name in ("path", "url"):
            found.setdefault(section, {})[name] = value
    return {one["path"]: one["url"] for one in found.values() if one.keys() >= {"path", "url"}}


async def fetch_submodules(store: Store, commit: str, allowed: tuple[str, ...]) -> list[Submodule]:
    """List the submodules of a project's commit; those with allowed URLs are fetched, nested submodules included."""
    found = await find_submodules(store.source, commit)
    await _fetch(store, found, store.repo, allowed, depth=1, left=[MAX_SUBMODULES])
    for one in found:
        try:
            await lay_out(store, [one])
        except WorkspaceError as error:
            one.source, one.reason = "", clean_text(str(error), 300)
    return found


async def _fetch(
    store: Store, found: Sequence[Submodule], base: str, allowed: tuple[str, ...], *, depth: int, left: list[int]
) -> None:
    for one in found:
        url = resolve_url(one.url, base)
        one.reason = _refusal(one, url, allowed, depth, left[0])
        if one.reason:
            continue
        left[0] -= 1
        try:
            repository = await _bring(store, url, one.commit)
        except WorkspaceError as error:
            one.reason = clean_text(str(error), 300)
            continue
        one.source = url
        objects = await in_thread(Objects, repository)
        one.nested = await find_submodules(objects, one.commit)
        await _fetch(store, one.nested, url, allowed, depth=depth + 1, left=left)


def _refusal(one: Submodule, url: str, allowed: tuple[str, ...], depth: int, left: int) -> str:
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


async def _bring(store: Store, url: str, commit: str) -> Path:
    """Return the repository that holds a submodule's commit, after fetching it. Raises WorkspaceError if that fails."""
    repository = store.root / "submodules" / f"{_key(url)}.git"
    async with locked(store.root / "submodules" / f"{_key(url)}.lock"):
        await in_thread(_create, repository)
        if await in_thread(_has, repository, commit):
            return repository
        env = {"GIT_ALLOW_PROTOCOL": protocol_of(url)}
        ref = f"refs/submodule/{commit}"
        stderr = ""
        for options, specs in (
            (["--depth=1"], [f"+{commit}:{ref}"]),
            # Not every server sends a commit that no ref names.
            ([], ["+refs/heads/*:refs/theirs/heads/*", "+refs/tags/*:refs/theirs/tags/*"]),
        ):
            fetched = await git(
                [*_SAFE, "fetch", *FETCH_OPTIONS, *options, "--", url, *specs],
                git_dir=repository,
                persons=True,
                check=False,
                env=env,
                timeout=_FETCH_TIMEOUT,
            )
            stderr = fetched.stderr if fetched.code else stderr
            if await in_thread(_has, repository, commit):
                await git(["update-ref", ref, commit], git_dir=repository)
                return repository
    why = reason_of(stderr) or clean_text(stderr, 200) or f"it has no commit {commit[:12]}"
    raise WorkspaceError(f"{shown(url)} could not be fetched: {why}")


async def lay_out(store: Store, submodules: Sequence[Submodule]) -> dict[str, Filling]:
    """Return the contents of the submodules that have a source, by path; fetched again if this host lacks them."""
    return {one.path: Filling(one.commit, await _tree(store, one)) for one in submodules if one.source}


async def fill(
    directory: Path, gitlinks: Mapping[str, str], fillings: Mapping[str, Filling], scratch: Path
) -> list[str]:
    """Put the contents of submodules into a checkout, at the places of its gitlinks; returns their paths."""
    files = Beneath(directory)
    wanted = [path for path in sorted(fillings) if gitlinks.get(path) == fillings[path].commit]
    with translated("placing a submodule"):
        for path in wanted:
            await in_thread(place_copy, files, path, fillings[path].tree, scratch)
    return wanted


def describe(submodules: Sequence[Submodule]) -> list[str]:
    """Describe each submodule in a line; path and URL are foreign text."""
    lines = []
    for one in submodules:
        state = "its contents are there, read-only" if one.source else f"its contents are not there: {one.reason}"
        lines.append(f"{one.path} at {one.commit[:12]} ({one.url or 'no URL'}): {state}")
    return lines


async def _tree(store: Store, one: Submodule) -> Path:
    target = store.root / "submodules/trees" / _key(one.model_dump_json())
    if target.is_dir():
        return target
    async with locked(store.root / "submodules" / f"{target.name}.lock"):
        if target.is_dir():
            return target
        with translated("laying a submodule out"):
            target.parent.mkdir(parents=True, exist_ok=True)
            work = Path(await in_thread(tempfile.mkdtemp, dir=store.root / "submodules"))
        try:
            await _check_out(store, one, work / "files", work / "index")
            with translated("laying a submodule out"):
                await in_thread(os.rename, work / "files", target)
        finally:
            await in_thread(clear_away, work)
    return target


async def _check_out(store: Store, one: Submodule, directory: Path, index: Path) -> None:
    repository = await _bring(store, one.source, one.commit)
    with translated("laying a submodule out"):
        await in_thread(directory.mkdir)
    try:
        # git refuses names such as `.git` and `..`, and follows no link.
        await git(
            ["read-tree", "--reset", "-u", one.commit],
            git_dir=repository,
            work_tree=directory,
            env={"GIT_INDEX_FILE": str(index)},
        )
    except GitFailed as error:
        raise WorkspaceError(f"The submodule {one.path} cannot be laid out: {clean_text(str(error), 200)}") from error
    await in_thread(index.unlink, missing_ok=True)
    files = Beneath(directory)
    for below in one.nested:
        if below.source and is_path(below.path):
            tree = await _tree(store, below)
            with translated("laying a submodule out"):
                await in_thread(place_copy, files, below.path, tree, directory.parent)


def place_copy(files: Beneath, path: str, tree: Path, scratch: Path) -> None:
    """Put a copy of a directory at a path, in place of the entry there; no link on the way is followed."""
    copy = Path(tempfile.mkdtemp(dir=scratch))
    try:
        copy_tree(tree, copy / "files")
        files.make_directory(path)
        files.remove(path)
        with files.directory(path.rpartition("/")[0]) as parent:
            os.rename(copy / "files", os.fsencode(path.rpartition("/")[2]), dst_dir_fd=parent)
    finally:
        clear_away(copy)


def digest_of(files: Beneath, path: str) -> str:
    """Return a digest that changes with the files below a directory: names, kinds, permissions, sizes and times."""
    digest = hashlib.sha256()
    with files.directory(path) as top:
        for at, entries in walk(top):
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


def _create(repository: Path) -> None:
    prepare_library()
    if (repository / "ready").exists():
        return
    pygit2.init_repository(str(repository), bare=True)
    write_durably(repository / "info/attributes", "* -filter -working-tree-encoding\n")
    write_durably(repository / "ready", "1\n")


def _has(repository: Path, commit: str) -> bool:
    """Whether a repository has a commit with its files."""
    found = pygit2.Repository(str(repository)).get(commit)
    return isinstance(found, pygit2.Commit)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
