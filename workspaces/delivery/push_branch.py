"""Publishes a commit as a branch of the person's repository: once, whatever happens in between, and no other ref."""

from dataclasses import dataclass

import pygit2

from baton.errors import BranchMoved, DiskFull, GitHubDenied, RepositoryAway, RepositoryError, WorkspaceError
from workspaces.git.credentials import Header
from workspaces.git.errors import clean_text
from workspaces.git.run import GitResult, git
from workspaces.store.fetch import HEADS
from workspaces.store.local_source import guard
from workspaces.store.promised_objects import lend_trees
from workspaces.store.store import Store
from workspaces.store.target_repository import listing, shown, unreachable


@dataclass(frozen=True)
class Published:
    """A branch as it now stands in the repository; `already` says that an earlier attempt had done it."""

    branch: str
    commit: str
    already: bool


async def publish(store: Store, commit: str, branch: str, *, expected: str | None) -> Published:
    """Let the repository's branch point to a project commit, if it points to `expected` (None: if it is not there).

    A branch that is there at this commit is success. Where a push ends without a clear answer, the repository is
    asked what came of it. Raises BranchMoved where the branch stands elsewhere, RepositoryError where the push is
    rejected or the repository cannot be reached, GitHubDenied where our credential is not good for it.
    """
    ref = f"{HEADS}{branch}"
    if branch.startswith("-") or not pygit2.reference_is_valid_name(ref):
        raise RepositoryError(f"{clean_text(branch, 100)!r} cannot be the name of a branch.")
    header = await store.header()
    before = await _look(store, ref, header)
    if before == commit:
        return Published(branch, commit, already=True)
    if before != expected:
        raise BranchMoved(_elsewhere(store, branch, before, expected))
    lease = f"--force-with-lease={ref}:{expected or ''}"
    options = ["--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--no-signed", lease]
    said: GitResult | None = None
    fault: WorkspaceError | None = None
    try:
        await lend_trees(store.repo, store.root, store.source_path, commit)
        guarded = await guard("receive-pack", store.repo, store.source_path, hooks=store.hooks)
        # A partial clone may lack what a thin pack builds on.
        options += ["--no-thin"] if guarded else []
        said = await git(
            ["push", *options, *guarded, "--", store.repo, f"{commit}:{ref}"],
            git_dir=store.source_path,
            persons=True,
            check=False,
            header=header,
        )
    except DiskFull:
        raise
    except WorkspaceError as error:  # it took too long: what came of it, only the repository can say
        fault = error
    if said is not None and said.code == 0:
        return Published(branch, commit, already=False)
    after = await _look(store, ref, header)
    if after == commit:
        return Published(branch, commit, already=False)
    if after != before:
        raise BranchMoved(_elsewhere(store, branch, after, expected))
    why = unreachable(store.repo, said.stderr, "pushed to", header) if said else None
    if isinstance(why, GitHubDenied | RepositoryAway):
        raise why
    raise RepositoryError(
        f"The branch {branch} could not be pushed to {shown(store.repo)}: {_reason(said) if said else fault}"
    )


async def _look(store: Store, ref: str, header: Header | None) -> str | None:
    return (await listing(store.repo, store.source_path, ref, header=header, hooks=store.hooks)).refs.get(ref)


def _elsewhere(store: Store, branch: str, found: str | None, expected: str | None) -> str:
    where = f"is at {found[:12]}" if found else "is gone"
    wanted = f"at {expected[:12]}" if expected else "new"
    return (
        f"The branch {branch} of {shown(store.repo)} {where}, but should be {wanted}: somebody else has moved it, so it"
        " was left as it is; rename or remove it and try again."
    )


def _reason(said: GitResult) -> str:
    """Why a push failed: the remote's verdict on the ref, then what its hooks said."""
    verdicts = [line.split("\t")[-1] for line in said.text.splitlines() if line.startswith("!")]
    words = [line for line in said.stderr.splitlines() if not line.startswith(("error: failed to push", "To "))]
    return clean_text(" ".join([*verdicts, *words]), 500) or f"git ended with {said.code}."
