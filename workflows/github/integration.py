"""A run and the world outside: what the pipeline asks of whoever speaks for it there, and a run that has nobody.

A run of the command line works for no issue: nothing waits for GitHub, and nothing but its own end ends it.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.records.issue import Notice
    from baton.records.run import Guide
    from baton.steps.carried import CarriedGitHub
    from baton.steps.task import Plan, Prepared
    from workflows.stages.publication import Finish

Result = TypeVar("Result")


class Side(Protocol):
    """Whoever speaks for a run outside."""

    @property
    def stopped_because(self) -> str:
        """Why somebody outside stopped the run; empty where nobody did."""

    def hear(self, notice: Notice) -> None:
        """Take in what the outside tells."""

    def take(self, message: Guide) -> bool:
        """Take a message that reached no agent; False where there is no use for it."""

    def begin(self, prepared: Prepared) -> None:
        """Take over what was found out about the repository."""

    def planned(self, plan: Plan) -> None:
        """Take over what there is to say of the plan."""

    async def run(self) -> None:
        """Speak until cancelled."""

    async def until_over(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work of the run, unless it is over before."""

    async def patiently(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """The result of a step that needs the outside."""

    async def follow_up(self, finish: Finish, prepared: Prepared) -> bool:
        """Answer what comes after the branch is published; True where the run should continue as new."""

    def carry(self) -> CarriedGitHub:
        """Return the state for the run's next execution, once `follow_up` has returned True."""

    def restore(self, carried: CarriedGitHub) -> None:
        """Take over the state of the execution that this one continues."""

    async def close(self, *, done: bool) -> None:
        """Say how the run has ended."""


class Alone:
    """Nobody outside."""

    stopped_because = ""

    def hear(self, notice: Notice) -> None:
        """Nothing of it concerns the run."""

    def take(self, message: Guide) -> bool:
        """Nobody has a use for it."""
        return False

    def begin(self, prepared: Prepared) -> None:
        """Nobody asks."""

    def planned(self, plan: Plan) -> None:
        """Nobody asks."""

    async def run(self) -> None:
        """Nobody listens."""

    async def until_over(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work."""
        await work

    async def patiently(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """Do the step."""
        return await step()

    async def follow_up(self, finish: Finish, prepared: Prepared) -> bool:
        """Nothing comes."""
        return False

    def carry(self) -> CarriedGitHub:
        """Raise an error: such a run never continues as new."""
        raise AssertionError("A run without an issue does not continue as new.")

    def restore(self, carried: CarriedGitHub) -> None:
        """Raise an error: such a run never continues as new."""
        raise AssertionError("A run without an issue does not continue as new.")

    async def close(self, *, done: bool) -> None:
        """Nobody listens."""
