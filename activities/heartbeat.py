"""A decorator that heartbeats an activity on a timer, with what it does just now as the details.

Not per event: the Messages API can be silent for minutes, and a shell command too. The first one waits a moment: what
is over by then needs none, and the server writes each to its database.
"""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from temporalio import activity

from baton.contracts import Contract
from baton.policies import HEARTBEAT_EVERY, HEARTBEAT_FIRST

P = ParamSpec("P")
R = TypeVar("R")


class Doing(Contract):
    """Heartbeat details: what an activity does just now. The Web UI and `baton watch` show them."""

    stage: str = ""
    turn: int = 0
    tool: str = ""
    cost_usd: float = 0.0


_doing: ContextVar[Doing] = ContextVar("baton_doing")


def doing(**now: Any) -> None:
    """Say what this activity does just now; sent with the next heartbeat."""
    current = _doing.get(None)
    if current is not None:
        for name, value in now.items():
            setattr(current, name, value)


def heartbeating(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Heartbeat while the activity runs. Cancellation and a lost attempt arrive on these heartbeats."""

    @functools.wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        now = Doing()
        token = _doing.set(now)

        async def beat() -> None:
            await asyncio.sleep(HEARTBEAT_FIRST.total_seconds())
            while True:
                activity.heartbeat(now.model_dump(exclude_defaults=True))
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
