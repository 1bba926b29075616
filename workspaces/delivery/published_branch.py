"""The published branch of a run as it is in the repository now: the same, ahead, rewritten or gone."""

from dataclasses import dataclass
from typing import Literal

import pygit2

from system.uncancellable import run_in_thread
from workspaces.git.errors import translate_errors
from workspaces.store.fetch import FETCHED
from workspaces.store.store import Store

Relation = Literal["same", "ahead", "rewritten", "gone"]


@dataclass(frozen=True)
class PublishedBranch:
    """A branch as it is in the repository now, and its relation to the commit that the run has published."""

    head: str | None
    relation: Relation
    commits: int = 0
    """Number of commits that people added on top."""


async def branch_head(store: Store, branch: str) -> str | None:
    """Fetch and return the commit of a branch; None if the branch does not exist."""
    await store.fetch_base(None)
    with translate_errors(f"looking at {branch}"):
        found = store.source.repo.references.get(f"{FETCHED}heads/{branch}")
        return None if found is None else str(found.target)


async def compare_branch(store: Store, branch: str, published: str) -> PublishedBranch:
    """Fetch and compare a branch with the published commit. Raises RepositoryError if the fetch fails."""
    head = await branch_head(store, branch)
    if head is None:
        return PublishedBranch(None, "gone")
    if head == published:
        return PublishedBranch(head, "same")

    def compare_commits() -> PublishedBranch:
        repo, now, before = store.source.repo, pygit2.Oid(hex=head), pygit2.Oid(hex=published)
        if not store.source.has_object(published) or not repo.descendant_of(now, before):
            return PublishedBranch(head, "rewritten")
        return PublishedBranch(head, "ahead", repo.ahead_behind(now, before)[0])

    with translate_errors(f"looking at {branch}"):
        return await run_in_thread(compare_commits)
