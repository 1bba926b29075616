"""Whether a host lives, answered on slots of its own: one whose hands are full asks for no steps, as a dead one.

Both are told apart by an activity that stays on the host for as long as a step waits there. It sends heartbeats; when
the host dies they end, no other host takes the activity up, and its time-out tells the workflow. The wait is no event.
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
from activities.runtime.heartbeat import doing
from activities.runtime.step import step
from baton.policies import LOOK_EVERY, MAX_LEFT_LYING
from baton.steps.task import AttendInput

MAX_ATTENDED = 10_000
"""Steps that may wait for one worker at once, or have waited and run. Each is a timer and a heartbeat now and then."""

WAITS = "waits for room on its host"


@dataclass
class Slots(Interceptor):
    """The slots of a worker: it counts the activities that run."""

    total: int
    taken: int = 0

    @property
    def free(self) -> bool:
        """Whether the worker could take one more."""
        return self.taken < self.total

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Count each activity from its beginning to its end."""
        return _Counted(next, self)


class _Counted(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, slots: Slots) -> None:
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

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    @step("attend_step")
    async def attend_step(self, attend: AttendInput) -> None:
        """Stay until the workflow ends it. Returns only where this host leaves the step lying with its hands free.

        That is a worker which lives, but is cut off from its queue: to wait for it would be to wait for ever.
        """
        doing(stage=WAITS)
        lying = 0
        try:
            while lying < MAX_LEFT_LYING:
                await asyncio.sleep(LOOK_EVERY.total_seconds())
                lying = lying + 1 if self._slots.free and await _waits(attend.step) else 0
        except asyncio.CancelledError:
            if activity.is_worker_shutdown():
                # Another worker of this host may stay in its place; where there is none, its time-out says so.
                raise ApplicationError("The worker was stopped.", type=WORKER_SHUTDOWN) from None
            details = activity.cancellation_details()
            if details is not None and details.cancel_requested:
                raise
            # Given up: the step and its workflow have ended, or another worker of this host stays in its place.


async def _waits(step: str) -> bool:
    """Whether a step of the same workflow has not been taken up. Without an answer nothing is held against the host."""
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
