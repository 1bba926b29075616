"""Work that comes to its end however often its waiter is cancelled."""

import asyncio
import threading

import pytest

from system.uncancellable import finish_work, provide_threads, run_in_thread
from tests.conftest import HANGS


async def test_a_second_and_a_third_cancellation_are_waited_through() -> None:
    go, done = threading.Event(), []

    def work() -> None:
        go.wait(HANGS.total_seconds())
        done.append(True)

    waiter = asyncio.create_task(run_in_thread(work))
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

    waiter = asyncio.create_task(finish_work(work()))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    with pytest.raises(OSError, match="full"):
        await finish_work(work())


async def test_a_loop_gets_threads_for_its_steps_and_keeps_them() -> None:
    """Also where a second worker of the process wants fewer, and while the threads of before are at work."""
    provide_threads(3)
    early = threading.Event()
    before = [asyncio.create_task(run_in_thread(early.wait, 60)) for _ in range(3)]
    await asyncio.sleep(0)
    provide_threads(100)
    provide_threads(1)
    together = threading.Barrier(100)
    # Each returns only once all are there at once.
    places = await asyncio.gather(*(run_in_thread(together.wait, 60) for _ in range(100)))
    assert sorted(places) == list(range(100))
    early.set()
    assert await asyncio.gather(*before) == [True] * 3
