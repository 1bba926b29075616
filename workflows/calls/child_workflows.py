"""Waiting for a child workflow while messages for it come in, and ending it when the parent is cancelled."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    TimeoutError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from baton.text.truncation import cut_text
    from workflows.calls.cancellation import await_end, raise_if_stopped
    from workflows.calls.interruption import Interruption
    from workflows.calls.workspace_host import StepFailed

Result = TypeVar("Result")
Handle = TypeVar("Handle")

_CLASH_WAITS = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 5, 10, 20, 30, 60))
"""Between two looks whether an earlier execution of the same id has ended, which was told to."""


class ChildEnded(StepFailed):
    """A child workflow was ended from outside, or failed: it gave no result, and its work is in the store."""

    def __init__(self, name: str, how: str) -> None:
        super().__init__(
            f"The workflow {name} {how}. Its work is kept; messages that it had not taken in yet are lost.",
            "ChildEnded",
            retried=False,
        )


async def start_child(name: str, start: Callable[[], Awaitable[Handle]]) -> Handle:
    """Start a child workflow. An earlier execution of its id that is still about to end is waited for."""
    for wait in (*_CLASH_WAITS, None):
        raise_if_stopped()
        try:
            child = await start()
        except WorkflowAlreadyStartedError as clash:
            if wait is None:
                raise StepFailed(f"The workflow {name} is still at work.", "ChildClash", retried=False) from clash
            await workflow.sleep(wait, summary=f"an earlier {name} ends"[:200])
            continue
        return child
    raise AssertionError


async def await_child(
    child: workflow.ChildWorkflowHandle[Any, Result],
    inbox: list[str],
    send: Callable[[str], Awaitable[None]],
    halt: Interruption,
    stop: Callable[[], Awaitable[None]],
) -> Result:
    """Wait for a child's result; forward the messages that arrive in `inbox` meanwhile, and a halt.

    What could not be delivered, since the child ended first, stays in the inbox. A cancellation is passed on to the
    child, and waited for: its workspace needs cleaning.
    """
    told = False

    def stirs() -> bool:
        return child.done() or bool(inbox) or (halt.asked and not told)

    try:
        while not child.done():
            await workflow.wait_condition(stirs)
            if halt.asked and not told and not child.done():
                told = True
                with contextlib.suppress(ApplicationError):  # The child has ended already.
                    await stop()
                continue
            if inbox and not child.done():
                text = inbox[0]
                try:
                    await send(text)
                except ApplicationError:
                    break  # The child ended while the message was on its way.
                inbox.pop(0)
            _check_stop_but_not_over(child)
        return await child
    except asyncio.CancelledError:
        child.cancel()
        await await_end(child)
        raise
    except ChildWorkflowError as failure:
        raise_if_stopped()
        raise ChildEnded(failure.workflow_id, _describe_end(failure)) from failure


def _check_stop_but_not_over(child: workflow.ChildWorkflowHandle[Any, Any]) -> None:
    if not child.done():
        raise_if_stopped()


def _describe_end(failure: ChildWorkflowError) -> str:
    match failure.cause:
        case TerminatedError():
            return "was terminated"
        case CancelledError():
            return "was cancelled by itself"
        case TimeoutError():
            return "has timed out"
    return cut_text(f"failed: {failure.cause or failure}", 500)
