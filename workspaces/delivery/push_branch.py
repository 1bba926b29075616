"""The push of a commit to a branch of the person's repository: idempotent, by compare-and-swap, to this ref only."""

from dataclasses import dataclass

import pygit2

from baton.errors import BranchMoved, DiskFull, GitHubDenied, RepositoryAway, RepositoryError, WorkspaceError
from workspaces.git.credentials import CredentialHeader
from workspaces.git.errors import clean_text
from workspaces.git.run import GitResult, call_git
from workspaces.store.fetch import HEADS
from workspaces.store.local_source import guard_options
from workspaces.store.promised_objects import lend_trees
from workspaces.store.store import Store
from workspaces.store.target_repository import display_name, list_refs, unreachable_error


@dataclass(frozen=True)
class PushedBranch:
    """A branch as it is in the repository after a push; `already` says that an earlier attempt had pushed it."""

    branch: str
    commit: str
    already: bool


async def push_branch(store: Store, commit: str, branch: str, *, expected: str | None) -> PushedBranch:
    """Set the repository's branch to a project commit if it is at `expected` (None: if it does not exist).

    A branch that is at this commit already is a success. If a push ends without a clear answer, the branch is read
    again. Raises BranchMoved if the branch is at another commit, RepositoryError if the push is rejected or the
    repository is unreachable, GitHubDenied if the credential lacks the right.
    """
    ref = f"{HEADS}{branch}"
    if branch.startswith("-") or not pygit2.reference_is_valid_name(ref):
        raise RepositoryError(f"{clean_text(branch, 100)!r} cannot be the name of a branch.")
    header = await store.credential_header()
    before = await _read_remote_ref(store, ref, header)
    if before == commit:
        return PushedBranch(branch, commit, already=True)
    if before != expected:
        raise BranchMoved(_moved_message(store, branch, before, expected))
    lease = f"--force-with-lease={ref}:{expected or ''}"
    options = ["--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--no-signed", lease]
    said: GitResult | None = None
    fault: WorkspaceError | None = None
    try:
        await lend_trees(store.repo, store.root, store.source_path, commit)
        guarded = await guard_options("receive-pack", store.repo, store.source_path, hooks=store.hooks)
        # A partial clone may lack what a thin pack builds on.
        options += ["--no-thin"] if guarded else []
        said = await call_git(
            ["push", *options, *guarded, "--", store.repo, f"{commit}:{ref}"],
            git_dir=store.source_path,
            persons=True,
            check=False,
            header=header,
        )
    except DiskFull:
        raise
    except WorkspaceError as error:  # a time-out: only the repository knows whether the push took effect
        fault = error
    if said is not None and said.code == 0:
        return PushedBranch(branch, commit, already=False)
    after = await _read_remote_ref(store, ref, header)
    if after == commit:
        return PushedBranch(branch, commit, already=False)
    if after != before:
        raise BranchMoved(_moved_message(store, branch, after, expected))
    why = unreachable_error(store.repo, said.stderr, "pushed to", header) if said else None
    if isinstance(why, GitHubDenied | RepositoryAway):
        raise why
    raise RepositoryError(
        f"The branch {branch} could not be pushed to {display_name(store.repo)}:"
        f" {_failure_reason(said) if said else fault}"
    )


async def _read_remote_ref(store: Store, ref: str, header: CredentialHeader | None) -> str | None:
    return (await list_refs(store.repo, store.source_path, ref, header=header, hooks=store.hooks)).refs.get(ref)


def _moved_message(store: Store, branch: str, found: str | None, expected: str | None) -> str:
    where = f"is at {found[:12]}" if found else "is gone"
    wanted = f"at {expected[:12]}" if expected else "new"
    return (
        f"The branch {branch} of {display_name(store.repo)} {where}, but should be {wanted}: somebody else has"
        " moved it, so it"
        " was left as it is; rename or remove it and try again."
    )


def _failure_reason(said: GitResult) -> str:
    """Return the reason why a push failed: the remote's verdict on the ref, then the output of its hooks."""
    verdicts = [line.split("\t")[-1] for line in said.text.splitlines() if line.startswith("!")]
    words = [line for line in said.stderr.splitlines() if not line.startswith(("error: failed to push", "To "))]
    return clean_text(" ".join([*verdicts, *words]), 500) or f"git ended with {said.code}."
