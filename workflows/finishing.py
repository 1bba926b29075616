"""The end of a run: the gate on the integrated commit, a repair where the parts only fail together, the branch."""

from collections.abc import Awaitable, Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.gate import GateActivities
    from activities.integration import IntegrationActivities
    from activities.publishing import PublishingActivities
    from baton import naming
    from baton.contracts import Evidence, GateDocument, RunRequest, TaskDocument, TaskState
    from baton.policies import GIT_TIMEOUT, TURN_TIMEOUT
    from baton.publishing import CleanUpInput, Published, PublishInput
    from baton.steps import GateInput, PlannedTask, RepairInput
    from workflows.books import Books
    from workflows.caps import CapKeeper
    from workflows.escalation import Skip
    from workflows.insisting import Insistence
    from workflows.steps import Host, StepFailed

Patience = Callable[[Callable[[], Awaitable[Published]]], Awaitable[Published]]

_REPAIR = "merge-repair"


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
    ) -> None:
        """`patience` is for steps that need GitHub: it waits while that is away."""
        self._request = request
        self._books = books
        self._host = host
        self._drive = drive
        self._caps = caps
        self._insist = insistence.insist
        self._patience = patience

    async def run(self, base_commit: str) -> None:
        """Gate, repair where needed, publish. Raises StepFailed where the merged result stays red."""
        evidence = await self.prove(base_commit)
        if self._request.publish:
            await self._publish(evidence.commit)
        else:
            self._books.document.notes.append("The branch was not published, as asked; the commit is in the store.")
        await self.clean_up()

    async def prove(self, base_commit: str) -> Evidence:
        """Green evidence for the integrated commit, after a repair where that is needed; raises StepFailed."""
        evidence = await self.gate(base_commit)
        if not evidence.green:
            await self._repair(evidence)
            evidence = await self.gate(base_commit)
            if not evidence.green:
                raise StepFailed("The merged tasks still fail their tests after a repair.", "GateRed", retried=False)
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
                lambda: self._host.step(
                    GateActivities.run_gate, gate, timeout=TURN_TIMEOUT, summary="gate on the merged result"
                ),
            ),
        )
        self._books.document.gate = GateDocument.of(result.evidence)
        self._books.remnants.keep(result.kept)
        self._books.changed(save=True)
        return result.evidence

    async def _repair(self, evidence: Evidence) -> None:
        """Each task passed on its own, the merged result does not: one more task mends what does not fit together."""
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
        if document.state is not TaskState.DONE:
            raise StepFailed("The merged tasks fail their tests together.", "GateRed", retried=False)

    async def _publish(self, commit: str) -> None:
        try:
            published = await self._insist("publish", lambda: self.push(commit, expected=None))
        except Skip as skip:
            self._books.document.notes.append(f"The branch was not published ({skip}); the commit is in the store.")
            return
        self._books.document.branch = published.branch

    async def push(self, commit: str, *, expected: str | None) -> Published:
        """Let the run's branch be at a commit, if it is where we expect it. Raises StepFailed."""
        issue = self._request.github
        branch = issue.branch if issue else ""
        publishing = PublishInput(
            run=self._request.run, repo=self._request.repo, commit=commit, branch=branch, expected=expected
        )

        def step() -> Awaitable[Published]:
            return self._host.step(
                PublishingActivities.publish_run,
                publishing,
                timeout=GIT_TIMEOUT,
                summary=f"publish {branch or naming.branch(self._request.run)}",
            )

        return await self._patience(step)

    async def clean_up(self) -> None:
        """Remove the run's workspaces. What they held is in the store; a directory left behind costs only room."""
        try:
            await self._host.step(
                PublishingActivities.clean_up,
                CleanUpInput(run=self._request.run, repo=self._request.repo),
                timeout=GIT_TIMEOUT,
                summary="remove the workspaces",
            )
        except StepFailed as failure:
            workflow.logger.warning("the workspaces were not removed: %s", failure)
