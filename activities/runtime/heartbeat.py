"""A decorator that heartbeats an activity on a timer, with what it does just now as the details.

Not per event: the Messages API can be silent for minutes, and a shell command too. The first one waits a moment: what
is over by then needs none, and the server writes each to its database.
"""

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from temporalio import activity

from baton.policies import HEARTBEAT_EVERY, HEARTBEAT_FIRST
from baton.steps.session import Doing

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class _Now:
    what: Doing
    began: float

    def details(self) -> dict[str, Any]:
        self.what.seconds = round(time.monotonic() - self.began, 1)
        return self.what.model_dump(exclude_defaults=True)


_doing: ContextVar[_Now] = ContextVar("baton_doing")


def doing(**now: Any) -> None:
    """Say what this activity does just now; sent with the next heartbeat."""
    current = _doing.get(None)
    if current is not None:
        if now.keys() & {"stage", "tool"}:
            current.began = time.monotonic()
        for name, value in now.items():
            setattr(current.what, name, value)


def heartbeating(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Heartbeat while the activity runs. Cancellation and a lost attempt arrive on these heartbeats."""

    @functools.wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        now = _Now(Doing(), time.monotonic())
        token = _doing.set(now)

        async def beat() -> None:
            await asyncio.sleep(HEARTBEAT_FIRST.total_seconds())
            while True:
                activity.heartbeat(now.details())
                await asyncio.sleep(HEARTBEAT_EVERY.total_seconds())

        beating = asyncio.create_task(beat())
        try:
            return await function(*args, **kwargs)
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating
            _doing.reset(token)

    return wrapper
