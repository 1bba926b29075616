"""The one place where an exception becomes an ApplicationError: retryable or final, with a type and a message.

Workflows decide by the `type` and never by the message. The message is one sentence for people; the Web UI shows it as
the root cause.
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
"""The worker shuts down: the step starts over on another worker, and no attempt is counted."""

USAGE_LIMIT = "UsageLimit"
"""A usage limit of the Messages API; details[0] is the ISO 8601 moment at which it resets."""

WORK_ELSEWHERE = WorkElsewhere.__name__
"""The work is on another host, and no state remote has it."""

ASKED_TO_WAIT = "AskedToWait"
"""The API named a time to wait. details[0] is the kind of the error, details[1] the seconds."""

DENIED = GitHubDenied.__name__
"""GitHub does not accept our credential, or the credential lacks a permission."""

AWAY = frozenset({GitHubAway.__name__, RepositoryAway.__name__})
"""GitHub or the target repository is unreachable."""

_FINAL: tuple[type[BaseException], ...] = (
    UsageError,
    ModelRefused,
    PlanError,
    SandboxUnavailable,
    MergeConflict,
    GitHubDenied,
    GitHubRefused,
)
# Not StaleAttempt: Temporal ignores the failure of an attempt that it gave up. An attempt that only lost a race is
# retried, finds the winner's work in the journal, and continues from there.
_CLASSES = frozenset(
    {USAGE_LIMIT, ASKED_TO_WAIT, *(name for name, value in vars(errors).items() if isinstance(value, type))}
)
"""Labels of the metric of failed attempts."""
_redact = Redactor()
_log = get_logger(__name__)


def to_application_error(error: BaseException) -> ApplicationError:
    """Return an error as the ApplicationError that Temporal gets: its type, its details, and whether it is final."""
    message = _redact(str(error)) or type(error).__name__
    name = type(error).__name__
    if isinstance(error, ApplicationError):
        return error
    if isinstance(error, UsageLimitReached):
        return ApplicationError(message, error.resets_at.isoformat(), type=USAGE_LIMIT, non_retryable=True)
    if isinstance(error, ModelUnavailable) and error.retry_after:
        # The workflow waits for it on a durable timer, and counts no attempt.
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
    failure = to_application_error(error)
    kind = failure.type if failure.type in _CLASSES else "unexpected"
    again = not failure.non_retryable
    metrics.count_failed_attempt(activity.info().activity_type, kind, again=again)
    _log.info("an attempt failed", kind=kind, again=again, error=failure.message)
    if not isinstance(error, (BatonError, ApplicationError, OSError)):
        _log.error("unexpected error in an activity", error=_redact("".join(traceback.format_exception(error))))
    return failure
