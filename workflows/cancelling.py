"""Cancellations that arrive while a step comes to its end all the same: the SDK leaves them out, Baton must not."""

import asyncio

from temporalio import workflow


class Cancellation:
    """Whether the running task is cancelled while something is waited for, from the making of this object on.

    With WAIT_CANCELLATION_COMPLETED an activity that was asked to end, and was done before it heard of it, gives its
    result as if nobody had asked: the task goes on, and the cancellation is lost. That it came is still counted:
    https://docs.python.org/3/library/asyncio-task.html#asyncio.Task.cancelling
    """

    def __init__(self) -> None:
        self._before = _requests()

    def check(self) -> None:
        """Raise CancelledError where one came. Patched, for runs that went on in spite of one before."""
        if _requests() > self._before and workflow.patched("cancelled-during-a-step"):
            raise asyncio.CancelledError


def _requests() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
