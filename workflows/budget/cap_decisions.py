"""Decisions about caps that a run has reached: one for all work that waits for the same cap."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.budget.spending_guard import SpendingActivities
    from baton.budget.caps import RAISE, CapReached, Caps, cap_question, cap_suggestions
    from baton.policies import GIT_TIMEOUT
    from baton.records.run import RunLimits
    from baton.steps.session import Escalation
    from baton.steps.task import SetCapsInput
    from workflows.budget.wall_clock import WallClock
    from workflows.calls.interruption import WALL_CLOCK, Interrupted, describe_interruption
    from workflows.decisions.escalation import Abort, Escalations, Skip
    from workflows.state.run_context import RunContext


Result = TypeVar("Result")


class CapDecisions:
    """Asks when a cap is reached. Work that meets the same cap meanwhile waits for the same answer."""

    def __init__(self, context: RunContext, escalations: Escalations, clock: WallClock) -> None:
        self._request = context.request
        self._host = context.host
        self._escalations = escalations
        self._clock = clock
        self._caps = Caps()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._writing = asyncio.Lock()

    def set_limits(self, limits: RunLimits) -> None:
        """Take over the limits that the run starts with."""
        self._caps.limits = limits

    def carry_caps(self) -> Caps:
        """Return the caps as they were raised, for the next execution of the run."""
        return self._caps

    def restore_caps(self, caps: Caps) -> None:
        """Take over the caps of the execution that this one continues."""
        self._caps = caps

    def is_about_cap(self, escalation: Escalation) -> bool:
        """Whether an escalation is about a cap; a question of a role never is."""
        if escalation.reached is not None or escalation.error_type != WALL_CLOCK:
            return escalation.reached is not None
        # Patched, for a run in which a role has named its question so before goes on. Only such a run gets the marker.
        return not (escalation.of_role and workflow.patched("questions-of-roles"))

    async def settle_cap(self, escalation: Escalation, *, task_id: str | None, agent: str, commit: str = "") -> None:
        """Return once the work may be tried again. Raises Skip or Abort where it may not."""
        reached = escalation.reached or self._clock.describe_reached()
        if self._raised_since(reached, escalation):
            return
        asking = self._asking.get(reached.key)
        if asking is None:
            about = escalation.model_copy(
                update={
                    "question": cap_question(reached),
                    "suggestions": cap_suggestions(reached),
                    "choices": [RAISE],
                    "reached": reached,
                }
            )
            whose = None if reached.is_shared else task_id
            asking = asyncio.create_task(
                self._ask_to_raise(about, reached, whose, agent, "" if reached.is_shared else commit)
            )
            self._asking[reached.key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(reached.key, None))
        await asking

    async def run_within_clock(self, operation: str, step: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of a step of the run itself; broken off and begun again where time runs out meanwhile."""
        while True:
            try:
                return await self._clock.halt.run_unless_asked(step())
            except Interrupted:
                try:
                    await self.settle_cap(describe_interruption(operation), task_id=None, agent="engine")
                except Skip as skip:
                    raise Abort(f"Without its {operation} the run has no result: {skip}.") from skip

    def _raised_since(self, reached: CapReached, escalation: Escalation) -> bool:
        if escalation.error_type == WALL_CLOCK:
            return not self._clock.halt.asked
        return self._caps.raised.get(reached.key, 0.0) > reached.raised

    async def _ask_to_raise(
        self, escalation: Escalation, reached: CapReached, task_id: str | None, agent: str, commit: str
    ) -> None:
        decision = await self._escalations.ask_person(escalation, task_id=task_id, agent=agent, commit=commit)
        if decision.choice != RAISE:
            return
        before = self._caps.raised.get(reached.key)
        amount = self._caps.raise_by(reached, decision.note)
        if reached.unit == "seconds":
            self._clock.extend_limit(amount)
            return
        async with self._writing:
            try:
                await self._host.run_step(
                    SpendingActivities.set_caps,
                    SetCapsInput(
                        run=self._request.run, repo=self._request.repo, caps=self._caps.model_copy(), at=workflow.now()
                    ),
                    timeout=GIT_TIMEOUT,
                    summary=f"raise the cap {reached.key}",
                )
            except Skip:
                # It is not raised where it counts: work that meets it again must ask again.
                self._caps.raised.pop(reached.key)
                if before is not None:
                    self._caps.raised[reached.key] = before
                raise
