"""The published branch of a run as it is in the repository now: the same, ahead, rewritten or gone."""

from dataclasses import dataclass
from typing import Literal

import pygit2

from system.uncancellable import in_thread
from workspaces.git.errors import translated
from workspaces.store.fetch import FETCHED
from workspaces.store.store import Store

Relation = Literal["same", "ahead", "rewritten", "gone"]


@dataclass(frozen=True)
class Theirs:
    """A branch as it is in the repository now, and its relation to the commit that the run has published."""

    head: str | None
    relation: Relation
    commits: int = 0
    """Number of commits that people added on top."""


async def branch_head(store: Store, branch: str) -> str | None:
    """Fetch and return the commit of a branch; None if the branch does not exist."""
    await store.fetch(None)
    with translated(f"looking at {branch}"):
        found = store.source.repo.references.get(f"{FETCHED}heads/{branch}")
        return None if found is None else str(found.target)


async def look_at(store: Store, branch: str, published: str) -> Theirs:
    """Fetch and compare a branch with the published commit. Raises RepositoryError if the fetch fails."""
    head = await branch_head(store, branch)
    if head is None:
        return Theirs(None, "gone")
    if head == published:
        return Theirs(head, "same")

    def compare() -> Theirs:
        repo, now, before = store.source.repo, pygit2.Oid(hex=head), pygit2.Oid(hex=published)
        if not store.source.has(published) or not repo.descendant_of(now, before):
            return Theirs(head, "rewritten")
        return Theirs(head, "ahead", repo.ahead_behind(now, before)[0])

    with translated(f"looking at {branch}"):
        return await in_thread(compare)
