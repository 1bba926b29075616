"""A run that works for an issue on GitHub: its inbox, its comment, its pull request, and its ends."""

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import datetime
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from baton.records.issue import GitHubIssue, GitHubSignal
    from baton.records.run import Guide
    from baton.steps.carried import CarriedGitHub
    from baton.steps.session import Escalation
    from baton.steps.task import Plan, Prepared
    from baton.text.truncation import cut_text
    from workflows.budget.cap_decisions import CapDecisions
    from workflows.calls.cancellation import await_end, close_scope
    from workflows.calls.github_queues import GitHubQueues
    from workflows.calls.workspace_host import StepFailed
    from workflows.decisions.ask_on_failure import FailureQuestions
    from workflows.decisions.escalation import Abort, Escalations, Skip
    from workflows.github.branch_sync import BranchSync
    from workflows.github.follow_up import AWAITING, FollowUp
    from workflows.github.github_context import GitHubContext
    from workflows.github.inbox import GitHubEnding, GitHubInbox
    from workflows.github.issue_comment import IssueComment
    from workflows.github.pull_request import PullRequest
    from workflows.stages.publication import Publication
    from workflows.stages.run_steps import RunSteps
    from workflows.stages.task_scheduler import TaskScheduler
    from workflows.state.run_context import RunContext


Result = TypeVar("Result")


class EndedByGitHub(Exception):
    """The run is over before its work is: the pull request was merged or closed, or the issue was closed."""

    def __init__(self, ending: GitHubEnding) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class IssueIntegration:
    """The GitHub side of a run that works for an issue."""

    def __init__(
        self,
        context: RunContext,
        issue: GitHubIssue,
        escalations: Escalations,
        insistence: FailureQuestions,
        caps: CapDecisions,
        driver: TaskScheduler,
    ) -> None:
        books = self._books = context.books
        self._escalations = escalations
        self.hearing = GitHubInbox(issue, books, escalations, driver.take_message)
        self.outward = GitHubQueues(self._show_wait, self._await_credential)
        self.steps = RunSteps(context, insistence, caps, self.outward.await_github)
        self._ties = GitHubContext(context, issue, escalations, self.steps, driver, self.hearing, self.outward)
        self._reporter = IssueComment(self._ties)
        self._pull = PullRequest(self._ties)
        self._asking: asyncio.Task[None] | None = None
        self._renewed: datetime | None = None
        """When a person last said that GitHub lets us in again."""
        self._closing = False
        self._answers: FollowUp | None = None
        self._carried: CarriedGitHub | None = None
        books.watch = self._reporter.mark_changed

    @property
    def stopped_because(self) -> str:
        """The reason of a stop from GitHub; empty without one."""
        return self.hearing.stopped_because

    def take_notice(self, notice: GitHubSignal) -> None:
        """Take in a notice of GitHub."""
        self.hearing.take_notice(notice)

    def take_message(self, message: Guide) -> bool:
        """Let a message become a round on the open pull request."""
        return message.task_id is None and self.hearing.take_message("the command line", message.text)

    def begin_run(self, prepared: Prepared) -> None:
        """Take over the facts about the repository."""
        self._reporter.link = self._pull.link = prepared.web_ui
        self._pull.base = prepared.base_ref.removeprefix("refs/heads/") if "/" in prepared.base_ref else ""

    def set_plan(self, plan: Plan) -> None:
        """Take over the plan's summary, for the pull request."""
        self._pull.summary = plan.summary

    async def run(self) -> None:
        """Report, and see to a closed issue, until cancelled."""
        await asyncio.gather(self._reporter.run(), self._watch_issue())

    async def until_over(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work of the run; once GitHub has ended the run, interrupt the work and raise Over."""
        task = asyncio.ensure_future(work)
        try:
            await workflow.wait_condition(lambda: task.done() or self.hearing.over is not None)
        except asyncio.CancelledError:
            await _broken_off(task)
            raise
        if self.hearing.over is None or task.done():
            await task
            return
        close_scope()
        await _broken_off(task)
        raise EndedByGitHub(self.hearing.over)

    def carry_github(self) -> CarriedGitHub:
        """Return this side of a run that waits for a review, for the run's next execution."""
        assert self._answers is not None
        return CarriedGitHub(
            inbox=self.hearing.carry_inbox(),
            comment=self._reporter.carry_comment(),
            pull_request=self._pull.carry_pull(),
            rounds=self._answers.carry_rounds(),
            renewed=self._renewed,
        )

    def restore_github(self, carried: CarriedGitHub) -> None:
        """Take over this side of the execution that this one continues."""
        self._carried = carried
        # From the first moment on, or it would show as working.
        self._books.awaiting = AWAITING
        self.hearing.restore_inbox(carried.inbox)
        self._reporter.restore_comment(carried.comment)
        self._pull.restore_pull(carried.pull_request, carried.comment.link)
        self._renewed = carried.renewed

    def _should_continue_as_new(self) -> bool:
        """Whether the run should continue as new: the server suggests it, and no question or step is open."""
        return (
            self._books.lean
            and workflow.info().is_continue_as_new_suggested()
            and not self._books.saver.is_busy
            and not self._reporter.is_busy
            and not self._books.decisions.list_open()
            and not self.hearing.closed_by
            and self.hearing.over is None
            and (self._asking is None or self._asking.done())
        )

    async def follow_up(self, finish: Publication, prepared: Prepared) -> bool:
        """Open the pull request and answer its reviews and checks; True if the run should continue as new.

        Returns False only where there is no pull request.
        """
        answers = self._answers = FollowUp(
            self._ties, finish, self._pull, BranchSync(self._ties, finish), self._should_continue_as_new
        )
        if self._carried is not None:
            answers.restore_rounds(self._carried.rounds)
        elif not await self._open_pull_request():
            return False
        await answers.answer_reviews(prepared.base_commit, prepared.limits, prepared.quiet_seconds)
        return True

    async def _open_pull_request(self) -> bool:
        branch, commit = self._books.document.branch, self._books.document.head_commit
        if branch is None or commit is None:
            return False
        self.hearing.published = commit
        return await self._pull.publish_pull()

    async def report_end(self, *, done: bool) -> None:
        """Say how the run has ended, and conclude a check run that is still open."""
        self._closing = True
        with contextlib.suppress(StepFailed, ActivityError):
            await self._pull.settle_check(done=done)
        await self._reporter.write_last()

    async def _watch_issue(self) -> None:
        """A closed issue ends the run; unless GitHub closed it because the pull request was merged."""
        await workflow.wait_condition(lambda: bool(self.hearing.closed_by))
        with contextlib.suppress(StepFailed, Skip, Abort):
            await self._pull.read_state()
        reason = f"The run was stopped, for the issue was closed by {self.hearing.closed_by}; its work is kept."
        self.hearing.over = self.hearing.over or GitHubEnding("stopped", reason)

    def _show_wait(self, what: str) -> None:
        if what != self._books.stalled:
            self._books.stalled = what
            self._books.mark_changed()

    async def _await_credential(self, failure: StepFailed, began: datetime) -> None:
        """Ask for a new credential, once for all steps that wait for it; returns when a retry may help."""
        if self._closing:
            raise failure
        if self._renewed is not None and began <= self._renewed:
            return  # it still went out with the old credential
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_for_credential(failure))
        await asyncio.shield(self._asking)

    async def _ask_for_credential(self, failure: StepFailed) -> None:
        escalation = Escalation(
            error_type="credentials",
            question=cut_text(str(failure), 2_000),
            error=cut_text(str(failure), 2_000),
            attempted=failure.attempted,
            operation="GitHub",
        )
        await self._escalations.ask_person(
            escalation, task_id=None, agent="engine", commit=self._books.document.head_commit or ""
        )
        self._renewed = workflow.now()


async def _broken_off(task: "asyncio.Future[None]") -> None:
    task.cancel()
    # What it ends with does not matter any more; it was broken off.
    await await_end(task)
