"""Kills the process it runs in at one exact moment: before, after or in the middle of the n-th call of one function.

The function is wrapped from outside, by name; the code under test knows nothing of it. This module is imported by the
worker process that is to die (`tests.faults.nursery`), and by the tests for the description of the moment.
"""

import asyncio
import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


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


def die() -> None:
    """SIGKILL to ourselves: nothing is tidied up, no buffer is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


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
        if not due((args, kwargs)):
            return original(*args, **kwargs)
        if moment.when == "after":
            original(*args, **kwargs)
        die()
        raise AssertionError

    return wrapper


def _asynchronous(moment: Moment, original: Callable[..., Any], home: Path) -> Callable[..., Any]:
    due = _due(moment)

    @functools.wraps(original)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not due((args, kwargs)):
            return await original(*args, **kwargs)
        if moment.when == "after":
            await original(*args, **kwargs)
        elif moment.when == "during":
            work = asyncio.ensure_future(original(*args, **kwargs))
            ending = asyncio.get_running_loop().time() + moment.seconds
            while asyncio.get_running_loop().time() < ending if not moment.until else not any(home.glob(moment.until)):
                if work.done():
                    return work.result()
                await asyncio.sleep(0.002)
        die()
        raise AssertionError

    return wrapper
