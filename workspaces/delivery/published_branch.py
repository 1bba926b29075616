"""What people did to the branch that a run has published: nothing, commits on top, or something else in its place."""

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
    """A branch as it is in the repository now, and how that relates to what we published."""

    head: str | None
    relation: Relation
    commits: int = 0
    """How many came on top."""


async def branch_head(store: Store, branch: str) -> str | None:
    """Fetch, and give the commit that a branch is at; None where there is no such branch."""
    await store.fetch(None)
    with translated(f"looking at {branch}"):
        found = store.source.repo.references.get(f"{FETCHED}heads/{branch}")
        return None if found is None else str(found.target)


async def look_at(store: Store, branch: str, published: str) -> Theirs:
    """Fetch, and see what has become of a branch. Raises RepositoryError where the repository does not answer."""
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
