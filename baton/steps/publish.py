"""Inputs and results of the last activities of a run: publish the branch, leave files out, remove the workspaces."""

from pydantic import Field

from baton.steps.session import CompactRecord


class PublishInput(CompactRecord):
    """Input of `publish_run`."""

    run: str
    repo: str
    commit: str
    branch: str = ""
    """Empty: `baton/<run>`."""
    expected: str | None = None
    """Where the branch must be now; None: nowhere."""
    as_it_is: str = ""
    """The commit whose files behind filters a person lets be published without them."""
    without_contents: str = ""
    """The commit whose LFS pointers a person lets be published before their contents are there."""


class Published(CompactRecord):
    """The branch as it lies in the target repository."""

    branch: str
    commit: str
    notes: list[str] = Field(default_factory=list)
    """What a person should know of it."""


class LeaveOutInput(CompactRecord):
    """Input of `leave_out`: a commit is to be published without its changes to files behind filters."""

    run: str
    repo: str
    commit: str
    expected: str | None = None
    pointers: bool = False
    """Whether LFS pointers are meant, and not the files that would be published without their filter."""


class ReducedCommit(CompactRecord):
    """The integrated commit without those changes."""

    commit: str
    paths: list[str] = Field(default_factory=list)
    """Bounded, for people."""
    count: int = 0
    empty: bool = False
    """Whether that leaves no change at all."""
    renamed: dict[str, str] = Field(default_factory=dict)
    """The commits of tasks that were made anew, by their ids before."""


class CleanUpInput(CompactRecord):
    """Input of `clean_up`: the run is over; its workspaces go, its checkpoints stay."""

    run: str
    repo: str
