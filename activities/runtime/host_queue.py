"""Which host has its hands free: answered by whoever polls the shared queue."""

from activities.runtime.step import step
from baton.steps.task import HostGranted


class HostActivities:
    """The activity `acquire_host`, on the shared queue."""

    def __init__(self, queue: str) -> None:
        self._queue = queue

    @step("acquire_host")
    async def acquire_host(self) -> HostGranted:
        """Name the queue of this process's host. Workspace work goes there from now on."""
        return HostGranted(queue=self._queue)
