"""Partial clones, served as if they were complete: missing objects come from the remote that has promised them.

A clone that was made with `--filter` would fetch its missing objects by programs that its configuration names, which a
stranger may have written (`local_source.guard_options` forbids it). So the engine fetches them: a scratch repository
that borrows the clone's objects shows which are missing, and the person's own git asks the remote for exactly these, by
their ids. Of the clone's configuration only that remote's address is read. https://git-scm.com/docs/partial-clone
"""

import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from baton.errors import RepositoryAway, RepositoryError
from system.uncancellable import run_in_thread
from workspaces.git.errors import GitFailed, clean_text, translate_errors
from workspaces.git.repositories import scratch_repository
from workspaces.git.run import call_git, quote_alternate
from workspaces.store.local_source import guard_options, promisor_of
from workspaces.store.target_repository import display_name, explain_stderr, local_path, unreachable_error

_MAX_ROUNDS = 20
_MAX_LISTED = 64 << 20
"""Maximum bytes of a list of missing objects; the next round finds the rest."""

_MISSING = re.compile(rb"^\?([0-9a-f]{40})$", re.MULTILINE)
_NO_REF = re.compile(r"[\0-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|\Z)|[/.]\Z")


@dataclass(frozen=True)
class CompleteSource:
    """A repository to fetch from in the place of another one."""

    address: str
    note: str = ""
    """A sentence for a person, if objects were fetched from elsewhere."""


@asynccontextmanager
async def open_complete(
    repo: str, root: Path, source: Path, refs: Mapping[str, str], *, hooks: bool
) -> AsyncIterator[CompleteSource]:
    """Yield a repository with these refs of `repo` and all their objects: `repo` itself, unless it is a partial
    clone.

    `root` is for scratch, `source` the engine's repository that is to hold the fetched objects. Raises RepositoryError
    with one sentence if the remote does not have the promised objects, RepositoryAway if it cannot be reached.
    """
    found = await promisor_of(repo, source)
    if found is None:
        yield CompleteSource(repo)
        return
    common, url = found
    async with scratch_repository(root) as place:
        with translate_errors("reading a partial clone"):
            await run_in_thread(_borrow_objects, place, [common / "objects", source / "objects"], common, refs)
        fetched: set[str] = set()
        for _ in range(_MAX_ROUNDS):
            lacking = await _find_lacking(place, source, refs.values())
            if not lacking:
                break
            if lacking <= fetched:
                raise _incomplete_clone(repo, url, "it does not have them")
            await _fetch_objects(repo, url, source, lacking, hooks=hooks)
            fetched |= lacking
        note = (
            f"The repository is a partial clone: {len(fetched):,} objects that it lacks were fetched from"
            f" {display_name(url)}."
        )
        yield CompleteSource(str(place), note if fetched else "")


async def lend_trees(repo: str, root: Path, source: Path, commit: str) -> None:
    """Give a partial clone the trees of a commit that is about to be pushed to it; a no-op for any other
    repository.

    A clone without trees rejects a commit with directories that it does not have: as promised there counts only an
    object that is named directly by one that came from its remote.
    """
    found = await promisor_of(repo, source)
    if found is None:
        return
    listed = await call_git(["rev-list", "--objects", "--no-walk", "--filter=blob:none", commit], git_dir=source)
    trees = [line.split(" ", 1)[0] for line in listed.text.splitlines()[1:]]
    async with scratch_repository(root) as place:
        packed = await call_git(
            ["pack-objects", "-q", str(place / "pack")],
            git_dir=source,
            stdin="".join(f"{oid}\n" for oid in trees).encode(),
        )
        with translate_errors("giving a partial clone the trees of a commit"):
            await run_in_thread(_place_pack, place / f"pack-{packed.text}", found[0] / "objects/pack")


def _place_pack(made: Path, packs: Path) -> None:
    """Put a pack where git finds it, marked as one of the promising remote; the index makes it a pack, and comes
    last.
    """
    packs.mkdir(exist_ok=True)
    for suffix in (".promisor", ".pack", ".idx"):
        source = made.with_name(made.name + suffix)
        # A new file replaces the entry of that name: a planted link is not written through.
        descriptor, beside = tempfile.mkstemp(prefix="tmp_pack_", dir=packs)
        with os.fdopen(descriptor, "wb") as file:
            if source.exists():
                with source.open("rb") as data:
                    shutil.copyfileobj(data, file)
            os.fchmod(descriptor, 0o444)
            os.fsync(descriptor)
        os.replace(beside, packs / f"{made.name}{suffix}")


def _borrow_objects(place: Path, objects: Collection[Path], common: Path, refs: Mapping[str, str]) -> None:
    """Lay out a repository that has these refs, and borrows all its objects."""
    (place / "objects/info").mkdir(exist_ok=True)
    (place / "objects/info/alternates").write_text("".join(f"{quote_alternate(one)}\n" for one in objects))
    named = sorted((name, oid) for name, oid in refs.items() if name.startswith("refs/") and not _NO_REF.search(name))
    (place / "packed-refs").write_text("".join(f"{oid} {name}\n" for name, oid in named), errors="surrogateescape")
    if "HEAD" in refs:
        (place / "HEAD").write_text(f"{refs['HEAD']}\n")
    if (common / "shallow").is_file():
        ends = re.findall(r"^[0-9a-f]{40}$", (common / "shallow").read_text(errors="replace"), re.MULTILINE)
        (place / "shallow").write_text("".join(f"{oid}\n" for oid in ends))


async def _find_lacking(place: Path, source: Path, oids: Collection[str]) -> set[str]:
    """Return the objects that these need and that neither the clone nor the engine's repository has."""
    have = await call_git(["for-each-ref", "--format=^%(objectname)"], git_dir=source)
    wanted = "".join(f"{line}\n" for line in [*sorted(set(oids)), *have.text.splitlines()])
    listed = await call_git(
        ["rev-list", "--objects", "--missing=print", "--quiet", "--stdin"],
        git_dir=place,
        stdin=wanted.encode(),
        check=False,
        limit=_MAX_LISTED,
    )
    return {oid.decode() for oid in _MISSING.findall(listed.stdout)}


async def _fetch_objects(repo: str, url: str, source: Path, lacking: Collection[str], *, hooks: bool) -> None:
    try:
        local_path(url)
    except RepositoryError as error:
        raise _incomplete_clone(repo, url, "its configuration names no address for them") from error
    guarded = await guard_options("upload-pack", url, source, hooks=hooks)
    try:
        await call_git(
            [
                *("-c", "fetch.negotiationAlgorithm=noop", "fetch", "--quiet", "--no-tags", "--no-recurse-submodules"),
                *("--no-auto-maintenance", "--no-write-fetch-head", "--stdin", *guarded, "--", url),
            ],
            git_dir=source,
            stdin="".join(f"{oid}\n" for oid in sorted(lacking)).encode(),
            persons=True,
        )
    except GitFailed as error:
        reason = explain_stderr(error.stderr) or clean_text(error.stderr, 200)
        away = isinstance(unreachable_error(url, error.stderr), RepositoryAway)
        raise _incomplete_clone(repo, url, reason, away=away) from error


def _incomplete_clone(repo: str, url: str, reason: str, *, away: bool = False) -> RepositoryError:
    kind = RepositoryAway if away else RepositoryError
    return kind(
        f"The repository {display_name(repo)} is a partial clone, and the objects that it lacks cannot be fetched from"
        f" {display_name(url) or 'its remote'}: {reason}. Repair that, or name a complete clone or the remote itself."
    )
