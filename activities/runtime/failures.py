"""One function turns an error into a retry posture: what Temporal should do about it.

Every activity runs under `posture_of`, by the decorator `with_posture`. The `type` of the ApplicationError is what
workflows decide by; the message is one clear sentence, and the root that the Web UI shows.
"""

import errno
import traceback

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.runtime import metrics
from baton import errors
from baton.errors import (
    BatonError,
    DiskFull,
    GitHubAway,
    GitHubDenied,
    GitHubRefused,
    MergeConflict,
    ModelRefused,
    ModelUnavailable,
    PlanError,
    RepositoryAway,
    SandboxUnavailable,
    UsageError,
    UsageLimitReached,
    WorkElsewhere,
)
from baton.logs import get_logger
from baton.text.redaction import Redactor

WORKER_SHUTDOWN = "WorkerShutdown"
"""The worker was told to stop: the step starts over elsewhere, and no attempt is counted."""

USAGE_LIMIT = "UsageLimit"
"""details[0] is the ISO 8601 moment at which the limit resets."""

WORK_ELSEWHERE = WorkElsewhere.__name__
"""The work lies on another host, and no state remote has it."""

ASKED_TO_WAIT = "AskedToWait"
"""The other side named a time to wait. details[0] is the kind of the error, details[1] the seconds."""

DENIED = GitHubDenied.__name__
"""GitHub does not accept our credential, or what it may do is not enough."""

AWAY = frozenset({GitHubAway.__name__, RepositoryAway.__name__})
"""The other side does not answer just now."""

_FINAL: tuple[type[BaseException], ...] = (
    UsageError,
    ModelRefused,
    PlanError,
    SandboxUnavailable,
    MergeConflict,
    GitHubDenied,
    GitHubRefused,
)
# Not StaleAttempt: nobody listens to an attempt that was given up, and one that was not, but lost a race all the same,
# finds in the journal what the winner did, and goes on from there.
_CLASSES = frozenset(
    {USAGE_LIMIT, ASKED_TO_WAIT, *(name for name, value in vars(errors).items() if isinstance(value, type))}
)
"""Names that a failure may be counted under."""
_redact = Redactor()
_log = get_logger(__name__)


def posture_of(error: BaseException) -> ApplicationError:
    """What Temporal should do about an error: retry (when), or not at all, and under which name."""
    message = _redact(str(error)) or type(error).__name__
    name = type(error).__name__
    if isinstance(error, ApplicationError):
        return error
    if isinstance(error, UsageLimitReached):
        return ApplicationError(message, error.resets_at.isoformat(), type=USAGE_LIMIT, non_retryable=True)
    if isinstance(error, ModelUnavailable) and error.retry_after:
        # Waited for on a durable timer of the workflow's, and not counted as an attempt.
        seconds = error.retry_after.total_seconds()
        return ApplicationError(message, error.kind, seconds, type=ASKED_TO_WAIT, non_retryable=True)
    if isinstance(error, GitHubAway) and error.retry_after is not None:
        return ApplicationError(
            message, name, error.retry_after.total_seconds(), type=ASKED_TO_WAIT, non_retryable=True
        )
    if isinstance(error, ModelUnavailable):
        return ApplicationError(message, error.kind, type=name)
    if isinstance(error, ModelRefused):
        return ApplicationError(message, error.kind, type=name, non_retryable=True)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ApplicationError(f"The disk is full: {message}", type=DiskFull.__name__)
    if isinstance(error, BatonError):
        final = isinstance(error, _FINAL) and not isinstance(error, RepositoryAway)
        return ApplicationError(message, type=name, non_retryable=final)
    return ApplicationError(f"{name}: {message}", type=name)


def count_failure(error: Exception) -> ApplicationError:
    """Count and log the failure of the running attempt, and return the error that Temporal gets."""
    failure = posture_of(error)
    kind = failure.type if failure.type in _CLASSES else "unexpected"
    again = not failure.non_retryable
    metrics.attempt_failed(activity.info().activity_type, kind, again=again)
    _log.info("an attempt failed", kind=kind, again=again, error=failure.message)
    if not isinstance(error, (BatonError, ApplicationError, OSError)):
        _log.error("unexpected error in an activity", error=_redact("".join(traceback.format_exception(error))))
    return failure
