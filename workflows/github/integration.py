"""The protocol between the pipeline and GitHub, and its no-op for a run without an issue.

A run of the command line works for no issue: it never waits for GitHub, and only its own end ends it.
"""

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.records.issue import GitHubSignal
    from baton.records.run import Guide
    from baton.steps.carried import CarriedGitHub
    from baton.steps.task import Plan, Prepared
    from workflows.stages.publication import Publication

Result = TypeVar("Result")


class GitHubIntegration(Protocol):
    """The GitHub side of a run."""

    @property
    def stopped_because(self) -> str:
        """The reason of a stop from GitHub; empty without one."""

    def take_notice(self, notice: GitHubSignal) -> None:
        """Take in a notice of GitHub."""

    def take_message(self, message: Guide) -> bool:
        """Take a message that reached no agent; False where there is no use for it."""

    def begin_run(self, prepared: Prepared) -> None:
        """Take over the facts about the repository."""

    def set_plan(self, plan: Plan) -> None:
        """Take over the plan, for the pull request."""

    async def run(self) -> None:
        """Speak until cancelled."""

    async def until_over(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work of the run, unless it is over before."""

    async def follow_up(self, finish: Publication, prepared: Prepared) -> bool:
        """Answer reviews and checks after the branch is published; True if the run should continue as new."""

    def carry_github(self) -> CarriedGitHub:
        """Return the state for the run's next execution, once `follow_up` has returned True."""

    def restore_github(self, carried: CarriedGitHub) -> None:
        """Take over the state of the execution that this one continues."""

    async def report_end(self, *, done: bool) -> None:
        """Say how the run has ended."""


class NoIntegration:
    """The no-op of a run that works for no issue."""

    stopped_because = ""

    def take_notice(self, notice: GitHubSignal) -> None:
        """Ignore the notice."""

    def take_message(self, message: Guide) -> bool:
        """Return False: there is no pull request that the message could be for."""
        return False

    def begin_run(self, prepared: Prepared) -> None:
        """Do nothing: no issue asks for it."""

    def set_plan(self, plan: Plan) -> None:
        """Do nothing: no issue asks for it."""

    async def run(self) -> None:
        """Do nothing: no issue listens."""

    async def until_over(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work."""
        await work

    async def follow_up(self, finish: Publication, prepared: Prepared) -> bool:
        """Return False at once: there is no pull request."""
        return False

    def carry_github(self) -> CarriedGitHub:
        """Raise an error: such a run never continues as new."""
        raise AssertionError("A run without an issue does not continue as new.")

    def restore_github(self, carried: CarriedGitHub) -> None:
        """Raise an error: such a run never continues as new."""
        raise AssertionError("A run without an issue does not continue as new.")

    async def report_end(self, *, done: bool) -> None:
        """Do nothing: no issue listens."""
