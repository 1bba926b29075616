"""The host that takes the workspace work of a run: a worker of the run's task queue names its own."""

from temporalio import activity

from activities.runtime.failures import with_posture
from baton.steps.task import HostGranted


class HostActivities:
    """The activity `acquire_host`, on the task queue of the workflows."""

    def __init__(self, queue: str) -> None:
        self._queue = queue

    @activity.defn(name="acquire_host")
    @with_posture
    async def acquire_host(self) -> HostGranted:
        """Name the queue of this process's host. Workspace work goes there from now on."""
        return HostGranted(queue=self._queue)
