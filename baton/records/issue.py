"""Records that GitHub's webhook passes to the workflows: deliveries with their sender, repository and event.

The webhook makes one `Delivery` of each request that concerns Baton. It bounds and cleans the text of strangers there
and stores it, so that a later edit on GitHub does not change the run.
"""

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from baton.records.base import Record

MAX_TITLE = 300
"""Characters of an issue's title."""
MAX_BODY = 40_000
"""Characters of an issue's body; GitHub takes 65,536."""
MAX_TEXT = 10_000
"""Characters of a comment, a review, or a command's text."""

MAX_REMOVED = 5_000
"""Repositories that one delivery can remove."""
CHECK_NAME = "Baton"
"""Name of Baton's check run, and context of its commit status."""
DELIVERY_WORKFLOW = "Delivery"
"""Name of the workflow that processes a delivery."""

_BRANCH = re.compile(r"baton/issue-([1-9][0-9]{0,9})-[a-z0-9][a-z0-9-]{0,99}")

Title = Annotated[str, StringConstraints(max_length=MAX_TITLE)]
Body = Annotated[str, StringConstraints(max_length=MAX_BODY)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class Sender(Record):
    """The GitHub account that caused a delivery."""

    login: str
    id: int = 0
    bot: bool = False
    """GitHub's `type: Bot`, or a login that ends in `[bot]`."""


class Repository(Record):
    """A repository on GitHub, and the App installation that gives access to it."""

    owner: str
    name: str
    clone_url: str
    """Without credentials; built from the setting `BATON_GITHUB_URL`, never taken from a payload."""
    installation: int | None = None
    """None where a token is used instead of an App."""

    @property
    def full_name(self) -> str:
        """`owner/name`."""
        return f"{self.owner}/{self.name}"


class PersonCommand(Record):
    """A command on the first line of a comment: `/baton decide D1 postgres we run it already`.

    `help` with a text stands for a line that begins like a command and is none; the text is that line.
    """

    name: Literal["run", "status", "decide", "guide", "retry", "stop", "help"]
    text: Text = ""
    """The text after `run` or `guide`, on that line and below it, or the note of `decide`."""
    decision_id: str = ""
    """Of `decide`; of `retry` if the comment names one."""
    choice: str = ""


class RunRequested(Record):
    """A request for a run on an issue, by the label or by `/baton run`."""

    kind: Literal["start"] = "start"
    number: int = Field(ge=1)
    title: Title
    body: Body = ""
    url: str = ""
    by: Literal["label", "command"] = "label"
    label: str = ""
    """The label that requested the run, as it is written on the issue."""
    closed: bool = False
    """Whether the issue was closed already."""
    text: Text = ""
    """The text after `/baton run`."""
    comment: int | None = None
    """Id of the comment that holds the command."""


class CommentCommand(Record):
    """A command for a run, in a comment on its issue or its pull request."""

    kind: Literal["command"] = "command"
    number: int = Field(ge=1)
    """Of the issue or pull request that was commented on."""
    on_pull: bool = False
    command: PersonCommand
    comment: int


class StopRequested(Record):
    """A request to stop the run of an issue that was closed, deleted or transferred, or lost its label."""

    kind: Literal["stop"] = "stop"
    number: int = Field(ge=1)
    reason: Literal["unlabeled", "closed", "removed"]
    """`removed`: the App lost access to the repository; the engine derives it from a `RepositoriesRemoved`."""


class ReviewEvent(Record):
    """A review of a pull request of Baton, or a comment of one."""

    kind: Literal["review"] = "review"
    pull: int = Field(ge=1)
    branch: str
    """Head branch of the pull request, in the same repository."""
    state: Literal["changes_requested", "approved", "commented"]
    commit: str = ""
    """The commit that was reviewed."""
    body: Text = ""
    path: str = ""
    """File of a review comment; empty for the review itself."""
    line: int | None = None
    id: int


class CheckEvent(Record):
    """A foreign check that failed on a head commit of Baton, or a request to run Baton's own check again."""

    kind: Literal["check"] = "check"
    branch: str
    commit: str
    name: str
    outcome: Literal["failed", "rerequested"]
    conclusion: str = ""
    """GitHub's value: `failure`, `timed_out`, `startup_failure`; `error` of a commit status."""
    source: Literal["check_run", "check_suite", "workflow_run", "status"] = "check_run"
    id: int = 0
    app: str = ""
    """Slug of the App that made it."""
    external_id: str = ""
    title: Title = ""
    summary: Text = ""
    url: str = ""


class PullRequestEvent(Record):
    """A pull request of Baton was merged, closed or reopened, or others have pushed to its branch."""

    kind: Literal["pull"] = "pull"
    pull: int | None = None
    branch: str
    outcome: Literal["merged", "closed", "reopened", "pushed"]
    commit: str = ""
    """The branch's head after the event."""


class RepositoriesRemoved(Record):
    """The App lost access to repositories; their runs end."""

    kind: Literal["removed"] = "removed"
    repositories: list[str] = Field(max_length=MAX_REMOVED)
    """`owner/name` each, or `owner/*` for all of an account. The delivery's repository names the account only."""


EventPayload = Annotated[
    RunRequested | CommentCommand | StopRequested | ReviewEvent | CheckEvent | PullRequestEvent | RepositoriesRemoved,
    Field(discriminator="kind"),
]


class Delivery(Record):
    """Input of the workflow `Delivery`: one webhook request that concerns Baton."""

    id: str
    """X-GitHub-Delivery; a redelivery has the same."""
    event: str
    """Event and action: `issues.labeled`."""
    repository: Repository
    sender: Sender
    matter: EventPayload

    @property
    def workflow_id(self) -> str:
        """The workflow id. A redelivery has the same, so that Temporal starts it once."""
        return f"gh-delivery-{self.id}"


class GitHubIssue(Record):
    """The issue that a run works for; part of `RunRequest`."""

    repository: Repository
    number: int = Field(ge=1)
    title: Title = ""
    url: str = ""
    requester: Sender
    branch: str
    """The branch that the run publishes: `baton/issue-<number>-<slug>`, of letters, digits and dashes only."""

    @property
    def key(self) -> str:
        """The issue as `owner/name#number`, in lower case, because GitHub's names are case-insensitive."""
        return f"{self.repository.full_name}#{self.number}".lower()


class GitHubSignal(Record):
    """Input of the signal `github` to a run: the event of a delivery."""

    delivery: str
    """X-GitHub-Delivery; a run processes each one once."""
    sender: Sender
    matter: EventPayload
    refused: str = ""
    """The reason why the command in it was refused; the run only shows it."""


def issue_of_branch(branch: str) -> int | None:
    """Return the number of the issue that a branch of Baton is for; None for any other branch."""
    found = _BRANCH.fullmatch(branch)
    return int(found[1]) if found else None
