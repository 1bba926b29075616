"""The wall clock of a run: a durable timer over the time in which it works. Waiting for a person does not count."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.budget.caps import CapReached
    from baton.records.run import RunStatus
    from baton.steps.carried import CarriedClock
    from workflows.state.run_context import RunContext


class WallClock:
    """Counts from the start of the run; asks for a halt when its time is used up. A no-op without a limit."""

    def __init__(self, context: RunContext) -> None:
        self._document = context.books.document
        self.halt = context.halt
        self._limit: float | None = None
        self._step = 0.0
        self._worked = 0.0

    def _is_waiting(self) -> bool:
        return self._document.status is RunStatus.WAITING

    def carry_time(self) -> CarriedClock:
        """Return the time so far, for the next execution of the run."""
        return CarriedClock(limit=self._limit, step=self._step, worked=self._worked)

    async def go_on(self, carried: CarriedClock) -> None:
        """Count on from where an earlier execution of the run stood, until cancelled."""
        if carried.limit is None:
            return
        self._limit, self._step, self._worked = carried.limit, carried.step, carried.worked
        await self._count_time()

    async def run(self, limit_seconds: float | None) -> None:
        """Count until cancelled."""
        if limit_seconds is None:
            return
        self._limit = self._step = limit_seconds
        self._worked = (workflow.now() - workflow.info().start_time).total_seconds()
        await self._count_time()

    async def _count_time(self) -> None:
        while True:
            await workflow.wait_condition(lambda: not self._is_waiting() and not self.halt.asked)
            began = workflow.now()
            left = max(0.0, (self._limit or 0.0) - self._worked)
            try:
                await workflow.wait_condition(
                    self._is_waiting, timeout=timedelta(seconds=left), timeout_summary="wall-clock time of the run"
                )
            except TimeoutError:
                self.halt.asked = True
            self._worked += (workflow.now() - began).total_seconds()

    def describe_reached(self) -> CapReached:
        """The figures for the question."""
        limit = self._limit or 0.0
        return CapReached(scope="run", unit="seconds", cap=limit, spent=round(self._worked, 3), step=self._step)

    def extend_limit(self, seconds: float) -> None:
        """Let the run work for so much longer."""
        self._limit = max(self._limit or 0.0, self._worked) + seconds
        self.halt.asked = False
