"""The parts of the payloads about checks, workflows and statuses that are read."""

from interfaces.github.payloads.common import (
    App,
    Id,
    Listed,
    Part,
    Payload,
    RepositoryReference,
    Sha,
    Side,
    Words,
)


class PullReference(Part):
    """A pull request that a check is for."""

    head: Side


class Suite(Part):
    """A check suite; without a head branch where the commit lies in a fork."""

    id: Id = 0
    head_branch: Words = ""
    head_sha: Sha | None = None
    conclusion: Words = ""
    app: App | None = None
    pull_requests: Listed[PullReference] = []


class Output(Part):
    """The output of a check, as its App wrote it."""

    title: Words = ""
    summary: Words = ""
    text: Words = ""


class Run(Part):
    """A check run."""

    id: Id
    name: Words = ""
    head_sha: Sha
    conclusion: Words = ""
    external_id: Words = ""
    html_url: Words = ""
    output: Output | None = None
    app: App | None = None
    check_suite: Suite = Suite()
    pull_requests: Listed[PullReference] = []


class RunPayload(Payload):
    """`check_run`."""

    check_run: Run


class SuitePayload(Payload):
    """`check_suite`."""

    check_suite: Suite


class Workflow(Part):
    """A run of a workflow of GitHub Actions."""

    id: Id
    name: Words = ""
    head_branch: Words = ""
    head_sha: Sha
    conclusion: Words = ""
    html_url: Words = ""
    head_repository: RepositoryReference | None = None


class WorkflowPayload(Payload):
    """`workflow_run`."""

    workflow_run: Workflow


class BranchHead(Part):
    """A commit that a branch points to."""

    sha: Sha


class Branch(Part):
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
    branches: Listed[Branch] = []
