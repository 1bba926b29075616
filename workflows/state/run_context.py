"""The context of a run: made first, and given to every part of the pipeline."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.identifiers import PLAN_TASK
    from baton.records.run import RunDocument, RunLimits, RunRequest
    from workflows.calls.interruption import Interruption
    from workflows.calls.workspace_host import WorkspaceHost
    from workflows.state.run_state import RunState


class RunContext:
    """One run: its request, state, host, limits, and the messages for its tasks."""

    def __init__(self, request: RunRequest, document: RunDocument, *, queue: str = "", lean: bool = False) -> None:
        """`queue` is that of the host which has the run's work already; for `lean` see `RunState`."""
        self.request = request
        self.host = WorkspaceHost(queue, tell=self._show_wait)
        self.books = RunState(document, self.host, lean=lean)
        self.halt = Interruption()
        """Asked for once the wall-clock time of the run is used up."""
        self.limits = RunLimits()
        """Those of the request until the repository was read."""
        self.inboxes: dict[str, list[str]] = {PLAN_TASK: []}
        """Messages of people by the task they are for, until it takes them; the plan counts as one."""

    async def _show_wait(self, reason: str) -> None:
        await self.books.set_held(reason)
