"""The decorator of every activity: its name on the wire, heartbeats, log context, and the errors that Temporal sees."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.runtime.failures import WORKER_SHUTDOWN, count_failure
from activities.runtime.heartbeat import send_heartbeats
from baton import identifiers

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Register a method as the activity `name`.

    While it runs, heartbeats are sent and each log line carries its run, task, role and turn. Each exception leaves it
    as an ApplicationError (`activities.runtime.failures`). A cancellation by the worker's shutdown leaves it as
    `WORKER_SHUTDOWN`, which the workflow does not count as an attempt.
    """

    def register(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @functools.wraps(function)
        async def run_attempt(*args: P.args, **kwargs: P.kwargs) -> R:
            # Never unbound: the SDK runs each activity in a task of its own, and logs its end in the same task.
            structlog.contextvars.bind_contextvars(**_log_context(args))
            try:
                async with send_heartbeats():
                    return await function(*args, **kwargs)
            except asyncio.CancelledError:
                if activity.is_worker_shutdown():
                    raise ApplicationError(
                        "The worker was stopped; the step starts over.", type=WORKER_SHUTDOWN, non_retryable=True
                    ) from None
                raise
            # Also the exceptions of foreign libraries: each becomes one ApplicationError.
            except Exception as error:
                raise count_failure(error) from None

        return activity.defn(name=name)(run_attempt)

    return register


def _log_context(given: tuple[object, ...]) -> dict[str, str]:
    """Return run, task, role and turn of this activity, from its input, else from its workflow's id."""
    info = activity.info()
    argument = given[-1] if given else None
    key = getattr(argument, "key", argument)
    named = {name: getattr(key, name, None) for name in ("run", "task", "round", "role")}
    named["turn"] = getattr(argument, "turn", None)
    known = {name: str(value) for name, value in named.items() if value and isinstance(value, str | int)}
    place = identifiers.place_of(info.workflow_id or "")
    return {**place, **known, "activity": info.activity_type, "attempt": str(info.attempt)}
