"""The presence of a host, on activity slots of its own: a busy host polls for no steps, exactly as a dead one.

An activity tells them apart: it stays on the host for as long as a step waits in the host's queue, and heartbeats. When
the host dies the heartbeats end, no other host takes the activity, and its time-out informs the workflow. A longer wait
adds no event to the history.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.runtime.failures import WORKER_SHUTDOWN
from activities.runtime.heartbeat import report_progress
from activities.runtime.step import step
from baton.policies import MAX_IDLE_FINDINGS, PRESENCE_INTERVAL
from baton.steps.task import AttendStepInput

MAX_ATTENDED = 10_000
"""Maximum of steps that wait for one worker, or have waited and run. Each costs a timer and a heartbeat."""

WAITS = "waits for a slot on its host"


@dataclass
class ActivitySlots(Interceptor):
    """The activity slots of a worker, with a count of the activities that run."""

    total: int
    taken: int = 0

    @property
    def has_free_slot(self) -> bool:
        """Whether the worker has a slot for one more activity."""
        return self.taken < self.total

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Count each activity from its beginning to its end."""
        return _SlotCounter(next, self)


class _SlotCounter(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, slots: ActivitySlots) -> None:
        super().__init__(inner)
        self._slots = slots

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        self._slots.taken += 1
        try:
            return await super().execute_activity(input)
        finally:
            self._slots.taken -= 1


class PresenceActivities:
    """The activity `attend_step`, on the queue of the host's presence."""

    def __init__(self, slots: ActivitySlots) -> None:
        self._slots = slots

    @step("attend_step")
    async def attend_step(self, attend: AttendStepInput) -> None:
        """Stay until the workflow cancels it. Return only where this host has free slots and does not take the step.

        Such a worker is alive, but cut off from its queue: without this the run would wait for it without end.
        """
        report_progress(stage=WAITS)
        lying = 0
        try:
            while lying < MAX_IDLE_FINDINGS:
                await asyncio.sleep(PRESENCE_INTERVAL.total_seconds())
                lying = lying + 1 if self._slots.has_free_slot and await _is_waiting(attend.step) else 0
        except asyncio.CancelledError:
            if activity.is_worker_shutdown():
                # Another worker of this host may take over; where there is none, the time-out informs the workflow.
                raise ApplicationError("The worker was stopped.", type=WORKER_SHUTDOWN) from None
            details = activity.cancellation_details()
            if details is not None and details.cancel_requested:
                raise
            # The attempt was given up: the step and its workflow have ended, or another worker of this host took over.


async def _is_waiting(step: str) -> bool:
    """Whether a step of the same workflow is still scheduled. False where the server does not answer: no evidence."""
    info = activity.info()
    handle = activity.client().get_workflow_handle(str(info.workflow_id), run_id=info.workflow_run_id)
    try:
        described = await handle.describe()
    except RPCError:
        return False
    return any(
        one.activity_id == step and one.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
        for one in described.raw_description.pending_activities
    )
