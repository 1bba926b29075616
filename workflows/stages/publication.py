"""The end of a run: the gate on the integrated commit, a repair where the parts only fail together, the branch."""

from functools import partial

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.run.publish import PublishActivities
    from activities.task.gate import GateActivities
    from activities.task.integrate import IntegrationActivities
    from baton import identifiers
    from baton.decision_book import PUBLISH
    from baton.errors import ContentsMissing, FilteredPaths
    from baton.policies import TURN_TIMEOUT
    from baton.records.run import Decision, Evidence, TaskState
    from baton.steps.publish import CleanUpInput, LeaveOutInput, Published, PublishInput, ReducedCommit
    from baton.steps.session import Escalation
    from baton.steps.task import GateInput, PlannedTask, RepairInput
    from workflows.calls.workspace_host import StepFailed
    from workflows.decisions.ask_on_failure import FailureQuestions
    from workflows.decisions.escalation import Escalations, Skip
    from workflows.stages.run_steps import RunSteps, Step
    from workflows.stages.task_scheduler import TaskScheduler
    from workflows.state.run_context import RunContext

_REPAIR = "merge-repair"
_TASKS_DONE = "All tasks are done, but the run cannot go on"
_PLAIN, _POINTERS = FilteredPaths.__name__, ContentsMissing.__name__


class LeaveOutRequested(Exception):
    """A person wants a commit published without the changes to files behind filters."""

    def __init__(self, commit: str, expected: str | None, *, pointers: bool, said: str) -> None:
        super().__init__(said)
        self.commit = commit
        self.expected = expected
        self.pointers = pointers


class Publication:
    """Takes the integrated commit of a run to the target repository."""

    def __init__(
        self,
        context: RunContext,
        escalations: Escalations,
        insistence: FailureQuestions,
        scheduler: TaskScheduler,
        steps: RunSteps,
    ) -> None:
        self._request = context.request
        self._books = context.books
        self._drive = scheduler.run_task
        self._escalations = escalations
        self._insistence = insistence
        self._steps = steps
        self._filtered: list[str] = []
        """Files of the integrated commit that are behind a git filter."""

    async def publish_run(self, base_commit: str) -> None:
        """Gate, repair where needed, publish. Raises Skip where the merged result stays red and is given up."""
        evidence = await self.require_green(base_commit)
        if self._request.publish:
            await self._publish_branch(base_commit, evidence.commit)
        else:
            self._books.add_notes("The branch was not published, as asked; the commit is in the store.")
            if self._filtered:
                self._books.add_notes(
                    "The commit has files that a git filter would have changed, and none ran; those of Git LFS are"
                    f" pointers: {', '.join(self._filtered)}."
                )
        await self.clean_up()

    async def require_green(self, base_commit: str) -> Evidence:
        """Return green evidence for the integrated commit, after a repair if needed; a red one is asked about."""
        evidence = await self.run_gate(base_commit)
        while not evidence.is_green:
            if await self._run_repair(evidence):
                said = "The merged tasks still fail their tests after a repair."
                evidence = await self.run_gate(base_commit)
            else:
                said = "The merged tasks fail their tests together."
            if not evidence.is_green:
                await self._insistence.ask_about_failure("repair", StepFailed(said, "GateRed", retried=False))
        self._books.set_head(evidence.commit)
        return evidence

    async def run_gate(self, base_commit: str) -> Evidence:
        """Return the evidence of the engine's own test run on the integrated commit."""
        gate = GateInput(run=self._request.run, repo=self._request.repo, task="gate", base=base_commit)
        gate.left_out = self._books.remnants.named_paths
        result = await self._steps.run_step(
            Step(GateActivities.run_gate, gate, "gate on the merged result", TURN_TIMEOUT),
            operation="gate",
            said=_TASKS_DONE,
            interruptible=True,
        )
        self._books.set_gate(result.evidence)
        self._filtered = result.filtered
        self._books.remnants.keep_paths(result.kept)
        self._books.mark_changed(save=True)
        return result.evidence

    async def _run_repair(self, evidence: Evidence) -> bool:
        """Run one more task that makes the merged tasks pass their tests together.

        False where that task was given up.
        """
        role = next(task.role for task in reversed(self._books.document.tasks) if task.state is TaskState.DONE)
        repair = PlannedTask(
            id=self._books.free_task_id(_REPAIR), title="Make the merged tasks pass their tests together", role=role
        )
        opening = RepairInput(
            run=self._request.run,
            repo=self._request.repo,
            task=repair.id,
            role=role,
            title=repair.title,
            evidence=evidence,
        )
        await self._steps.run_step(Step(IntegrationActivities.open_repair, opening, "open a repair task"))
        document = self._books.add_task(repair.id, repair.title, role)
        await self._drive(repair)
        return document.state is TaskState.DONE

    async def _publish_branch(self, base_commit: str, commit: str) -> None:
        try:
            while True:
                try:
                    published = await self._steps.run_or_ask(
                        "publish", partial(self.push_branch, commit, expected=None), said=_TASKS_DONE
                    )
                    break
                except LeaveOutRequested as wish:
                    left = await self.leave_out(wish)
                    if left.empty:
                        self._books.add_notes("The branch was not published: without those files there is no change.")
                        return
                    said = "The files that were left out are missed"
                    commit = await self._steps.run_or_ask("gate", partial(self._require_green, base_commit), said=said)
        except Skip as skip:
            self._books.add_notes(f"The branch was not published ({skip}); the commit is in the store.")
            return
        self._books.set_branch(published.branch)

    async def _require_green(self, base_commit: str) -> str:
        """The integrated commit with green evidence. Raises StepFailed: a repair would put back what was left out."""
        evidence = await self.run_gate(base_commit)
        if not evidence.is_green:
            raise StepFailed(
                "Without them the tests fail; skip leaves the branch unpublished.", "GateRed", retried=False
            )
        return evidence.commit

    async def push_branch(self, commit: str, *, expected: str | None) -> Published:
        """Let the run's branch be at a commit, if it is where we expect it.

        Files behind filters are asked about, for this very commit. Raises StepFailed, Abort, and LeaveOut where that is
        the answer.
        """
        issue = self._request.github
        branch = issue.branch if issue else ""
        publishing = PublishInput(
            run=self._request.run, repo=self._request.repo, commit=commit, branch=branch, expected=expected
        )

        summary = f"publish {branch or identifiers.branch_name(self._request.run)}"
        while True:
            step = Step(PublishActivities.publish_run, publishing, summary)
            try:
                published = await self._steps.run_step(step, on_failure="raise", needs_github=True)
            except StepFailed as failure:
                if failure.kind not in (_PLAIN, _POINTERS) or not workflow.patched("ask-about-filters"):
                    raise
                decision = await self._ask_about_filters(failure, publishing)
                if decision.choice == PUBLISH:
                    allowed = "as_it_is" if failure.kind == _PLAIN else "without_contents"
                    publishing = publishing.model_copy(update={allowed: commit})
            else:
                self._books.add_notes(*published.notes)
                return published

    async def _ask_about_filters(self, failure: StepFailed, publishing: PublishInput) -> Decision:
        """Ask a person about files behind filters; raises LeaveOut if the branch goes without them."""
        escalation = Escalation(
            error_type="filtered_paths" if failure.kind == _PLAIN else "contents_missing",
            question=str(failure)[:2_000],
            choices=[PUBLISH],
            error=str(failure)[:2_000],
            attempted=["looked at what the branch would show"],
            operation="publish",
        )
        status = self._books.pause_phase()
        try:
            return await self._escalations.ask_person(
                escalation, task_id=None, agent="engine", commit=publishing.commit
            )
        except Skip as skip:
            raise LeaveOutRequested(
                publishing.commit, publishing.expected, pointers=failure.kind == _POINTERS, said=str(skip)
            ) from skip
        finally:
            self._books.resume_phase(status)

    async def leave_out(self, wish: LeaveOutRequested) -> ReducedCommit:
        """Let the integrated line go without the changes to files behind filters, and say so."""
        leaving = LeaveOutInput(
            run=self._request.run,
            repo=self._request.repo,
            commit=wish.commit,
            expected=wish.expected,
            pointers=wish.pointers,
        )
        left = await self._steps.run_step(Step(PublishActivities.leave_out, leaving, "leave out files behind filters"))
        more = f", and {left.count - len(left.paths):,} more" if left.count > len(left.paths) else ""
        named = ", ".join(f"`{path}`" for path in left.paths) + more
        self._books.add_notes(
            f"Left out of the branch ({wish}), for it is behind a git filter: what the run changed in {named}. There"
            f" the branch is as it was; commit {wish.commit[:12]} in the store has the changes."
        )
        self._books.rewrite_commits(left)
        return left

    async def clean_up(self) -> None:
        """Remove the run's workspaces. What they held is in the store; a directory left behind costs only room."""
        try:
            cleaning = CleanUpInput(run=self._request.run, repo=self._request.repo)
            await self._steps.run_step(
                Step(PublishActivities.clean_up, cleaning, "remove the workspaces"), on_failure="raise"
            )
        except StepFailed as failure:
            workflow.logger.warning("the workspaces were not removed: %s", failure)
