"""The parts of the payloads about checks, workflows and statuses that are read."""

from interfaces.github.payloads.common import (
    App,
    BranchEnd,
    Id,
    Listed,
    Payload,
    PayloadPart,
    RepositoryReference,
    Sha,
    Words,
)


class PullReference(PayloadPart):
    """A pull request that a check is for."""

    head: BranchEnd


class CheckSuite(PayloadPart):
    """A check suite; without a head branch where the commit lies in a fork."""

    id: Id = 0
    head_branch: Words = ""
    head_sha: Sha | None = None
    conclusion: Words = ""
    app: App | None = None
    pull_requests: Listed[PullReference] = []


class CheckOutput(PayloadPart):
    """The output of a check, as its App wrote it."""

    title: Words = ""
    summary: Words = ""
    text: Words = ""


class CheckRun(PayloadPart):
    """A check run."""

    id: Id
    name: Words = ""
    head_sha: Sha
    conclusion: Words = ""
    external_id: Words = ""
    html_url: Words = ""
    output: CheckOutput | None = None
    app: App | None = None
    check_suite: CheckSuite = CheckSuite()
    pull_requests: Listed[PullReference] = []


class CheckRunPayload(Payload):
    """`check_run`."""

    check_run: CheckRun


class CheckSuitePayload(Payload):
    """`check_suite`."""

    check_suite: CheckSuite


class WorkflowRun(PayloadPart):
    """A run of a workflow of GitHub Actions."""

    id: Id
    name: Words = ""
    head_branch: Words = ""
    head_sha: Sha
    conclusion: Words = ""
    html_url: Words = ""
    head_repository: RepositoryReference | None = None


class WorkflowRunPayload(Payload):
    """`workflow_run`."""

    workflow_run: WorkflowRun


class BranchHead(PayloadPart):
    """A commit that a branch points to."""

    sha: Sha


class StatusBranch(PayloadPart):
    """A branch that contains a commit with a status."""

    name: str
    commit: BranchHead


class StatusPayload(Payload):
    """`status`."""

    id: Id
    sha: Sha
    state: Words = ""
    context: Words = ""
    description: Words = ""
    target_url: Words = ""
    branches: Listed[StatusBranch] = []
