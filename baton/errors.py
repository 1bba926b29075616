"""The tree of errors that Baton raises on purpose.

    BatonError
    ├── UsageError                 the caller can correct it: exit code 2
    │   ├── RepositoryError        no such repository, empty, unknown base
    │   │   ├── RepositoryAway     the repository is unreachable: a retry may succeed
    │   │   └── BranchMoved        somebody else has moved the published branch
    │   ├── FilteredPaths          files would be published without their git filter: a person has to allow it
    │   ├── ContentsMissing        the repository lacks the contents of LFS pointers
    │   ├── AgentFileError         a role file cannot be loaded
    │   ├── ConfigurationError     baton.toml or a setting is invalid
    │   │   └── NoHome             this user may write no directory for Baton's data
    │   └── UnknownRun             no run of that id
    ├── PlanError                  the orchestrator's plan cannot be carried out
    ├── TemporalUnreachable        exit code 4
    ├── ServerStartFailed          the embedded server did not come up: exit code 4
    ├── WorkspaceError             the store or a workspace is in an unexpected state
    │   ├── StaleAttempt           another attempt has taken over; this one must end without effect
    │   ├── MergeConflict          two lines of work change the same place
    │   ├── WorkElsewhere          the data of a step lies in the store of another host
    │   ├── StateRemoteAway        the state remote is unreachable, or refuses
    │   ├── ConversationLost       the stored conversation of a session cannot be continued
    │   ├── StoreDamaged           a store, or a file of a run in it, cannot be read: `doctor --store` has details
    │   └── DiskFull               the disk is full; no committed work was lost
    ├── SandboxUnavailable         no sandbox can be made, and the settings do not waive it
    ├── CommandTimeout             a command exceeded its time-out
    ├── GitHubError                a request to GitHub failed
    │   ├── GitHubDenied           401, 403: the credential is invalid, or lacks a permission
    │   ├── GitHubRefused          404, 409, 410, 422: a retry cannot succeed
    │   └── GitHubAway             429, 5xx, no connection: a retry may succeed
    └── ModelError                 the Messages API gave no usable answer
        ├── ModelRefused           401, 402, 403, spend limit: a retry succeeds only after a person has acted
        │   └── RequestRefused     400, 404, 413, 422: the same request is always refused
        ├── ModelUnavailable       429, 5xx, connection, cut stream: a retry may succeed
        │   └── AnswerTruncated    the stream ended without an error, and before the answer was complete
        └── UsageLimitReached      a limit with a stated reset: wait until then, without counting an attempt

Each message is one clear sentence, with the remedy where there is one.
"""

from datetime import datetime, timedelta
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; a command that a signal ends exits with 128 plus its number, as in a shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3
    TEMPORAL_UNREACHABLE = 4
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class BatonError(Exception):
    """Root of the tree; `exit_code` is the exit code of the command line if the error reaches it."""

    exit_code = ExitCode.FAILED


class UsageError(BatonError):
    """The request cannot be carried out as it is, and the caller can correct it."""

    exit_code = ExitCode.USAGE


class RepositoryError(UsageError):
    """The target repository is missing, empty, or has no such base."""


class RepositoryAway(RepositoryError):
    """The repository is unreachable; of the repository errors, only this one may pass without a correction."""


class BranchMoved(RepositoryError):
    """The published branch was moved by a push from outside; it was left as it is."""


class FilteredPaths(UsageError):
    """Files with a git filter, which the engine does not run, would be published unfiltered."""


class ContentsMissing(UsageError):
    """The target repository lacks the contents of Git LFS pointers, and they could not be uploaded."""


class AgentFileError(UsageError):
    """A role file cannot be loaded; the message names file and reason."""


class ConfigurationError(UsageError):
    """A setting or the repository's `baton.toml` is invalid."""


class NoHome(ConfigurationError):
    """This user may write no directory for Baton's data."""


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
    """The store or a workspace is in a state that the step cannot work with."""


class StaleAttempt(WorkspaceError):
    """A compare-and-swap of a ref failed, because another attempt has moved it; this one must end without effect."""


class MergeConflict(WorkspaceError):
    """Two lines of work change the same place; `paths` lists the files."""

    def __init__(self, message: str, paths: list[str]) -> None:
        super().__init__(message)
        self.paths = paths


class WorkElsewhere(WorkspaceError):
    """The data of a step lies in the store of another host, which is unreachable and may come back."""


class StateRemoteAway(WorkspaceError):
    """The state remote is unreachable, or refuses; a step is complete only once the remote has its copy."""


class ConversationLost(WorkspaceError):
    """The stored conversation of a session is missing or differs; only a new start can continue the session."""


class StoreDamaged(WorkspaceError):
    """A store, or a file of a run in it, cannot be read; the message names it and the remedy."""


class DiskFull(WorkspaceError):
    """The disk is full; commits are kept, and the run continues once space is free."""


class SandboxUnavailable(BatonError):
    """This machine can make no sandbox, and the settings do not waive it."""


class CommandTimeout(BatonError):
    """A command exceeded its time-out and was killed with all its children."""


class GitHubError(BatonError):
    """A request to GitHub failed."""


class GitHubDenied(GitHubError):
    """The credential is invalid or lacks a permission; the message names the setting to renew."""


class GitHubRefused(GitHubError):
    """GitHub refuses the request, and a retry cannot succeed; `status` is the HTTP status, 0 without an answer."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class GitHubAway(GitHubError):
    """A transient failure of GitHub (429, 5xx, no connection); `retry_after` is the wait that GitHub asks for."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelError(BatonError):
    """The Messages API gave no usable answer."""

    def __init__(self, message: str, *, kind: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        """The API's own error type, for instance `authentication_error`."""
        self.request_id = request_id


class ModelRefused(ModelError):
    """The API refuses the caller (401, 402, 403, spend limit): a retry succeeds only after a person has acted."""


class RequestRefused(ModelRefused):
    """The API refuses the content of the request (400, 404, 413, 422): the same request is always refused."""


class ModelUnavailable(ModelError):
    """A transient failure of the API (429, 5xx, connection, cut stream): a retry may succeed."""

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
    """A usage limit with a known reset: the caller waits until `resets_at`, without counting an attempt."""

    def __init__(self, message: str, *, kind: str, resets_at: datetime, request_id: str | None = None) -> None:
        super().__init__(message, kind=kind, request_id=request_id)
        self.resets_at = resets_at


class AnswerTruncated(ModelUnavailable):
    """The stream ended without `message_stop`: the answer is incomplete and must not be acted on."""
