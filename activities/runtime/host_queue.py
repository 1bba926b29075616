"""The choice of a host for a run's workspace work: the worker that polls the shared queue first names its own host."""

from activities.runtime.step import step
from baton.steps.task import HostGranted


class HostActivities:
    """The activity `acquire_host`, on the task queue of the workflows."""

    def __init__(self, queue: str) -> None:
        self._queue = queue

    @step("acquire_host")
    async def acquire_host(self) -> HostGranted:
        """Return the task queue of this host, to which the run sends its workspace work from now on."""
        return HostGranted(queue=self._queue)
