"""Breaking work off without losing it: a step is cancelled and waited for, and starts over from its checkpoint."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from baton.steps.session import Escalation
    from workflows.calls.cancellation import await_end, raise_if_stopped

Result = TypeVar("Result")

WALL_CLOCK = "wall_clock"
"""Error type of the escalation with which halted work ends."""


class Interrupted(Exception):
    """The step was interrupted, and is run again from its checkpoint."""


class Interruption:
    """Whether work must stop here. What has ended by itself meanwhile counts."""

    def __init__(self) -> None:
        self.asked = False

    def raise_if_asked(self) -> None:
        """Raise Halted if a halt was asked for."""
        if self.asked:
            raise Interrupted

    async def run_unless_asked(self, step: Coroutine[Any, Any, Result]) -> Result:
        """The result of a step; raises Halted once a halt was asked for and the step has come to its end."""
        work = asyncio.ensure_future(step)
        try:
            await workflow.wait_condition(lambda: work.done() or self.asked)
        except asyncio.CancelledError:
            work.cancel()
            await await_end(work)
            raise
        if work.done():
            return await work
        work.cancel()
        try:
            result = await work
        except Exception as error:
            raise_if_stopped()
            if isinstance(error, ActivityError) and is_cancelled_exception(error):
                raise Interrupted from error
            raise
        except asyncio.CancelledError as error:
            # The work's own, or a stop that came while it was broken off: that ends more than the step.
            raise_if_stopped()
            raise Interrupted from error
        raise_if_stopped()
        return result


def describe_interruption(operation: str) -> Escalation:
    """How halted work tells that it did not end by itself."""
    return Escalation(
        error_type=WALL_CLOCK,
        question="The run has used up its wall-clock time.",
        choices=["raise"],
        operation=operation,
    )
