"""The start of a run that is interrupted: the farewell of the command is true."""

import asyncio
import contextlib
import sys

import pytest

from baton.errors import UsageError
from interfaces.cli.runs.start import UNSTARTED, complete_start
from interfaces.cli.terminal.runner import Farewell


async def test_a_start_that_is_under_way_is_completed_before_the_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["baton"])
    farewell = Farewell(UNSTARTED)
    answered = asyncio.Event()

    async def start() -> None:
        await answered.wait()

    command = asyncio.create_task(complete_start(start(), "shop-x7k2", farewell))
    await asyncio.sleep(0)
    command.cancel()
    await asyncio.sleep(0)
    assert not command.done()
    assert farewell.text == "Interrupted before the run was started."
    answered.set()
    with contextlib.suppress(asyncio.CancelledError):
        await command
    assert command.cancelled()
    assert "`baton watch shop-x7k2` goes on with it, `baton stop shop-x7k2` ends it." in farewell.text


async def test_a_start_that_fails_leaves_no_run() -> None:
    farewell = Farewell(UNSTARTED)

    async def start() -> None:
        raise UsageError("There is a run already.")

    with pytest.raises(UsageError):
        await complete_start(start(), "shop-x7k2", farewell)
    assert farewell.text == UNSTARTED
