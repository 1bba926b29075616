"""Work that comes to its end however often its waiter is cancelled."""

import asyncio
import threading

import pytest

from workspaces.threads import finish, in_thread


async def test_a_second_and_a_third_cancellation_are_waited_through() -> None:
    go, done = threading.Event(), []

    def work() -> None:
        go.wait(60)
        done.append(True)

    waiter = asyncio.create_task(in_thread(work))
    for _ in range(3):
        await asyncio.sleep(0.02)
        waiter.cancel()
    await asyncio.sleep(0.02)
    assert (waiter.done(), done) == (False, [])
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert done == [True]


async def test_the_cancellation_takes_the_place_of_an_error() -> None:
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        raise OSError("full")

    waiter = asyncio.create_task(finish(work()))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    with pytest.raises(OSError, match="full"):
        await finish(work())
