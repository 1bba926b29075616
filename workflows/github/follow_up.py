"""The run after its pull request is open: it waits, and answers reviews and failing checks with bounded rounds.

Waiting costs nothing: no activity, no poll, no timer. It never ends by itself; the merge, the close or a stop ends it.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.github.branch_sync import BranchSyncActivities
    from activities.github.reads import GitHubReadActivities
    from baton.github.comment_text import join_first_five
    from baton.records.run import RunLimits, RunStatus, TaskState
    from baton.replayed_figures import MAX_BATCH_WAIT
    from baton.steps.carried import CarriedRounds
    from baton.steps.github import FeedbackItem, OpenRoundInput, ReadFailureInput
    from baton.steps.session import Escalation
    from baton.steps.task import PlannedTask
    from baton.text.markdown import escape_for_github
    from baton.text.truncation import cut_beginning, cut_text
    from workflows.calls.cancellation import raise_if_stopped
    from workflows.calls.workspace_host import StepFailed
    from workflows.decisions.escalation import Skip
    from workflows.github.branch_sync import BranchSync
    from workflows.github.github_context import GitHubContext
    from workflows.github.inbox import Feedback
    from workflows.github.pull_request import PullRequest
    from workflows.stages.publication import Publication
    from workflows.stages.run_steps import Step

AWAITING = "a review, or the merge, of the pull request"
_MAX_ITEMS = 40
_TEXT_ROOM = 40_000
_REVIEWS_FOR_A_CHECK = 3
"""So many times more rounds may be caused by reviews, in all, than by failing checks in a row."""


class FollowUp:
    """Answers reviews, messages and failing checks of a run's pull request, round after round."""

    def __init__(
        self,
        ties: GitHubContext,
        finish: Publication,
        pull: PullRequest,
        upstream: BranchSync,
        renews: Callable[[], bool],
    ) -> None:
        """Take the predicate `renews`: whether the run should continue as new, with no step under way but this wait."""
        self._ties = ties
        self._books = ties.context.books
        self._hearing = ties.hearing
        self._steps = ties.steps
        self._finish = finish
        self._pull = pull
        self._upstream = upstream
        self._renews = renews
        self._left_alone = False
        self._checks_in_row = self._reviews = self._rounds = 0
        self._most_checks = self._most_reviews = 0

    def carry_rounds(self) -> CarriedRounds:
        """Return the rounds so far, for the next execution of the run."""
        return CarriedRounds(
            left_alone=self._left_alone,
            checks_in_row=self._checks_in_row,
            reviews=self._reviews,
            rounds=self._rounds,
            max_checks=self._most_checks,
            max_reviews=self._most_reviews,
        )

    def restore_rounds(self, carried: CarriedRounds) -> None:
        """Take over the rounds of the execution that this one continues."""
        self._left_alone, self._rounds = carried.left_alone, carried.rounds
        self._checks_in_row, self._reviews = carried.checks_in_row, carried.reviews
        self._most_checks, self._most_reviews = carried.max_checks, carried.max_reviews

    async def answer_reviews(self, base_commit: str, limits: RunLimits, quiet_seconds: float) -> None:
        """Wait and answer until cancelled; returns where the run should continue as new."""
        hearing, books = self._hearing, self._books
        if not self._most_checks:
            self._most_checks, self._most_reviews = limits.rounds, limits.rounds * _REVIEWS_FOR_A_CHECK
        while True:
            raise_if_stopped()
            if books.awaiting != AWAITING:
                books.await_outside(AWAITING)
            await workflow.wait_condition(lambda: self._has_work() or self._renews())
            if self._renews():
                return  # what waits to be answered goes along
            try:
                if hearing.asks_for_round:
                    await self._gather_feedback(quiet_seconds)
                    books.awaiting = ""
                    await self._run_round(base_commit)
                elif hearing.pushed:
                    books.awaiting = ""
                    await self._catch_up()
                else:
                    books.awaiting = ""
                    await self._rerun_check(base_commit)
            except Skip as skip:
                hearing.note_event(f"this was left as it is: {escape_for_github(str(skip))}")
            except StepFailed as failure:
                # What was done is in the store, and the pull request is as it was: the person who asked may ask again.
                self._ties.escalations.record_error(
                    "engine", "run", str(failure), "follow up", failure.attempted, "said on the issue"
                )
                hearing.note_event(f"this failed: {escape_for_github(cut_text(str(failure), 500))}")

    def _has_work(self) -> bool:
        return self._hearing.pushed or self._hearing.rerequested or self._hearing.asks_for_round

    async def _gather_feedback(self, quiet_seconds: float) -> None:
        """Wait until the pieces of a review have stopped arriving."""
        hearing, deadline = self._hearing, workflow.now() + MAX_BATCH_WAIT
        while (left := min(timedelta(seconds=quiet_seconds), deadline - workflow.now())) > timedelta(0):
            try:
                await workflow.wait_condition(
                    partial(hearing.has_more_than, hearing.count_received),
                    timeout=left,
                    timeout_summary="more of the review",
                )
            except TimeoutError:
                return

    async def _catch_up(self) -> None:
        self._hearing.pushed = False
        if not self._left_alone:
            try:
                await self._upstream.catch_up()
            except Skip:
                self._left_alone = True
                raise

    async def _rerun_check(self, base_commit: str) -> None:
        """Run our check again, as a person asked on GitHub."""
        self._hearing.rerequested = False
        self._books.enter_phase(RunStatus.PUBLISHING)
        await self._pull.begin_check("The tests run again, as asked")
        evidence = await self._steps.run_or_ask(
            "gate", lambda: self._finish.run_gate(base_commit), said="The check cannot be run again"
        )
        self._hearing.note_event(f"the tests ran again, as asked: exit code {evidence.exit_code}")
        await self._pull.conclude_check(self._books.document.gate)

    async def _run_round(self, base_commit: str) -> None:
        """One round: a task of the engine's own for all that was said, then the branch and the pull request."""
        entries = self._hearing.take_feedback()
        if self._left_alone and entries:
            self._hearing.note_event("not answered, for the branch is left to others")
        if not entries or self._left_alone or not await self._may_answer(entries):
            return
        self._rounds += 1
        causes = join_first_five(list(dict.fromkeys(entry.item.source for entry in entries)))
        self._hearing.note_event(f"round {self._rounds} for {escape_for_github(causes)}")
        await self._pull.begin_check(f"Round {self._rounds} is under way")
        if not await self._answer_feedback(entries):
            self._hearing.note_event(f"round {self._rounds} came to nothing")
            await self._pull.conclude_check(self._books.document.gate)
            return
        try:
            await self._upstream.push_branch(base_commit)
        except Skip:
            self._left_alone = True
            raise
        await self._pull.publish_pull()
        await self._pull.abandon_check("neutral", "Newer commits have taken its place")
        await self._finish.clean_up()

    async def _answer_feedback(self, entries: list[Feedback]) -> bool:
        """Have the work of a round done; False where it was given up."""
        items = [await self._describe_feedback(entry) for entry in entries[:_MAX_ITEMS]]
        if len(entries) > _MAX_ITEMS:
            self._hearing.note_event(
                f"{len(entries) - _MAX_ITEMS} more points were too many for one round; say them again"
            )
        room = _TEXT_ROOM // len(items)
        task_id = self._books.free_task_id("follow-up")
        title = cut_text(f"Answer {join_first_five(list(dict.fromkeys(item.source for item in items)))}", 200)
        opening = OpenRoundInput(
            run=self._ties.context.request.run,
            repo=self._ties.context.request.repo,
            task=task_id,
            title=title,
            role=self._upstream.last_role(),
            items=[item.model_copy(update={"text": cut_beginning(item.text, room)}) for item in items],
        )
        opened = await self._steps.run_step(
            Step(BranchSyncActivities.open_round, opening, f"open {task_id}"),
            operation="open a round",
            said="What was said on the pull request cannot be taken up",
        )
        document = self._books.add_task(task_id, title, opened.role)
        await self._ties.driver.run_task(PlannedTask(id=task_id, title=title, role=opened.role))
        return document.state is TaskState.DONE

    async def _describe_feedback(self, entry: Feedback) -> FeedbackItem:
        """Return the text of a remark; of a failing check with the end of its log."""
        if entry.check is None:
            return entry.item
        failed = ReadFailureInput(repository=self._ties.issue.repository, check=entry.check)
        try:
            log = await self._ties.outward.call_read(
                GitHubReadActivities.read_failure, failed, summary=f"why did {entry.check.name} fail?"
            )
        except (StepFailed, Skip):
            return entry.item
        return entry.item.model_copy(update={"text": log.text or entry.item.text})

    async def _may_answer(self, entries: list[Feedback]) -> bool:
        """Whether a round may begin; once they are used up a person is asked, who may allow as many again."""
        if all(entry.check is not None for entry in entries if entry.asks):
            self._checks_in_row += 1
            if self._checks_in_row <= self._most_checks:
                return True
            question = f"Checks of the pull request still fail after {self._most_checks} rounds in a row."
        else:
            self._checks_in_row = 0
            self._reviews += 1
            if self._reviews <= self._most_reviews:
                return True
            question = f"The pull request has had {self._most_reviews} rounds of review."
        escalation = Escalation(
            error_type="rounds_spent",
            question=f"{question} Go on with as many again (retry), or leave this unanswered (skip)?",
            attempted=[f"{self._rounds} rounds on the pull request"],
            operation="follow up",
        )
        try:
            await self._ties.escalations.ask_person(
                escalation, task_id=None, agent="engine", commit=self._books.document.head_commit or ""
            )
        except Skip as skip:
            self._hearing.note_event(f"not answered: {escape_for_github(str(skip))}")
            return False
        self._checks_in_row = min(self._checks_in_row, 1)
        if self._reviews > self._most_reviews:
            self._most_reviews += self._most_checks * _REVIEWS_FOR_A_CHECK
        return True
