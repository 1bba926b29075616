"""Every error that Baton raises on purpose.

    BatonError
    ├── UsageError                 the caller can mend it: exit code 2
    │   ├── RepositoryError        no such repository, empty, unknown base
    │   │   ├── RepositoryAway     the network or the other side does not answer: asking again may help
    │   │   └── BranchMoved        a branch is not where it was when we saw it last
    │   ├── FilteredPaths          files behind a filter would be published without it: a person has to say so
    │   ├── ContentsMissing        what LFS pointers stand for is not where the branch is to go
    │   ├── AgentFileError         a role file that cannot be loaded
    │   ├── ConfigurationError     baton.toml or a setting does not fit
    │   │   └── NoHome             no directory for Baton's data that this user may write
    │   └── UnknownRun             no run of that id
    ├── PlanError                  the orchestrator's plan cannot be carried out
    ├── TemporalUnreachable        exit code 4
    ├── ServerStartFailed          the embedded server did not come up: exit code 4
    ├── WorkspaceError             the store or a workspace is not as it should be
    │   ├── StaleAttempt           another attempt has taken over; this one must end without effect
    │   ├── MergeConflict          two lines of work touch the same place
    │   ├── WorkElsewhere          what a step needs lies in the store of another host
    │   ├── StateRemoteAway        the state remote did not take or give what it should
    │   ├── ConversationLost       the stored conversation of a session cannot be gone on with
    │   ├── StoreDamaged           a store, or a file of a run in it, cannot be read: `doctor --store` says more
    │   └── DiskFull               no room; nothing was lost
    ├── SandboxUnavailable         no sandbox can be made, and none was waived
    ├── CommandTimeout             a command ran longer than it may
    ├── GitHubError                GitHub did not do what it was asked for
    │   ├── GitHubDenied           401, 403: the credential is not valid, or lacks a permission
    │   ├── GitHubRefused          404, 409, 410, 422: asking again cannot help
    │   └── GitHubAway             429, 5xx, no connection: asking again may help
    └── ModelError                 the Messages API did not give a usable answer
        ├── ModelRefused           401, 402, 403, spend limit: asking again cannot help before a person did something
        │   └── RequestRefused     400, 404, 413, 422: the same bytes are refused again, for ever
        ├── ModelUnavailable       429, 5xx, connection, cut stream: asking again may help
        ├── UsageLimitReached      a limit with a stated reset: wait, uncounted
        └── AnswerTruncated        the stream ended cleanly, but too early

Each message is one clear sentence that says what to do where something can be done.
"""

from datetime import datetime, timedelta
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; one that a signal has ended is 128 and the signal's number, as in a shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3
    TEMPORAL_UNREACHABLE = 4
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class BatonError(Exception):
    """Root of the tree; `exit_code` is what the command line ends with when nobody catches it."""

    exit_code = ExitCode.FAILED


class UsageError(BatonError):
    """The caller asked for something that cannot be done, and can mend it."""

    exit_code = ExitCode.USAGE


class RepositoryError(UsageError):
    """The target repository is missing, empty, or has no such base."""


class RepositoryAway(RepositoryError):
    """The repository does not answer just now; unlike the others, this may pass by itself."""


class BranchMoved(RepositoryError):
    """Somebody else has moved the branch that we publish; it was left as it is."""


class FilteredPaths(UsageError):
    """Files behind a filter that the engine does not run would be published as they are."""


class ContentsMissing(UsageError):
    """The contents that LFS pointers stand for are not in the repository, and could not be brought there."""


class AgentFileError(UsageError):
    """A role file cannot be loaded; the message names file and reason."""


class ConfigurationError(UsageError):
    """A setting or the repository's `baton.toml` does not fit its schema."""


class NoHome(ConfigurationError):
    """There is no directory that this user may keep Baton's data in."""


class UnknownRun(UsageError):
    """No run of that id is known to the Temporal namespace."""


class PlanError(BatonError):
    """The orchestrator's plan cannot be carried out: a cycle, an unknown role, no tasks, too many."""


class TemporalUnreachable(BatonError):
    """No Temporal service answers at the configured address."""

    exit_code = ExitCode.TEMPORAL_UNREACHABLE


class ServerStartFailed(TemporalUnreachable):
    """The embedded server did not come up."""


class WorkspaceError(BatonError):
    """The store or a workspace is not as it should be."""


class StaleAttempt(WorkspaceError):
    """Another attempt has moved the ref: this one lost the race and must end without effect."""


class MergeConflict(WorkspaceError):
    """Two lines of work touch the same place; `paths` says where."""

    def __init__(self, message: str, paths: list[str]) -> None:
        super().__init__(message)
        self.paths = paths


class WorkElsewhere(WorkspaceError):
    """This host's store lacks what a step needs: it lies on another host, which may come back."""


class StateRemoteAway(WorkspaceError):
    """The state remote cannot be reached, or refuses; the step is not done before it has its copy."""


class ConversationLost(WorkspaceError):
    """A session's conversation is not in the store as it was; the session can only start anew."""


class StoreDamaged(WorkspaceError):
    """A store, or a file of a run in it, cannot be read; the message names it and says what to do."""


class DiskFull(WorkspaceError):
    """The disk has no room. What was committed is kept; make room, and the run goes on."""


class SandboxUnavailable(BatonError):
    """No sandbox can be made on this machine, and nobody said to do without."""


class CommandTimeout(BatonError):
    """A command ran longer than it may and was killed with all its children."""


class GitHubError(BatonError):
    """GitHub did not do what it was asked for."""


class GitHubDenied(GitHubError):
    """The credential is not valid or lacks a permission; the message says what to renew."""


class GitHubRefused(GitHubError):
    """The request cannot succeed as it is; `status` is that of HTTP, 0 where there is none."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class GitHubAway(GitHubError):
    """A passing fault (429, 5xx, no connection); `retry_after` where GitHub named a time."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelError(BatonError):
    """The Messages API did not give a usable answer."""

    def __init__(self, message: str, *, kind: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        """The API's own error type, for instance `authentication_error`."""
        self.request_id = request_id


class ModelRefused(ModelError):
    """The request cannot succeed before a person has done something (401, 402, 403, spend limit)."""


class RequestRefused(ModelRefused):
    """What is sent is the cause (400, 404, 413, 422): the same bytes are refused again, whoever sends them."""


class ModelUnavailable(ModelError):
    """A passing fault (429, 5xx, connection, cut stream)."""

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        request_id: str | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, kind=kind, request_id=request_id)
        self.retry_after = retry_after


class UsageLimitReached(ModelError):
    """A usage limit whose reset is known: not a failure, a wait until `resets_at`."""

    def __init__(self, message: str, *, kind: str, resets_at: datetime, request_id: str | None = None) -> None:
        super().__init__(message, kind=kind, request_id=request_id)
        self.resets_at = resets_at


class AnswerTruncated(ModelUnavailable):
    """The stream ended without `message_stop`: the answer is not whole and must not be acted on."""
