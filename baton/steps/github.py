"""Inputs and results of the activities that read from GitHub, write to it, or pass its deliveries on."""

from typing import Literal

from pydantic import Field

from baton.records.issue import CheckEvent, EventPayload, Repository, Sender, Text
from baton.records.run import Moment, RunRequest, ShortText
from baton.steps.session import CompactRecord

COMMENT_LIMIT = 65_536
"""Characters of a comment, or of a pull request's body, that GitHub takes."""
SUMMARY_LIMIT = 65_535
"""Characters of a check run's summary that GitHub takes."""

Reaction = Literal["eyes", "confused"]


class CheckPermissionInput(CompactRecord):
    """Input of `check_permission`."""

    repository: Repository
    sender: Sender


class Permission(CompactRecord):
    """Whether a person may start a run, and the reason for a refusal."""

    allowed: bool
    reason: str = ""


class ReadCommentsInput(CompactRecord):
    """Input of `read_comments`: the comments on an issue before a run was asked for, and whether it still is."""

    repository: Repository
    number: int
    before: Moment
    label: str = ""
    """The label that asks for the run; empty where something else does."""
    closed: bool = False
    """Whether the issue was closed when the run was asked for; then it may be so still."""


class EarlierComments(CompactRecord):
    """Comments of people who may write to the repository, none of them edited since; each with its author."""

    text: str = Field(default="", max_length=20_000)
    withdrawn: str = ""
    """The reason why the run is no longer wanted."""


class ReadPullInput(CompactRecord):
    """Input of `read_pull`."""

    repository: Repository
    number: int


class PullState(CompactRecord):
    """A pull request as it is on GitHub."""

    number: int
    url: str = ""
    branch: str = ""
    """Head branch; empty where it lies in another repository (a fork)."""
    state: Literal["open", "closed"] = "open"
    merged: bool = False
    draft: bool = False


class ReadFailureInput(CompactRecord):
    """Input of `read_failure`."""

    repository: Repository
    check: CheckEvent


class FailureLog(CompactRecord):
    """The end of a failed check's log, or else the check's own summary."""

    text: Text = ""


class FindRunInput(CompactRecord):
    """Input of `find_run`: the run of an issue."""

    repository: Repository
    number: int
    to_start: bool = False
    """Whether a run is about to start where none is open."""


class FoundRun(CompactRecord):
    """The open run of an issue, or the id that its next run will have."""

    run: str
    attempt: int = 1
    open: bool = False
    last: str = ""
    """The latest run that has ended."""
    taken: str = ""
    """The reason why no run can be found or started: another workflow has its id."""


class DeliverInput(CompactRecord):
    """Input of `deliver`: a delivery for a run, and the run to start where there is none."""

    run: str
    delivery: str
    sender: Sender
    matter: EventPayload
    start: RunRequest | None = None


class DeliveryResult(CompactRecord):
    """Result of `deliver`."""

    refused: str = ""
    """Why a decision was not taken."""
    gone: bool = False
    """The run has ended meanwhile, or another one has its id: look again."""


class StopRunsInput(CompactRecord):
    """Input of `stop_runs_of`: repositories that were taken away, `owner/*` for all of an account."""

    repositories: list[str]
    sender: Sender
    delivery: str


class StoppedRuns(CompactRecord):
    """The runs that were stopped."""

    runs: list[str] = Field(default_factory=list)


class ReactionInput(CompactRecord):
    """Input of `react`: a reaction to an issue, or to a comment where one is given."""

    repository: Repository
    number: int
    comment: int | None = None
    content: Reaction = "eyes"


class CommentInput(CompactRecord):
    """Input of `write_comment`: the one comment of a run on its issue."""

    repository: Repository
    number: int
    run: str
    """Named in the hidden marker by which the comment is found again."""
    comment: int | None = None
    """Its id, once it is known."""
    body: str


class CommentWritten(CompactRecord):
    """Where the comment is."""

    id: int


class PullInput(CompactRecord):
    """Input of `write_pull`: open a run's pull request, or bring it up to date."""

    repository: Repository
    branch: str
    base: str
    """Name of the branch to merge into; empty: the repository's default branch."""
    title: str
    body: str
    number: int | None = None
    """Of the pull request, once it is known."""


class CheckInput(CompactRecord):
    """Input of `write_check`: the check run of a workflow on a commit."""

    repository: Repository
    commit: str
    run: str
    status: Literal["in_progress", "completed"] = "completed"
    conclusion: Literal["success", "failure", "cancelled", "neutral"] | None = None
    title: ShortText
    summary: str
    link: str = ""
    """To the run in the Web UI."""


class CheckWritten(CompactRecord):
    """Result of `write_check`: the check run or the commit status is written."""


class DeliveryOutcome(CompactRecord):
    """Result of the workflow `Delivery`."""

    outcome: Literal["started", "told", "stopped", "answered", "refused", "ignored", "failed"]
    run: str = ""
    reason: str = ""


class SyncBranchInput(CompactRecord):
    """Input of `take_in`: bring commits of others on a published branch into the integrated line."""

    run: str
    repo: str
    branch: str
    published: str
    """The branch's head as we know it."""
    task: str
    """Id of the task that is to resolve a conflict, where there is one."""
    role: str
    """Who gets it, where the paths do not say."""


class BranchSynced(CompactRecord):
    """Result of `take_in`: the state of the branch, and the commits that were merged from it."""

    relation: Literal["same", "ahead", "rewritten", "gone"]
    head: str = ""
    """The branch's head now."""
    commits: int = 0
    """Commits of others that were taken in."""
    conflicts: list[str] = Field(default_factory=list)
    """Paths that both sides changed: the task is open, with both sides in its workspace."""
    role: str = ""


class TakeBranchInput(CompactRecord):
    """Input of `take_theirs`: set the integrated line to the branch as others have rewritten it."""

    run: str
    repo: str
    branch: str


class FeedbackItem(CompactRecord):
    """One remark of a person or a check about a pull request."""

    source: str
    """Who or what: `review of ada`, `check build`."""
    text: str
    path: str = ""
    line: int | None = None


class OpenRoundInput(CompactRecord):
    """Input of `open_round`: a task of the engine's own that answers feedback on the pull request."""

    run: str
    repo: str
    task: str
    title: str
    role: str
    """Who gets it, where the paths do not say."""
    items: list[FeedbackItem]


class RoundOpened(CompactRecord):
    """Who the task is for."""

    role: str
