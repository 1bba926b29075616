"""The last check before commits are published: the files that a person's git would have passed through a filter.

The engine runs no filter. So the content of such a file, if a run has changed it, is plain text that git-crypt would
have encrypted, output that nbstripout would have removed, or a Git LFS pointer whose content the engine has. The check
covers every commit that would be published, because content that one commit adds and the next removes is public.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from baton.errors import WorkspaceError
from system.uncancellable import run_in_thread
from workspaces.delivery.filter_attributes import LFS, Filters, filters_of
from workspaces.delivery.lfs_store import LfsPointer, parse_pointer
from workspaces.git.commits import CommitAuthor
from workspaces.git.errors import translate_errors
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.run import call_git
from workspaces.git.tree_codec import EXECUTABLE, FILE
from workspaces.store.fetch import FETCHED
from workspaces.store.store import Store

_REGULAR = (FILE, EXECUTABLE)
_MAX_PATHS = 500
"""Maximum of paths in one command line of git."""


@dataclass(frozen=True)
class FilterReport:
    """The findings about the commits that would be published."""

    plain: Filters = field(default_factory=dict)
    """Files with new content that would be published without their filters, with the names of the filters."""
    pointers: dict[str, set[LfsPointer]] = field(default_factory=dict)
    """New LFS pointers by path."""


@dataclass(frozen=True)
class _AddedCommit:
    """A commit that would be published."""

    commit: str
    parents: list[str]


async def examine_commits(store: Store, commit: str, *, base: str, published: str | None) -> FilterReport:
    """Check the commits that a push of `commit` adds to the repository, which has the base and the published commit.

    Attributes count in each of their versions, in these commits and before them, so that removing the line of a filter,
    in the same commit or an earlier one, is no way around it. Content is not new if the repository has it under the
    same path, if the base has it behind the same filter, or if a merge takes it over.
    """
    steps = await _added_commits(store, commit, base, published)
    objects = store.source

    def collect_written() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for step in steps:
            for path, oid in _written_files(objects, step):
                found.setdefault(path, set()).add(oid)
        return found

    with translate_errors("checking the commits to be published"):
        written = await run_in_thread(collect_written)
        known = [base, *([published] if published else [])]
        before = [parent for step in steps for parent in step.parents]
        seen = dict.fromkeys([*known, *before, *(step.commit for step in steps)])
        trees = list(dict.fromkeys([objects.tree_of(one) for one in seen]))
    filters = await filters_of(store, trees, written.keys(), persons=True)
    if not filters:
        return FilterReport()
    with translate_errors("checking the commits to be published"):
        there = await _find_known(store, {path: written[path] for path in filters}, base)
        return await run_in_thread(_make_report, objects, filters, written, there)


async def leave_out(
    store: Store, commit: str, paths: Collection[str], *, base: str, published: str | None
) -> dict[str, str]:
    """Make the same commits without their changes to these paths, which stay as they are published already.

    Returns the new commit for each old one; for a commit without other changes it is its parent's. Deterministic: the
    same arguments give the same commits.
    """
    steps = await _added_commits(store, commit, base, published)
    objects = store.source

    def rewrite_commits() -> dict[str, str]:
        origin = objects.tree_of(published or base)
        kept = {path: objects.find_entry(origin, path) for path in paths}
        new: dict[str, str] = {commit: commit}
        for step in steps:
            tree = objects.tree_of(step.commit)
            changed = objects.edit_tree(tree, kept)
            parents = list(dict.fromkeys(new.get(parent, parent) for parent in step.parents))
            if changed == tree and parents == step.parents:
                new[step.commit] = step.commit
            elif len(parents) == 1 and changed == objects.tree_of(parents[0]):
                new[step.commit] = parents[0]
            else:
                old = objects.commit_object(step.commit)
                at = datetime.fromtimestamp(old.commit_time, UTC)
                author = CommitAuthor(old.author.name, old.author.email)
                new[step.commit] = objects.write_commit(changed, parents, old.message, at, author)
        return new

    with translate_errors("leaving files out"):
        return await run_in_thread(rewrite_commits)


async def _added_commits(store: Store, commit: str, base: str, published: str | None) -> list[_AddedCommit]:
    """Return the commits that a push would add, parents before children."""
    known = [f"^{one}" for one in (base, published) if one]
    listed = await call_git(
        ["rev-list", "--topo-order", "--reverse", "--parents", commit, *known, "--"], git_dir=store.source_path
    )
    return [_AddedCommit(own, parents) for own, *parents in (line.split() for line in listed.text.splitlines())]


def _written_files(objects: ObjectDatabase, step: _AddedCommit) -> Iterator[tuple[str, str]]:
    """Iterate over path and blob of the files of a commit that none of its parents has with the same content."""
    tree = objects.tree_of(step.commit)
    parents = [objects.tree_of(parent) for parent in step.parents]
    for change in objects.diff_trees(parents[0] if parents else None, tree):
        if change.new is None or change.new.mode not in _REGULAR:
            continue
        entries = [change.old, *(objects.find_entry(parent, change.path) for parent in parents[1:])]
        if not any(old and old.mode in _REGULAR and old.oid == change.new.oid for old in entries):
            yield change.path, change.new.oid


@dataclass(frozen=True)
class _KnownContent:
    """Content that the repository already has."""

    by_path: set[tuple[str, str]]
    """Path and blob of files in its history."""
    behind: dict[str, set[str]]
    """Filters in the base by blob."""


async def _find_known(store: Store, written: Mapping[str, set[str]], base: str) -> _KnownContent:
    objects = store.source
    wanted = {oid for oids in written.values() for oid in oids}

    def in_base() -> dict[str, str]:
        return {
            path: entry.oid
            for path, entry in objects.list_leaves(objects.tree_of(base))
            if entry.oid in wanted and entry.mode in _REGULAR
        }

    found = await run_in_thread(in_base)
    behind: dict[str, set[str]] = {}
    for path, names in (await filters_of(store, [objects.tree_of(base)], found, persons=True)).items():
        behind.setdefault(found[path], set()).update(names)
    by_path: set[tuple[str, str]] = set()
    paths = list(written)
    for start in range(0, len(paths), _MAX_PATHS):
        by_path |= await _published_blobs(store, paths[start : start + _MAX_PATHS], base)
    return _KnownContent(by_path, behind)


async def _published_blobs(store: Store, paths: Sequence[str], base: str) -> set[tuple[str, str]]:
    """Return paths and blobs in the history of the repository's branches and tags; none if git takes too long."""
    options = ["--format=", "--raw", "--no-abbrev", "-z", "--no-renames", "--full-history", "--no-ext-diff"]
    where = [":(top,literal)" + path for path in paths]
    try:
        answer = await call_git(
            ["log", *options, f"--glob={FETCHED}*", base, "--", *where], git_dir=store.source_path, check=True
        )
    except WorkspaceError:
        return set()  # then a person is asked about more files than necessary
    found: set[tuple[str, str]] = set()
    about = ""
    for field_ in answer.split_names():
        if about:
            found.add((field_, about.split()[3]))
            about = ""
        elif field_.lstrip("\n").startswith(":"):
            about = field_.lstrip("\n")
    return found


def _make_report(
    objects: ObjectDatabase, filters: Filters, written: Mapping[str, set[str]], there: _KnownContent
) -> FilterReport:
    found = FilterReport()
    for path, names in filters.items():
        for oid in written[path]:
            if (path, oid) in there.by_path or set(names) <= there.behind.get(oid, set()):
                continue
            data = objects.read_blob(oid)
            pointer = parse_pointer(data) if names == (LFS,) else None
            if pointer is not None:
                found.pointers.setdefault(path, set()).add(pointer)
            elif data:  # every filter leaves an empty file empty
                found.plain[path] = names
    return found
