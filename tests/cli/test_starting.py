"""The start of a run that is interrupted: what is said of it then is true."""

import asyncio
import contextlib
import sys

import pytest

from baton.errors import UsageError
from interfaces.cli.runs.start import interrupted, see_through


async def test_a_start_that_is_under_way_is_seen_through_before_anything_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["baton"])
    started: list[str] = []
    answered = asyncio.Event()

    async def start() -> None:
        await answered.wait()

    command = asyncio.create_task(see_through(start(), "shop-x7k2", started))
    await asyncio.sleep(0)
    command.cancel()
    await asyncio.sleep(0)
    assert not command.done()
    assert interrupted(started) == "Interrupted before the run was started."
    answered.set()
    with contextlib.suppress(asyncio.CancelledError):
        await command
    assert command.cancelled()
    assert "`baton watch shop-x7k2` goes on with it, `baton stop shop-x7k2` ends it." in interrupted(started)


async def test_a_start_that_fails_leaves_no_run() -> None:
    started: list[str] = []

    async def start() -> None:
        raise UsageError("There is a run already.")

    with pytest.raises(UsageError):
        await see_through(start(), "shop-x7k2", started)
    assert started == []
