"""Heartbeats of an activity on a timer, with its current stage as the details.

Not per event: the Messages API and a shell command can be silent for minutes. The first heartbeat is delayed, because
the server writes each one to its database and a short activity needs none.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from baton.policies import HEARTBEAT_DELAY, HEARTBEAT_INTERVAL
from baton.steps.session import HeartbeatDetails


@dataclass
class _CurrentWork:
    stage: HeartbeatDetails
    began: float

    def heartbeat_details(self) -> dict[str, Any]:
        self.stage.seconds = round(time.monotonic() - self.began, 1)
        return self.stage.model_dump(exclude_defaults=True)


_doing: ContextVar[_CurrentWork] = ContextVar("baton_doing")


def report_progress(**now: Any) -> None:
    """Set fields of the heartbeat details (`HeartbeatDetails`); the next heartbeat sends them.

    Outside an activity a no-op.
    """
    current = _doing.get(None)
    if current is not None:
        if now.keys() & {"stage", "tool"}:
            current.began = time.monotonic()
        for name, value in now.items():
            setattr(current.stage, name, value)


@contextlib.asynccontextmanager
async def send_heartbeats() -> AsyncIterator[None]:
    """Send heartbeats until the block ends. By them Temporal delivers a cancellation, also of an attempt it gave up."""
    now = _CurrentWork(HeartbeatDetails(), time.monotonic())
    token = _doing.set(now)

    async def beat() -> None:
        await asyncio.sleep(HEARTBEAT_DELAY.total_seconds())
        while True:
            activity.heartbeat(now.heartbeat_details())
            await asyncio.sleep(HEARTBEAT_INTERVAL.total_seconds())

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating
        _doing.reset(token)
