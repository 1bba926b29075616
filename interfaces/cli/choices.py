"""The values of options that take one of a few, so that `--help` and shell completion name them. Nothing heavy."""

from enum import StrEnum


class Status(StrEnum):
    """The phases of a run, as `baton.records.run.RunStatus` has them."""

    PLANNING = "planning"
    WORKING = "working"
    WAITING = "waiting"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


class DefaultAnswer(StrEnum):
    """The answers that may be given to an unanswered decision, as `baton.records.run.Fallback` has them."""

    RETRY = "retry"
    SKIP = "skip"
    ABORT = "abort"
