"""Waiting for a child workflow while messages for it come in, and ending it when the parent is cancelled."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError, ChildWorkflowError

with workflow.unsafe.imports_passed_through():
    from workflows.halt import Halt

Result = TypeVar("Result")


async def tend(
    child: workflow.ChildWorkflowHandle[Any, Result],
    inbox: list[str],
    send: Callable[[str], Awaitable[None]],
    halt: Halt,
    stop: Callable[[], Awaitable[None]],
) -> Result:
    """Wait for a child's result and forward what arrives in `inbox` meanwhile, and a halt.

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
        return await child
    except asyncio.CancelledError:
        child.cancel()
        with contextlib.suppress(asyncio.CancelledError, ChildWorkflowError):
            await child
        raise
