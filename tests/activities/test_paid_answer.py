"""A cancellation around an answer that was paid for: before it comes, while it is kept, and before the next one."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from activities.turn.paid_answer import PaidAnswer
from tests.conftest import HANGS

Work = Callable[[PaidAnswer], Awaitable[str]]


async def cancelled(work: Work) -> str:
    """What comes of work that is cancelled as soon as it waits for something."""
    keeping = PaidAnswer()

    async def steps() -> str:
        return await work(keeping)

    running = asyncio.create_task(keeping.run_uncancelled(steps()))
    await asyncio.sleep(0.05)
    running.cancel()
    return await running


async def test_without_an_answer_it_ends_at_once() -> None:
    async def asking(keeping: PaidAnswer) -> str:
        await asyncio.sleep(60)
        return "answered"

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(cancelled(asking), HANGS.total_seconds())


async def test_an_answer_is_kept_first() -> None:
    async def keep(keeping: PaidAnswer) -> str:
        keeping.mark_received()
        await asyncio.sleep(0.2)
        return "kept"

    assert await cancelled(keep) == "kept"


async def test_no_further_answer_is_asked_for() -> None:
    asked = []

    async def cut_off(keeping: PaidAnswer) -> str:
        keeping.mark_received()
        await asyncio.sleep(0.2)
        keeping.mark_stored()
        asked.append("again")
        return "kept"

    with pytest.raises(asyncio.CancelledError):
        await cancelled(cut_off)
    assert asked == []
