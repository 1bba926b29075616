"""The last word before anything is published: which files a person's git would have passed through a filter.

The engine runs no filter. So the content of such a file, where a run has changed it, is plain text that git-crypt would
have encrypted, outputs that nbstripout would have taken away, or a Git LFS pointer whose content the engine has.
Every commit that would be published is looked at, not only the last: what one adds and the next takes away is public.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from baton.errors import WorkspaceError
from system.uncancellable import in_thread
from workspaces.delivery.filter_attributes import LFS, Filters, filters_of
from workspaces.delivery.lfs_store import Pointer, parse_pointer
from workspaces.git.commits import Author
from workspaces.git.errors import translated
from workspaces.git.object_database import Objects
from workspaces.git.run import git
from workspaces.git.tree_codec import EXECUTABLE, FILE
from workspaces.store.fetch import FETCHED
from workspaces.store.store import Store

_REGULAR = (FILE, EXECUTABLE)
_MOST_PATHS = 500
"""Paths in one command line of git."""


@dataclass(frozen=True)
class Examined:
    """What there is to say of the commits that would be published."""

    plain: Filters = field(default_factory=dict)
    """Files whose content is new and would be published without their filter, with the names of it."""
    pointers: dict[str, set[Pointer]] = field(default_factory=dict)
    """LFS pointers that are new, by path."""


@dataclass(frozen=True)
class _Step:
    """One commit that would be published."""

    commit: str
    parents: list[str]


async def examine(store: Store, commit: str, *, base: str, published: str | None) -> Examined:
    """Look through all that a push of this commit adds to what the repository has: the base, what we published before.

    Attributes count in every version that there is among these commits and before them: a change that takes the line
    of a filter away, in the same commit or an earlier one, is no way around it. Content that the repository has
    already under the same path, or in the base behind the same filter, is not new; nor is what a merge takes over.
    """
    steps = await _steps(store, commit, base, published)
    objects = store.source

    def look() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for step in steps:
            for path, oid in _written(objects, step):
                found.setdefault(path, set()).add(oid)
        return found

    with translated("looking through what is to be published"):
        written = await in_thread(look)
        known = [base, *([published] if published else [])]
        before = [parent for step in steps for parent in step.parents]
        seen = dict.fromkeys([*known, *before, *(step.commit for step in steps)])
        trees = list(dict.fromkeys([objects.tree_of(one) for one in seen]))
    filters = await filters_of(store, trees, written.keys(), persons=True)
    if not filters:
        return Examined()
    with translated("looking through what is to be published"):
        there = await _there(store, {path: written[path] for path in filters}, base)
        return await in_thread(_sorted, objects, filters, written, there)


async def leave_out(
    store: Store, commit: str, paths: Collection[str], *, base: str, published: str | None
) -> dict[str, str]:
    """Make the same commits without what they do at these paths, which stay as in what is published already.

    Returns the new commit for each; it is what is published, or the base, where there is nothing else in it. The same
    arguments give the same commits.
    """
    steps = await _steps(store, commit, base, published)
    objects = store.source

    def rewrite() -> dict[str, str]:
        origin = objects.tree_of(published or base)
        kept = {path: objects.entry(origin, path) for path in paths}
        new: dict[str, str] = {commit: commit}
        for step in steps:
            tree = objects.tree_of(step.commit)
            changed = objects.edit(tree, kept)
            parents = list(dict.fromkeys(new.get(parent, parent) for parent in step.parents))
            if changed == tree and parents == step.parents:
                new[step.commit] = step.commit
            elif len(parents) == 1 and changed == objects.tree_of(parents[0]):
                new[step.commit] = parents[0]
            else:
                old = objects.commit_object(step.commit)
                at = datetime.fromtimestamp(old.commit_time, UTC)
                author = Author(old.author.name, old.author.email)
                new[step.commit] = objects.commit(changed, parents, old.message, at, author)
        return new

    with translated("leaving files out"):
        return await in_thread(rewrite)


async def _steps(store: Store, commit: str, base: str, published: str | None) -> list[_Step]:
    """The commits that a push would add, parents before children."""
    known = [f"^{one}" for one in (base, published) if one]
    listed = await git(
        ["rev-list", "--topo-order", "--reverse", "--parents", commit, *known, "--"], git_dir=store.source_path
    )
    return [_Step(own, parents) for own, *parents in (line.split() for line in listed.text.splitlines())]


def _written(objects: Objects, step: _Step) -> Iterator[tuple[str, str]]:
    """The files of a commit with content that none of its parents has under the same path."""
    tree = objects.tree_of(step.commit)
    parents = [objects.tree_of(parent) for parent in step.parents]
    for change in objects.differences(parents[0] if parents else None, tree):
        if change.new is None or change.new.mode not in _REGULAR:
            continue
        entries = [change.old, *(objects.entry(parent, change.path) for parent in parents[1:])]
        if not any(old and old.mode in _REGULAR and old.oid == change.new.oid for old in entries):
            yield change.path, change.new.oid


@dataclass(frozen=True)
class _There:
    """Content that the repository has already."""

    by_path: set[tuple[str, str]]
    """Path and blob, anywhere in its history."""
    behind: dict[str, set[str]]
    """The filters that a blob is behind in the base."""


async def _there(store: Store, written: Mapping[str, set[str]], base: str) -> _There:
    objects = store.source
    wanted = {oid for oids in written.values() for oid in oids}

    def in_base() -> dict[str, str]:
        return {
            path: entry.oid
            for path, entry in objects.leaves(objects.tree_of(base))
            if entry.oid in wanted and entry.mode in _REGULAR
        }

    found = await in_thread(in_base)
    behind: dict[str, set[str]] = {}
    for path, names in (await filters_of(store, [objects.tree_of(base)], found, persons=True)).items():
        behind.setdefault(found[path], set()).update(names)
    by_path: set[tuple[str, str]] = set()
    paths = list(written)
    for start in range(0, len(paths), _MOST_PATHS):
        by_path |= await _history(store, paths[start : start + _MOST_PATHS], base)
    return _There(by_path, behind)


async def _history(store: Store, paths: Sequence[str], base: str) -> set[tuple[str, str]]:
    """Paths and blobs that the repository's branches and tags have had; none where git cannot say in time."""
    options = ["--format=", "--raw", "--no-abbrev", "-z", "--no-renames", "--full-history", "--no-ext-diff"]
    where = [":(top,literal)" + path for path in paths]
    try:
        answer = await git(
            ["log", *options, f"--glob={FETCHED}*", base, "--", *where], git_dir=store.source_path, check=True
        )
    except WorkspaceError:
        return set()  # then a person is asked of more than would be needed
    found: set[tuple[str, str]] = set()
    about = ""
    for field_ in answer.names():
        if about:
            found.add((field_, about.split()[3]))
            about = ""
        elif field_.lstrip("\n").startswith(":"):
            about = field_.lstrip("\n")
    return found


def _sorted(objects: Objects, filters: Filters, written: Mapping[str, set[str]], there: _There) -> Examined:
    found = Examined()
    for path, names in filters.items():
        for oid in written[path]:
            if (path, oid) in there.by_path or set(names) <= there.behind.get(oid, set()):
                continue
            data = objects.data(oid)
            pointer = parse_pointer(data) if names == (LFS,) else None
            if pointer is not None:
                found.pointers.setdefault(path, set()).add(pointer)
            elif data:  # to every filter an empty file is an empty file
                found.plain[path] = names
    return found
