"""The steps of a run, each as data, and the one place where they are run, waited for and asked about.

Below it `WorkspaceHost` has Temporal's retries, lost and busy hosts, usage limits and full disks. Here the rest is
added: the
wall clock, a GitHub that is unreachable, and a person's answer.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, Literal, Protocol, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.policies import GIT_TIMEOUT
    from workflows.budget.cap_decisions import CapDecisions
    from workflows.calls.workspace_host import StepFailed
    from workflows.decisions.ask_on_failure import FailureQuestions
    from workflows.state.run_context import RunContext

Result = TypeVar("Result")


@dataclass(frozen=True)
class Step(Generic[Result]):
    """An activity on the host of the run."""

    method: Callable[[Any, Any], Awaitable[Result]]
    argument: Any
    summary: str
    """What people see in the timeline."""
    timeout: timedelta = GIT_TIMEOUT
    """Of one attempt."""


class Patience(Protocol):
    """Waits while GitHub is unreachable."""

    async def __call__(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of a step."""


async def no_patience(step: Callable[[], Awaitable[Result]]) -> Result:
    """Return the result of a step without waiting for GitHub: the patience of a run without an issue."""
    return await step()


class RunSteps:
    """Takes the steps of a run to their results."""

    def __init__(
        self, context: RunContext, insistence: FailureQuestions, caps: CapDecisions, patience: Patience
    ) -> None:
        self._host = context.host
        self._insistence = insistence
        self._caps = caps
        self._patience = patience

    async def run_step(
        self,
        step: Step[Result],
        *,
        operation: str = "",
        on_failure: Literal["ask", "raise"] = "ask",
        final: str = "",
        said: str = "",
        interruptible: bool = False,
        needs_github: bool = False,
    ) -> Result:
        """Return the result of a step. Raises Skip or Abort as a person decides, StepFailed where no person is asked.

        `operation` names the step in the question, which `said` begins; `final` is a kind of failure that is not asked
        about, since no answer helps. An `interruptible` step is broken off when the run's time is used up.
        """

        async def attempt() -> Result:
            return await self._host.attempt_step(step.method, step.argument, timeout=step.timeout, summary=step.summary)

        async def carry_out() -> Result:
            if interruptible:
                return await self._caps.run_within_clock(operation, attempt)
            return await (self._patience(attempt) if needs_github else attempt())

        if on_failure == "raise":
            return await carry_out()
        if said:
            return await self._insistence.run_or_ask(operation, carry_out, said=said)
        while True:
            try:
                return await carry_out()
            except StepFailed as failure:
                if failure.kind == final:
                    raise
                await self._insistence.ask_about_failure(operation or step.summary, failure)

    async def run_or_ask(self, operation: str, work: Callable[[], Coroutine[Any, Any, Result]], *, said: str) -> Result:
        """Return the result of work that has several steps; its final failure is asked about as a whole."""
        return await self._insistence.run_or_ask(operation, work, said=said)
