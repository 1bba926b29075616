"""The state of a run that continues as new: all that its next execution needs and cannot find out again.

A run continues as new only while it waits for GitHub: no task is open then, no decision, and no step is under way.
https://docs.temporal.io/workflow-execution/continue-as-new
"""

from typing import Literal

from pydantic import Field

from baton.budget.caps import Caps
from baton.records.issue import CheckEvent
from baton.records.run import Decision, Moment, RunDocument
from baton.steps.github import FeedbackItem
from baton.steps.session import CompactRecord, LeftOut, PutBack
from baton.steps.task import Prepared


class CarriedPutBack(CompactRecord):
    """The paths of a task that were put back for a role."""

    task: str
    role: str
    put_back: PutBack


class CarriedNotes(CompactRecord):
    """Paths that are not in the branch, by task and role, and the notes about them."""

    left_out: dict[str, LeftOut] = Field(default_factory=dict)
    put_back: list[CarriedPutBack] = Field(default_factory=list)
    notes: dict[str, str] = Field(default_factory=dict)


class CarriedClock(CompactRecord):
    """The wall clock of a run, in seconds."""

    limit: float | None = None
    step: float = 0.0
    worked: float = 0.0


class CarriedLane(CompactRecord):
    """The orchestrator's lane."""

    commit: str = ""
    round: int = 0
    guided: list[str] = Field(default_factory=list)
    """Tasks that have had an answer of the orchestrator's."""
    adrift: bool = False


class CarriedFeedback(CompactRecord):
    """A review, message or failing check that is not dealt with."""

    item: FeedbackItem
    check: CheckEvent | None = None
    asks: bool = True


class CarriedEnding(CompactRecord):
    """An end that GitHub has told of."""

    kind: Literal["merged", "closed", "stopped"]
    reason: str


class CarriedInbox(CompactRecord):
    """The inbox of a run on GitHub."""

    seen: list[str] = Field(default_factory=list)
    """Ids of the deliveries that were taken in."""
    feedback: list[CarriedFeedback] = Field(default_factory=list)
    came: int = 0
    published: str = ""
    events: list[str] = Field(default_factory=list)
    pushed: bool = False
    rerequested: bool = False
    report_asked: bool = False
    closed_by: str = ""
    stopped_because: str = ""
    over: CarriedEnding | None = None


class CarriedComment(CompactRecord):
    """The run's comment on its issue."""

    id: int | None = None
    written: Moment
    closed: bool = False
    link: str = ""


class CarriedPullRequest(CompactRecord):
    """The run's pull request and its check run."""

    number: int | None = None
    running: str = ""
    base: str = ""
    summary: str = ""


class CarriedRounds(CompactRecord):
    """The rounds on the pull request so far, and how many may come before a person is asked."""

    left_alone: bool = False
    checks_in_row: int = 0
    reviews: int = 0
    rounds: int = 0
    max_checks: int = 0
    max_reviews: int = 0


class CarriedGitHub(CompactRecord):
    """A run's side of its issue."""

    inbox: CarriedInbox
    comment: CarriedComment
    pull_request: CarriedPullRequest
    rounds: CarriedRounds
    renewed: Moment | None = None
    """When a person last said that GitHub accepts the credential again."""


class CarriedRun(CompactRecord):
    """Second argument of the workflow `Pipeline`, for an execution that goes on from another one."""

    document: RunDocument
    """Without its decisions and refusals."""
    decisions: list[Decision] = Field(default_factory=list)
    refusals: list[str] = Field(default_factory=list)
    dropped: dict[str, int] = Field(default_factory=dict)
    """The highest number of the tasks that were taken out of the document, by their name."""
    notes: CarriedNotes
    unsaved: bool = False
    """Whether the document has changed since it was saved."""
    prepared: Prepared
    queue: str = ""
    """Of the run's host."""
    clock: CarriedClock
    caps: Caps
    lane: CarriedLane
    inboxes: dict[str, list[str]] = Field(default_factory=dict)
    github: CarriedGitHub
