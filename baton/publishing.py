"""What passes to and from the end of a run: the branch in the target repository, and the workspaces that go."""

from baton.sessions import Lean


class PublishInput(Lean):
    """Input of `publish_run`."""

    run: str
    repo: str
    commit: str
    branch: str = ""
    """Empty: `baton/<run>`."""
    expected: str | None = None
    """Where the branch must be now; None: nowhere."""


class Published(Lean):
    """The branch as it lies in the target repository."""

    branch: str
    commit: str


class CleanUpInput(Lean):
    """Input of `clean_up`: the run is over; its workspaces go, its checkpoints stay."""

    run: str
    repo: str
