"""The fetch of a project's history into its store, and the commit that a run starts from."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pygit2

from baton.errors import RepositoryError
from system.directory_walk import walk_files
from system.file_lock import hold_lock
from workspaces.git.credentials import CredentialHeader
from workspaces.git.errors import GitFailed, clean_text, translate_errors
from workspaces.git.run import FETCH_OPTIONS, call_git
from workspaces.store.local_source import guard_options, hooks_of
from workspaces.store.promised_objects import open_complete
from workspaces.store.target_repository import (
    OfferedRefs,
    display_name,
    is_dirty,
    list_refs,
    local_path,
    unreachable_error,
)

if TYPE_CHECKING:
    from workspaces.store.store import Store

HEADS = "refs/heads/"
TAGS = "refs/tags/"
FETCHED = "refs/source/"
"""Where fetched refs are kept: `refs/heads/main` of the project is `refs/source/heads/main` here."""

_MAX_PATH = 4_095
"""Bytes of a path that Linux takes."""
_MAX_NAME = 256

_OPTIONS = (*FETCH_OPTIONS, "--update-shallow")
"""A checkout made with --depth is a shallow repository; without the last option its branches are left out."""

_HEX = re.compile(r"[0-9a-f]{7,40}")
DIRTY_NOTE = "The checkout has uncommitted changes. They are not seen: a run starts from what is committed."

HOOKS_NOTE = (
    "The repository has programs of its own for a push ({}); Baton does not run them when it publishes the branch."
    " Where they are yours, BATON_TARGET_HOOKS=run has them run."
)


@dataclass(frozen=True)
class ResolvedBase:
    """The commit a run starts from."""

    commit: str
    ref: str
    """The full name of branch or tag in the project; `HEAD` or the commit's id where there is none."""
    notes: list[str] = field(default_factory=list)
    """Notes for a person, in sentences."""


async def fetch_base(store: "Store", base: str | None) -> ResolvedBase:
    """Fetch all branches and tags, and resolve `base` (branch, tag or commit; None is the repository's HEAD).

    Costs one `git ls-remote` if the repository has no new commits. Raises RepositoryError, with one sentence, for every
    fault of the repository or the base.
    """
    path = local_path(store.repo)
    header = await store.credential_header()
    async with hold_lock(store.root / "fetch.lock"):
        offered = await list_refs(
            store.repo, store.source_path, "HEAD", f"{HEADS}*", f"{TAGS}*", header=header, hooks=store.hooks
        )
        if not offered.with_prefix(HEADS) and "HEAD" not in offered.refs:
            raise RepositoryError(
                f"The repository {display_name(store.repo)} is empty: make a first commit and try again."
            )
        notes: list[str] = []
        commit, ref = await _resolve_base(store, base, offered, header, notes)
        await _require_paths(store, commit)
    if path is not None and await is_dirty(path):
        notes.append(DIRTY_NOTE)
    if not store.hooks and (left_out := await hooks_of(store.repo)):
        notes.append(HOOKS_NOTE.format(", ".join(clean_text(name, 60) for name in left_out[:10])))
    return ResolvedBase(commit, ref, notes)


async def _resolve_base(
    store: "Store", base: str | None, offered: OfferedRefs, header: CredentialHeader | None, notes: list[str]
) -> tuple[str, str]:
    await _fetch_refs(store, offered, header, notes)
    name, oid = _find_name(store, base, offered)
    commit = _peel_commit(store, oid) if oid else None
    if commit is None and oid and len(oid) == 40:
        # On no branch or tag; many servers send a commit if its id is requested.
        async with open_complete(store.repo, store.root, store.source_path, {"HEAD": oid}, hooks=store.hooks) as served:
            guarded = await guard_options("upload-pack", served.address, store.source_path, hooks=store.hooks)
            asked = await call_git(
                ["fetch", *_OPTIONS, *guarded, "--", served.address, oid],
                git_dir=store.source_path,
                persons=True,
                check=False,
                header=header,
            )
        notes += filter(None, [served.note])
        commit = _peel_commit(store, oid) if asked.code == 0 else None
    if commit is None:
        raise _unknown_base(store, base, offered)
    return commit, name


def _find_name(store: "Store", base: str | None, offered: OfferedRefs) -> tuple[str, str | None]:
    """Return the full name that `base` stands for, and its id."""
    if base is None or base == "HEAD":
        if "HEAD" not in offered.refs:
            raise RepositoryError(
                f"The HEAD of {display_name(store.repo)} is on a branch without commits: name a base, such as"
                f" {_example_branches(offered)}."
            )
        return offered.branch or "HEAD", offered.refs["HEAD"]
    for name in (f"{HEADS}{base}", f"{TAGS}{base}", base):
        if name in offered.refs and name.startswith("refs/"):
            return name, offered.refs.get(f"{name}^{{}}", offered.refs[name])
    return (base, base) if _HEX.fullmatch(base) else (base, None)


async def _fetch_refs(store: "Store", offered: OfferedRefs, header: CredentialHeader | None, notes: list[str]) -> None:
    wanted = {name: oid for name, oid in offered.refs.items() if not name.endswith("^{}")}
    have = await call_git(["for-each-ref", "--format=%(objectname)\t%(refname)", FETCHED], git_dir=store.source_path)
    present = {name: oid for oid, _, name in (line.partition("\t") for line in have.text.splitlines())}
    if present == {FETCHED + name.removeprefix("refs/"): oid for name, oid in wanted.items()}:
        return
    fetched = store.source_path / FETCHED
    locks = [fetched / name for name, _ in walk_files(fetched) if name.endswith(".lock")]
    for left in [*store.source_path.glob("*.lock"), *locks]:
        left.unlink(missing_ok=True)  # every writer of these refs holds the fetch lock: a crash left this file
    refspecs = [f"+{HEADS}*:{FETCHED}heads/*", f"+{TAGS}*:{FETCHED}tags/*"]
    if "HEAD" in wanted:
        refspecs.append(f"+HEAD:{FETCHED}HEAD")
    async with open_complete(store.repo, store.root, store.source_path, wanted, hooks=store.hooks) as served:
        guarded = await guard_options("upload-pack", served.address, store.source_path, hooks=store.hooks)
        try:
            await call_git(
                ["fetch", "--prune", *_OPTIONS, *guarded, "--", served.address, *refspecs],
                git_dir=store.source_path,
                persons=True,
                header=header,
            )
        except GitFailed as error:
            raise unreachable_error(store.repo, error.stderr, "fetched", header) from error
    notes += filter(None, [served.note])


def _peel_commit(store: "Store", oid: str) -> str | None:
    with translate_errors("reading the fetched history"):
        try:
            found = store.source.repo.get(oid)
        except ValueError:  # several ids begin with this
            return None
        if found is None:
            return None
        try:
            return str(found.peel(pygit2.Commit).id)
        except (pygit2.GitError, ValueError):
            return None


async def _require_paths(store: "Store", commit: str) -> None:
    """Raise RepositoryError if a commit has a path that no system could check out."""
    for options in (["-d"], []):
        listed = await call_git(
            ["ls-tree", "-r", *options, "-z", "--name-only", commit], git_dir=store.source_path, check=False
        )
        longest = max(map(len, listed.stdout.split(b"\0")))
        if listed.code != 0 or longest > _MAX_PATH:
            raise RepositoryError(
                f"The commit {commit[:12]} of {display_name(store.repo)} has directories that are nested too deep to be"
                f" checked out (a path may have {_MAX_PATH:,} bytes): name another --base, or remove them from it."
            )
        if longest + _MAX_NAME <= _MAX_PATH:
            return  # with any names of the files in the directories


def _unknown_base(store: "Store", base: str | None, offered: OfferedRefs) -> RepositoryError:
    return RepositoryError(
        f"The repository {display_name(store.repo)} has no branch, tag or commit"
        f" {clean_text(base or 'HEAD', 100)!r}; it has,"
        f" for instance, {_example_branches(offered)}."
    )


def _example_branches(offered: OfferedRefs) -> str:
    names = [name.removeprefix(HEADS) for name in offered.with_prefix(HEADS)] or ["no branches"]
    return ", ".join(clean_text(name, 60) for name in names[:4])
