"""Models of the parts of GitHub's payloads that are read; all other parts are ignored.

Those of checks are in `payloads.checks`.

A field is optional wherever GitHub leaves it out or sends null in at least one of its own examples.
https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints


def _not_dots(name: str) -> str:
    if not name.strip("."):
        raise ValueError("a name needs more than dots")
    return name


Item = TypeVar("Item")

Id = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[int, Field(ge=1, lt=2**31)]
Sha = Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})\z")]
Login = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}(?:\[bot\])?\z")]
RepositoryName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}\z"), AfterValidator(_not_dots)]
FullName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}\z")]
# GitHub sends null for an empty text or list.
Words = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
Listed = Annotated[list[Item], BeforeValidator(lambda value: [] if value is None else value)]


class PayloadPart(BaseModel):
    """A part of a payload."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Account(PayloadPart):
    """A person, a bot or an organisation."""

    login: Login
    id: Id = 0
    type: Words = ""


class RepositoryPart(PayloadPart):
    """The repository that a delivery is about."""

    id: Id
    name: RepositoryName
    owner: Account


class Installation(PayloadPart):
    """The App's installation that a delivery belongs to; none where a webhook was made by hand."""

    id: Id
    account: Account | None = None


class App(PayloadPart):
    """A GitHub App."""

    id: Id | None = None
    slug: Words = ""


class Payload(PayloadPart):
    """The parts that all events about a repository have."""

    repository: RepositoryPart
    sender: Account
    installation: Installation | None = None


class Label(PayloadPart):
    """A label."""

    name: str


class Issue(PayloadPart):
    """An issue, or a pull request seen as one."""

    number: Number
    title: Words = ""
    body: Words = ""
    state: Words = ""
    user: Account | None = None
    pull_request: Any = None
    """Not null: it is a pull request."""


class IssuePayload(Payload):
    """`issues`."""

    issue: Issue
    label: Label | None = None


class Comment(PayloadPart):
    """A comment on an issue or a pull request."""

    id: Id
    body: Words = ""
    performed_via_github_app: App | None = None


class CommentPayload(Payload):
    """`issue_comment`."""

    issue: Issue
    comment: Comment


class RepositoryReference(PayloadPart):
    """The repository of a branch or a commit."""

    id: Id


class BranchEnd(PayloadPart):
    """Head or base of a pull request; the repository of a head is null once a fork was deleted."""

    ref: str
    sha: Sha
    repo: RepositoryReference | None = None


class PullPart(PayloadPart):
    """A pull request."""

    number: Number
    head: BranchEnd
    merged: bool | None = None


class PullPayload(Payload):
    """`pull_request`."""

    pull_request: PullPart


class ReviewPart(PayloadPart):
    """A review as a whole."""

    id: Id
    state: Words = ""
    body: Words = ""
    commit_id: Sha | None = None


class ReviewPayload(PullPayload):
    """`pull_request_review`."""

    review: ReviewPart


class ReviewComment(PayloadPart):
    """A comment on a line of a pull request."""

    id: Id
    body: Words = ""
    path: Words = ""
    line: int | None = Field(default=None, ge=0, lt=2**31)
    commit_id: Sha | None = None


class ReviewCommentPayload(PullPayload):
    """`pull_request_review_comment`."""

    comment: ReviewComment


class PushPayload(Payload):
    """`push`."""

    ref: str
    after: Sha
    deleted: bool = False


class NamedRepository(PayloadPart):
    """A repository in a list."""

    full_name: FullName


class InstallationPayload(PayloadPart):
    """`installation` and `installation_repositories`: about an account, not about a repository."""

    sender: Account
    installation: Installation
    repositories_removed: Listed[NamedRepository] = []
