"""A step that waits in the queue of a busy host: for as long as it takes, and no longer than the host lives."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.runtime.presence import PresenceActivities
    from baton import identifiers
    from baton.policies import ATTEND_TIMEOUT, HEARTBEAT_TIMEOUT, PRESENCE_ANSWER
    from baton.steps.task import AttendStepInput
    from workflows.calls.cancellation import await_end

Result = TypeVar("Result")


class HostGone(Exception):
    """The host in whose queue a step waited is dead, or takes up no step though it has free slots."""


async def wait_in_queue(queue: str, begin: "Callable[[str], workflow.ActivityHandle[Result]]") -> Result:
    """The result of a step that `begin` puts into a host's queue under the id it is given.

    Beside it an activity stays on the host, on slots of its own (`activities.runtime.presence`). It ends before the
    step only when the host is gone: then the step is taken back, and HostGone raised. Both wait without an event.
    """
    step_id = str(workflow.uuid4())
    step = begin(step_id)
    attended = workflow.start_activity_method(
        PresenceActivities.attend_step,
        AttendStepInput(step=step_id),
        task_queue=identifiers.presence_queue(queue),
        schedule_to_start_timeout=PRESENCE_ANSWER,
        start_to_close_timeout=ATTEND_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=1.0),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
        summary="stay while a step waits for a busy host",
    )
    gone, stopped = False, None
    try:
        await workflow.wait([step, attended], return_when=asyncio.FIRST_COMPLETED)
        gone = not step.done()
    except asyncio.CancelledError as error:
        stopped = error
    # No `finally`: a workflow that leaves the worker's cache is closed where it waits, and may not wait again.
    step.cancel()
    attended.cancel()
    await await_end(step)
    await await_end(attended)
    if stopped is not None:
        raise stopped
    try:
        return step.result()
    except asyncio.CancelledError:
        if gone:
            raise HostGone from None
        raise
    except ActivityError as error:
        final = isinstance(error.cause, ApplicationError) and error.cause.non_retryable
        if gone and (is_cancelled_exception(error) or not final):
            raise HostGone from None
        raise
