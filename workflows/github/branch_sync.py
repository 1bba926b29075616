"""The run's branch on GitHub: what others pushed is taken in before anything is pushed, and nothing is overwritten."""

from functools import partial

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.github.branch_sync import UpstreamActivities
    from baton.errors import BranchMoved
    from baton.policies import GIT_TIMEOUT
    from baton.records.run import RunStatus, TaskDocument, TaskState
    from baton.steps.github import ResetInput, TakeInInput, TakenIn
    from baton.steps.publish import Published
    from baton.steps.session import Escalation
    from baton.steps.task import PlannedTask
    from baton.text.markdown import code
    from workflows.calls.workspace_host import StepFailed
    from workflows.github.run_context import Ties
    from workflows.stages.publication import Finish, LeaveOut

_TAKE_THEIRS = "take theirs"
_MOST_RACES = 20
_STUCK = "The pull request is open, but the run cannot go on"


class Upstream:
    """Keeps the published branch and the integrated line of a run together."""

    def __init__(self, ties: Ties, finish: Finish) -> None:
        self._ties = ties
        self._books = ties.books
        self._hearing = ties.hearing
        self._branch = ties.issue.branch
        self._insist = ties.insistence.insist
        self._finish = finish

    def last_role(self) -> str:
        """The maker of the last finished task."""
        return next(task.role for task in reversed(self._books.document.tasks) if task.state is TaskState.DONE)

    async def catch_up(self) -> None:
        """Take in what others pushed. Raises Skip where they rewrote the branch and a person leaves it to them."""
        while True:
            self._hearing.pushed = False
            task = self._books.free_task_id("merge")
            taken = await self._insist("commits of others", partial(self._take_in, task), said=_STUCK)
            if taken.relation == "same":
                return
            if taken.relation == "ahead":
                await self._taken(taken, task)
                return
            await self._rewritten(taken)

    async def push(self, base_commit: str) -> None:
        """Test what is integrated and publish it, with whatever others push meanwhile. Raises Skip or Abort."""
        for _ in range(_MOST_RACES):
            await self.catch_up()
            self._books.set_status(RunStatus.PUBLISHING)
            evidence = await self._insist("gate", lambda: self._finish.prove(base_commit), said=_STUCK)
            if evidence.commit == self._hearing.published:
                return
            try:
                if await self._insist("publish", partial(self._push, evidence.commit), said=_STUCK):
                    self._hearing.published = evidence.commit
                    return
            except LeaveOut as wish:
                left = await self._finish.leave_out(wish)
                self._hearing.note(f"left out {left.count} file{'s' if left.count > 1 else ''} behind a git filter")
        raise StepFailed(f"Others kept pushing to {self._branch} at the same moment.", BranchMoved.__name__)

    async def _push(self, commit: str) -> Published | None:
        """None where somebody was faster: then theirs is taken in first."""
        try:
            return await self._finish.push(commit, expected=self._hearing.published)
        except StepFailed as failure:
            if failure.kind == BranchMoved.__name__:
                return None
            raise

    async def _take_in(self, task: str) -> TakenIn:
        taking = TakeInInput(
            run=self._ties.request.run,
            repo=self._ties.request.repo,
            branch=self._branch,
            published=self._hearing.published,
            task=task,
            role=self.last_role(),
        )
        return await self._ties.outward.patiently(
            lambda: self._ties.host.attempt(
                UpstreamActivities.take_in, taking, timeout=GIT_TIMEOUT, summary=f"look at {self._branch}"
            )
        )

    async def _taken(self, taken: TakenIn, task_id: str) -> None:
        self._hearing.published = self._books.document.head_commit = taken.head
        several = "s" if taken.commits > 1 else ""
        self._hearing.note(f"took in {taken.commits} commit{several} of others, up to {code(taken.head[:12])}")
        if not taken.conflicts:
            return
        title = "Bring our work and what others pushed together"
        document = TaskDocument(id=task_id, title=title, role=taken.role)
        self._books.document.tasks.append(document)
        await self._ties.driver.drive(PlannedTask(id=task_id, title=title, role=taken.role))
        if document.state is not TaskState.DONE:
            self._hearing.note("our last work is left out: it conflicts with what others pushed")

    async def _rewritten(self, taken: TakenIn) -> None:
        """Others have rewritten or removed the branch: whose word counts, a person says. Nothing is forced."""
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
        decision = await self._ties.escalations.ask(
            escalation, task_id=None, agent="engine", commit=self._hearing.published
        )
        if decision.choice == _TAKE_THEIRS:
            reset = ResetInput(run=self._ties.request.run, repo=self._ties.request.repo, branch=branch)
            theirs = await self._insist(
                "take theirs",
                lambda: self._ties.outward.patiently(
                    lambda: self._ties.host.attempt(
                        UpstreamActivities.take_theirs, reset, timeout=GIT_TIMEOUT, summary=f"take {branch} as it is"
                    )
                ),
                said=_STUCK,
            )
            if theirs.head:
                self._hearing.published = self._books.document.head_commit = theirs.head
                self._hearing.note(f"goes on from what others made of it, {code(theirs.head[:12])}")
