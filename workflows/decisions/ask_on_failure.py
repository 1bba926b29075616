"""Questions about steps that have failed for good: the work before them is paid for, so the run asks."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.records.run import RunStatus
    from baton.steps.session import Escalation
    from baton.text.truncation import cut_text
    from workflows.calls.workspace_host import StepFailed
    from workflows.decisions.escalation import Escalations
    from workflows.state.run_context import RunContext

Result = TypeVar("Result")


class FailureQuestions:
    """Takes a step to its result, with a person's help where it takes that."""

    def __init__(self, context: RunContext, escalations: Escalations) -> None:
        self._books = context.books
        self._escalations = escalations

    async def run_or_ask(
        self,
        operation: str,
        step: Callable[[], Awaitable[Result]],
        *,
        said: str,
        status: RunStatus = RunStatus.PUBLISHING,
    ) -> Result:
        """The result of a step; `said` begins the question. Raises Skip or Abort where that is the answer."""
        while True:
            try:
                return await step()
            except StepFailed as failure:
                await self._ask_about_step(f"{said} ({operation}): {failure}", operation, failure, status)

    async def ask_about_failure(self, operation: str, failure: StepFailed) -> None:
        """Ask about any step of the run that has failed; returns where it is to be tried again.

        Every step of the run comes here (`WorkspaceHost.run_step`) unless it is said otherwise where it is made
        (`WorkspaceHost.attempt_step`).
        """
        status = self._books.document.status
        publishing = status if status is RunStatus.PUBLISHING else None
        await self._ask_about_step(f"The run cannot go on ({operation}): {failure}", operation, failure, publishing)

    async def _ask_about_step(
        self, question: str, operation: str, failure: StepFailed, status: RunStatus | None
    ) -> None:
        escalation = Escalation(
            error_type=failure.detail or failure.kind,
            question=cut_text(question, 2_000),
            error=cut_text(str(failure), 2_000),
            attempted=failure.attempted,
            operation=operation,
        )
        # Where nothing else goes on meanwhile, this shows as waiting.
        self._books.pause_phase()
        commit = self._books.document.head_commit or ""
        await self._escalations.ask_person(escalation, task_id=None, agent="engine", commit=commit)
        self._books.resume_phase(status)
