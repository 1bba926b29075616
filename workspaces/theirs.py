"""What people did to the branch that a run has published: nothing, commits on top, or something else in its place."""

from dataclasses import dataclass
from typing import Literal

import pygit2

from workspaces.faults import translated
from workspaces.fetch import FETCHED
from workspaces.store import Store
from workspaces.threads import in_thread

Relation = Literal["same", "ahead", "rewritten", "gone"]


@dataclass(frozen=True)
class Theirs:
    """A branch as it is in the repository now, and how that relates to what we published."""

    head: str | None
    relation: Relation
    commits: int = 0
    """How many came on top."""


async def look_at(store: Store, branch: str, published: str) -> Theirs:
    """Fetch, and see what has become of a branch. Raises RepositoryError where the repository does not answer."""
    await store.fetch(None)

    def look() -> Theirs:
        repo = store.source.repo
        found = repo.references.get(f"{FETCHED}heads/{branch}")
        if found is None:
            return Theirs(None, "gone")
        head = str(found.target)
        if head == published:
            return Theirs(head, "same")
        if not store.source.has(published) or not repo.descendant_of(pygit2.Oid(hex=head), pygit2.Oid(hex=published)):
            return Theirs(head, "rewritten")
        ahead, _ = repo.ahead_behind(pygit2.Oid(hex=head), pygit2.Oid(hex=published))
        return Theirs(head, "ahead", ahead)

    with translated(f"looking at {branch}"):
        return await in_thread(look)
