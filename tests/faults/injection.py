"""Kills (or stops) the process it runs in at one exact moment: before, after or during the n-th call of one function.

The function is wrapped from outside, by name; the code under test knows nothing of it. This module is imported by the
worker process that is to die (`tests.support.nursery`), and by the tests for the description of the moment.
"""

import asyncio
import functools
import importlib
import inspect
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_IDLE = 0.3
"""Seconds in which the event loop stands still before a stop, so that what its threads are about comes to its end."""


@dataclass(frozen=True)
class Moment:
    """When a worker is killed."""

    target: str
    """`module:function` or `module:Class.method`, as the caller finds it."""
    when: Literal["before", "after", "during"] = "before"
    nth: int = 1
    """Which of the calls that match, from 1."""
    match: str = ""
    """Text that the call's arguments must hold, as `repr` shows them."""
    until: str = ""
    """`during`: kill once something under the home matches this pattern; without it, after `seconds`."""
    seconds: float = 0.3
    holds: bool = False
    """In place of a signal: wait, deaf to cancellation, until something under the home matches `until`.

    The file `held` in the home says that this has begun, `deaf` that there was a cancellation.
    """
    stops: bool = False
    """SIGSTOP in place of SIGKILL: the process goes on from there when somebody wakes it, and does not know."""
    busy: bool = False
    """Stop while other threads may be in the middle of something: they hold its locks then, for as long as it lasts."""


def _strike(moment: Moment) -> None:
    """The signal to ourselves: after SIGKILL nothing is tidied up; after SIGSTOP this may return, much later."""
    if moment.stops and not moment.busy:
        time.sleep(_IDLE)
    os.kill(os.getpid(), signal.SIGSTOP if moment.stops else signal.SIGKILL)


def arm(moment: Moment, home: Path) -> None:
    """Wrap the function that the moment names, so that this process dies there."""
    module_name, _, path = moment.target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    static = inspect.getattr_static(owner, name)
    original = getattr(owner, name)
    wrapper = (
        _asynchronous(moment, original, home) if inspect.iscoroutinefunction(original) else _plain(moment, original)
    )
    setattr(owner, name, staticmethod(wrapper) if isinstance(static, staticmethod) else wrapper)


async def _hold(moment: Moment, home: Path) -> None:
    (home / "held").touch()
    while not any(home.glob(moment.until)):
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            (home / "deaf").touch()


def _due(moment: Moment) -> Callable[[object], bool]:
    seen = 0

    def due(arguments: object) -> bool:
        nonlocal seen
        if moment.match and moment.match not in repr(arguments):
            return False
        seen += 1
        return seen == moment.nth

    return due


def _plain(moment: Moment, original: Callable[..., Any]) -> Callable[..., Any]:
    assert moment.when != "during", "only what waits can be interrupted in the middle"
    due = _due(moment)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        now = due((args, kwargs))
        if now and moment.when == "before":
            _strike(moment)
        result = original(*args, **kwargs)
        if now and moment.when == "after":
            _strike(moment)
        return result

    return wrapper


def _asynchronous(moment: Moment, original: Callable[..., Any], home: Path) -> Callable[..., Any]:
    due = _due(moment)

    @functools.wraps(original)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        now = due((args, kwargs))
        if now and moment.holds:
            await _hold(moment, home)
        elif now and moment.when == "before":
            _strike(moment)
        if not now or moment.when != "during":
            result = await original(*args, **kwargs)
            if now and moment.when == "after":
                _strike(moment)
            return result
        clock = asyncio.get_running_loop().time
        ending = clock() + moment.seconds
        work = asyncio.ensure_future(original(*args, **kwargs))
        while not work.done() and (not any(home.glob(moment.until)) if moment.until else clock() < ending):
            await asyncio.sleep(0.002)
        if not work.done():
            _strike(moment)
        return await work

    return wrapper
