"""Stops that must not be lost: cancellations that arrive while a step comes to its end all the same, or is broken off.

A cancellation is an exception at one await only. Whatever swallows it there (a step that was done before it heard of
it, a signal that had left already, work that ends with an error of its own) would let the workflow go on, for
Temporal delivers it once. So whatever begins something new asks here first.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from temporalio import workflow

Result = TypeVar("Result")

_PATCH = "no-stop-is-lost"

_finishes: ContextVar[bool] = ContextVar("finishes", default=False)
"""Whether what runs now is meant to come to its end in spite of a stop: it closes the books."""


class _CancellationScope:
    over = False


_scope: ContextVar[_CancellationScope | None] = ContextVar("scope", default=None)


def begin_scope() -> None:
    """Begin a scope: the work that the running task starts from now on is given up together."""
    _scope.set(_CancellationScope())


def close_scope() -> None:
    """Refuse new steps in the scope: its work is over though the workflow is not cancelled."""
    scope = _scope.get()
    if scope is not None:
        scope.over = True


class CancellationGuard:
    """A guard that notices a cancellation of the running task from the creation of this object on.

    With WAIT_CANCELLATION_COMPLETED an activity that was asked to end, and was done before it heard of it, gives its
    result as if there had been no request: the task goes on, and the cancellation is lost. It is still counted:
    https://docs.python.org/3/library/asyncio-task.html#asyncio.Task.cancelling
    """

    def __init__(self) -> None:
        self._before = _count_requests()

    def raise_if_cancelled(self) -> None:
        """Raise CancelledError where one came. Patched, for runs that went on in spite of one before."""
        if _count_requests() > self._before and workflow.patched("cancelled-during-a-step"):
            raise asyncio.CancelledError


def raise_if_stopped() -> None:
    """Raise CancelledError where the workflow, its work as a whole or the running task was asked to end before.

    Patched, for a run that went on in spite of it before. Only a run that was stopped gets the marker.
    """
    scope = _scope.get()
    stopped = workflow.cancellation_reason() is not None or (scope is not None and scope.over) or _count_requests() > 0
    if stopped and not _finishes.get() and workflow.patched(_PATCH):
        raise asyncio.CancelledError


async def run_in_spite_of_stop(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of work that begins new steps in spite of a stop; for a task of its own."""
    _finishes.set(True)
    return await work


async def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of work that a stop does not break off: how the workflow ends is decided when it begins."""
    task = asyncio.create_task(run_in_spite_of_stop(work))
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                raise
            if workflow.cancellation_reason() is None or not workflow.patched(_PATCH):
                task.cancel()
                return await task


async def await_end(work: "asyncio.Future[Any]") -> None:
    """Return once interrupted work has ended, with any result, and in spite of further cancellations."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await work
    if not work.cancelled():
        work.exception()  # looked at, so that the event loop does not miss it


def _count_requests() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
