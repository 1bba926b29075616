"""The end of a run: the gate on the integrated commit, a repair where the parts only fail together, the branch."""

from collections.abc import Awaitable, Callable
from functools import partial

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.run.publish import PublishingActivities
    from activities.task.gate import GateActivities
    from activities.task.integrate import IntegrationActivities
    from baton import naming
    from baton.decision_book import PUBLISH
    from baton.errors import ContentsMissing, FilteredPaths
    from baton.policies import GIT_TIMEOUT, TURN_TIMEOUT
    from baton.records.run import Decision, Evidence, GateDocument, RunRequest, RunStatus, TaskDocument, TaskState
    from baton.steps.publish import CleanUpInput, LeaveOutInput, Published, PublishInput, Reduced
    from baton.steps.session import Escalation
    from baton.steps.task import GateInput, PlannedTask, RepairInput
    from workflows.budget.cap_decisions import CapKeeper
    from workflows.calls.workspace_host import Host, StepFailed
    from workflows.decisions.ask_on_failure import Insistence
    from workflows.decisions.escalation import Escalations, Skip
    from workflows.state.run_state import Books

Patience = Callable[[Callable[[], Awaitable[Published]]], Awaitable[Published]]

_REPAIR = "merge-repair"
_PLAIN, _POINTERS = FilteredPaths.__name__, ContentsMissing.__name__


class LeaveOut(Exception):
    """A person wants a commit published without the changes to files behind filters."""

    def __init__(self, commit: str, expected: str | None, *, pointers: bool, said: str) -> None:
        super().__init__(said)
        self.commit = commit
        self.expected = expected
        self.pointers = pointers


class Finish:
    """Takes the integrated commit of a run to the target repository."""

    def __init__(
        self,
        request: RunRequest,
        books: Books,
        host: Host,
        drive: Callable[[PlannedTask], Awaitable[None]],
        caps: CapKeeper,
        insistence: Insistence,
        patience: Patience,
        escalations: Escalations,
    ) -> None:
        """`patience` is for steps that need GitHub: it waits while that is away."""
        self._request = request
        self._books = books
        self._host = host
        self._drive = drive
        self._caps = caps
        self._insistence = insistence
        self._insist = insistence.insist
        self._patience = patience
        self._escalations = escalations
        self._filtered: list[str] = []
        """Files of the integrated commit that are behind a git filter."""

    async def run(self, base_commit: str) -> None:
        """Gate, repair where needed, publish. Raises Skip where the merged result stays red and is given up."""
        evidence = await self.prove(base_commit)
        if self._request.publish:
            await self._publish(base_commit, evidence.commit)
        else:
            self._books.document.notes.append("The branch was not published, as asked; the commit is in the store.")
            if self._filtered:
                self._books.document.notes.append(
                    "The commit has files that a git filter would have changed, and none ran; those of Git LFS are"
                    f" pointers: {', '.join(self._filtered)}."
                )
        await self.clean_up()

    async def prove(self, base_commit: str) -> Evidence:
        """Green evidence for the integrated commit, after a repair where that is needed; what stays red is asked."""
        evidence = await self.gate(base_commit)
        while not evidence.green:
            if await self._repair(evidence):
                said = "The merged tasks still fail their tests after a repair."
                evidence = await self.gate(base_commit)
            else:
                said = "The merged tasks fail their tests together."
            if not evidence.green:
                await self._insistence.ask("repair", StepFailed(said, "GateRed", retried=False))
        self._books.document.head_commit = evidence.commit
        return evidence

    async def gate(self, base_commit: str) -> Evidence:
        """What the engine's own test run says of the integrated commit."""
        gate = GateInput(run=self._request.run, repo=self._request.repo, task="gate", base=base_commit)
        gate.left_out = self._books.remnants.paths
        result = await self._insist(
            "gate",
            lambda: self._caps.within_clock(
                "gate",
                lambda: self._host.attempt(
                    GateActivities.run_gate, gate, timeout=TURN_TIMEOUT, summary="gate on the merged result"
                ),
            ),
        )
        self._books.document.gate = GateDocument.of(result.evidence)
        self._filtered = result.filtered
        self._books.remnants.keep(result.kept)
        self._books.changed(save=True)
        return result.evidence

    async def _repair(self, evidence: Evidence) -> bool:
        """Each task passed on its own, the merged result does not: one more task mends what does not fit together.

        False where that task was given up.
        """
        role = next(task.role for task in reversed(self._books.document.tasks) if task.state is TaskState.DONE)
        repair = PlannedTask(
            id=self._books.free_task_id(_REPAIR), title="Make the merged tasks pass their tests together", role=role
        )
        await self._host.step(
            IntegrationActivities.open_repair,
            RepairInput(
                run=self._request.run,
                repo=self._request.repo,
                task=repair.id,
                role=role,
                title=repair.title,
                evidence=evidence,
            ),
            timeout=GIT_TIMEOUT,
            summary="open a repair task",
        )
        document = TaskDocument(id=repair.id, title=repair.title, role=role)
        self._books.document.tasks.append(document)
        await self._drive(repair)
        return document.state is TaskState.DONE

    async def _publish(self, base_commit: str, commit: str) -> None:
        notes = self._books.document.notes
        try:
            while True:
                try:
                    published = await self._insist("publish", partial(self.push, commit, expected=None))
                    break
                except LeaveOut as wish:
                    left = await self.leave_out(wish)
                    if left.empty:
                        notes.append("The branch was not published: without those files there is no change.")
                        return
                    said = "The files that were left out are missed"
                    commit = await self._insist("gate", partial(self._green, base_commit), said=said)
        except Skip as skip:
            notes.append(f"The branch was not published ({skip}); the commit is in the store.")
            return
        self._books.document.branch = published.branch

    async def _green(self, base_commit: str) -> str:
        """The integrated commit with green evidence. Raises StepFailed: a repair would put back what was left out."""
        evidence = await self.gate(base_commit)
        if not evidence.green:
            raise StepFailed(
                "Without them the tests fail; skip leaves the branch unpublished.", "GateRed", retried=False
            )
        return evidence.commit

    async def push(self, commit: str, *, expected: str | None) -> Published:
        """Let the run's branch be at a commit, if it is where we expect it.

        Files behind filters are asked about, for this very commit. Raises StepFailed, Abort, and LeaveOut where that is
        the answer.
        """
        issue = self._request.github
        branch = issue.branch if issue else ""
        publishing = PublishInput(
            run=self._request.run, repo=self._request.repo, commit=commit, branch=branch, expected=expected
        )

        def step() -> Awaitable[Published]:
            return self._host.attempt(
                PublishingActivities.publish_run,
                publishing,
                timeout=GIT_TIMEOUT,
                summary=f"publish {branch or naming.branch(self._request.run)}",
            )

        while True:
            try:
                published = await self._patience(step)
            except StepFailed as failure:
                if failure.kind not in (_PLAIN, _POINTERS) or not workflow.patched("ask-about-filters"):
                    raise
                decision = await self._ask(failure, publishing)
                if decision.choice == PUBLISH:
                    allowed = "as_it_is" if failure.kind == _PLAIN else "without_contents"
                    publishing = publishing.model_copy(update={allowed: commit})
            else:
                self._books.document.notes += [
                    note for note in published.notes if note not in self._books.document.notes
                ]
                return published

    async def _ask(self, failure: StepFailed, publishing: PublishInput) -> Decision:
        """Have a person say what becomes of files behind filters; raises LeaveOut where the branch goes without."""
        document = self._books.document
        status = document.status
        escalation = Escalation(
            error_type="filtered_paths" if failure.kind == _PLAIN else "contents_missing",
            question=str(failure)[:2_000],
            choices=[PUBLISH],
            error=str(failure)[:2_000],
            attempted=["looked at what the branch would show"],
            operation="publish",
        )
        document.status = RunStatus.WORKING  # nothing else goes on meanwhile, so this shows as waiting
        try:
            return await self._escalations.ask(escalation, task_id=None, agent="engine", commit=publishing.commit)
        except Skip as skip:
            raise LeaveOut(
                publishing.commit, publishing.expected, pointers=failure.kind == _POINTERS, said=str(skip)
            ) from skip
        finally:
            document.status = status
            self._books.changed(save=True)

    async def leave_out(self, wish: LeaveOut) -> Reduced:
        """Let the integrated line go without the changes to files behind filters, and say so."""
        leaving = LeaveOutInput(
            run=self._request.run,
            repo=self._request.repo,
            commit=wish.commit,
            expected=wish.expected,
            pointers=wish.pointers,
        )
        left = await self._insist(
            "leave files out",
            lambda: self._host.step(
                PublishingActivities.leave_out, leaving, timeout=GIT_TIMEOUT, summary="leave out files behind filters"
            ),
        )
        more = f", and {left.count - len(left.paths):,} more" if left.count > len(left.paths) else ""
        named = ", ".join(f"`{path}`" for path in left.paths) + more
        self._books.document.notes.append(
            f"Left out of the branch ({wish}), for it is behind a git filter: what the run changed in {named}. There"
            f" the branch is as it was; commit {wish.commit[:12]} in the store has the changes."
        )
        self._books.document.head_commit = left.commit
        for task in self._books.document.tasks:
            task.commit = left.renamed.get(task.commit or "", task.commit)
        self._books.changed(save=True)
        return left

    async def clean_up(self) -> None:
        """Remove the run's workspaces. What they held is in the store; a directory left behind costs only room."""
        try:
            await self._host.attempt(
                PublishingActivities.clean_up,
                CleanUpInput(run=self._request.run, repo=self._request.repo),
                timeout=GIT_TIMEOUT,
                summary="remove the workspaces",
            )
        except StepFailed as failure:
            workflow.logger.warning("the workspaces were not removed: %s", failure)
