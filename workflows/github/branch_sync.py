"""The run's branch on GitHub: commits of others are merged before a push, and none is overwritten."""

from functools import partial

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.github.branch_sync import BranchSyncActivities
    from baton.errors import BranchMoved
    from baton.records.run import RunStatus, TaskState
    from baton.steps.github import BranchSynced, SyncBranchInput, TakeBranchInput
    from baton.steps.publish import Published
    from baton.steps.session import Escalation
    from baton.steps.task import PlannedTask
    from baton.text.markdown import inline_code
    from workflows.calls.workspace_host import StepFailed
    from workflows.github.github_context import GitHubContext
    from workflows.stages.publication import LeaveOutRequested, Publication
    from workflows.stages.run_steps import Step

_TAKE_THEIRS = "take theirs"
_MAX_RACES = 20
_STUCK = "The pull request is open, but the run cannot go on"


class BranchSync:
    """Keeps the published branch and the integrated line of a run together."""

    def __init__(self, ties: GitHubContext, finish: Publication) -> None:
        self._ties = ties
        self._books = ties.context.books
        self._hearing = ties.hearing
        self._branch = ties.issue.branch
        self._steps = ties.steps
        self._finish = finish

    def last_role(self) -> str:
        """The maker of the last finished task."""
        return next(task.role for task in reversed(self._books.document.tasks) if task.state is TaskState.DONE)

    async def catch_up(self) -> None:
        """Merge the commits that others pushed. Raises Skip if a person leaves a rewritten branch to them."""
        while True:
            self._hearing.pushed = False
            task = self._books.free_task_id("merge")
            taken = await self._take_in(task)
            if taken.relation == "same":
                return
            if taken.relation == "ahead":
                await self._merge_taken(taken, task)
                return
            await self._ask_about_rewrite(taken)

    async def push_branch(self, base_commit: str) -> None:
        """Test and publish the integrated commit, with the commits that others push meanwhile; raises Skip or Abort."""
        for _ in range(_MAX_RACES):
            await self.catch_up()
            self._books.enter_phase(RunStatus.PUBLISHING)
            evidence = await self._steps.run_or_ask(
                "gate", lambda: self._finish.require_green(base_commit), said=_STUCK
            )
            if evidence.commit == self._hearing.published:
                return
            try:
                if await self._steps.run_or_ask("publish", partial(self._push_commit, evidence.commit), said=_STUCK):
                    self._hearing.published = evidence.commit
                    return
            except LeaveOutRequested as wish:
                left = await self._finish.leave_out(wish)
                self._hearing.note_event(
                    f"left out {left.count} file{'s' if left.count > 1 else ''} behind a git filter"
                )
        raise StepFailed(f"Others kept pushing to {self._branch} at the same moment.", BranchMoved.__name__)

    async def _push_commit(self, commit: str) -> Published | None:
        """Push a commit; returns None if the branch has moved, so that its new commits are merged first."""
        try:
            return await self._finish.push_branch(commit, expected=self._hearing.published)
        except StepFailed as failure:
            if failure.kind == BranchMoved.__name__:
                return None
            raise

    async def _take_in(self, task: str) -> BranchSynced:
        taking = SyncBranchInput(
            run=self._ties.context.request.run,
            repo=self._ties.context.request.repo,
            branch=self._branch,
            published=self._hearing.published,
            task=task,
            role=self.last_role(),
        )
        return await self._steps.run_step(
            Step(BranchSyncActivities.take_in, taking, f"look at {self._branch}"),
            operation="commits of others",
            said=_STUCK,
            needs_github=True,
        )

    async def _merge_taken(self, taken: BranchSynced, task_id: str) -> None:
        self._hearing.published = taken.head
        self._books.set_head(taken.head)
        several = "s" if taken.commits > 1 else ""
        self._hearing.note_event(
            f"took in {taken.commits} commit{several} of others, up to {inline_code(taken.head[:12])}"
        )
        if not taken.conflicts:
            return
        title = "Bring our work and what others pushed together"
        document = self._books.add_task(task_id, title, taken.role)
        await self._ties.driver.run_task(PlannedTask(id=task_id, title=title, role=taken.role))
        if document.state is not TaskState.DONE:
            self._hearing.note_event("our last work is left out: it conflicts with what others pushed")

    async def _ask_about_rewrite(self, taken: BranchSynced) -> None:
        """Ask a person about a branch that others have rewritten or removed. Nothing is forced."""
        branch, known = self._branch, self._hearing.published[:12]
        if taken.relation == "gone":
            question = (
                f"The branch {branch} was deleted. Restore it and choose retry, or give up what was to be pushed."
            )
        else:
            question = (
                f"The branch {branch} was rewritten by somebody: it is at {taken.head[:12]} and does not contain"
                f" {known} any more. Go on from theirs ({_TAKE_THEIRS}), or leave the branch alone from now on (skip)?"
            )
        escalation = Escalation(
            error_type="branch_rewritten",
            question=question,
            choices=[] if taken.relation == "gone" else [_TAKE_THEIRS],
            attempted=["looked whether our commits are still there"],
            operation="push",
        )
        decision = await self._ties.escalations.ask_person(
            escalation, task_id=None, agent="engine", commit=self._hearing.published
        )
        if decision.choice == _TAKE_THEIRS:
            reset = TakeBranchInput(
                run=self._ties.context.request.run, repo=self._ties.context.request.repo, branch=branch
            )
            theirs = await self._steps.run_step(
                Step(BranchSyncActivities.take_theirs, reset, f"take {branch} as it is"),
                operation="take theirs",
                said=_STUCK,
                needs_github=True,
            )
            if theirs.head:
                self._hearing.published = theirs.head
                self._books.set_head(theirs.head)
                self._hearing.note_event(f"goes on from what others made of it, {inline_code(theirs.head[:12])}")
