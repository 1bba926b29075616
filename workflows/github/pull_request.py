"""A run's pull request and its check run: opened, brought up to date, and concluded with the evidence."""

from typing import Literal

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.github.checks import CheckActivities
    from activities.github.reads import GitHubReadActivities
    from activities.github.writes import GitHubWriteActivities
    from baton import identifiers
    from baton.github.pull_request_text import PullRequestContent, check_summary, check_title, render_body, render_title
    from baton.records.run import GateDocument
    from baton.steps.carried import CarriedPullRequest
    from baton.steps.github import CheckInput, PullInput, PullState, ReadPullInput
    from baton.text.truncation import cut_text
    from workflows.calls.workspace_host import StepFailed
    from workflows.decisions.escalation import Skip
    from workflows.github.github_context import GitHubContext
    from workflows.github.inbox import GitHubEnding

Conclusion = Literal["success", "failure", "cancelled", "neutral"]


class PullRequest:
    """The pull request of a run's branch."""

    def __init__(self, ties: GitHubContext) -> None:
        self._issue = ties.issue
        self._books = ties.context.books
        self._hearing = ties.hearing
        self._outward = ties.outward
        self._steps = ties.steps
        self._number: int | None = None
        self._running = ""
        """The commit whose check run is not concluded."""
        self.base = ""
        """Name of the branch to merge into; empty: the default branch."""
        self.summary = ""
        """The orchestrator's, of the plan."""
        self.link = ""

    def carry_pull(self) -> CarriedPullRequest:
        """Return the state of the pull request, for the next execution of the run."""
        return CarriedPullRequest(number=self._number, running=self._running, base=self.base, summary=self.summary)

    def restore_pull(self, carried: CarriedPullRequest, link: str) -> None:
        """Take over the pull request of the execution that this one continues."""
        self._number, self._running = carried.number, carried.running
        self.base, self.summary, self.link = carried.base, carried.summary, link

    async def publish_pull(self) -> bool:
        """Open the pull request or bring it up to date, with the check on its head; False where a person said no."""
        try:
            pull = await self._steps.run_or_ask(
                "pull request",
                self._write_pull,
                said="The branch is published, but GitHub does not take the pull request",
            )
        except Skip as skip:
            self._books.add_notes(f"There is no pull request ({skip}); the branch is published.")
            return False
        self._take_state(pull)
        await self.conclude_check(self._books.document.gate)
        return True

    async def conclude_check(self, gate: GateDocument | None) -> None:
        """Conclude the check run on the published head with the gate's result."""
        green = gate is None or gate.command is None or gate.exit_code == 0
        conclusion: Conclusion = (
            "neutral" if gate is None or gate.command is None else "success" if green else "failure"
        )
        title = check_title(gate)
        await self._write_check(self._hearing.published, conclusion, title, check_summary(self._books.document))
        if self._running == self._hearing.published:
            self._running = ""

    async def begin_check(self, what: str) -> None:
        """Let the check run on the published head say that work goes on."""
        self._running = self._hearing.published
        await self._write_check(self._running, None, what, check_summary(self._books.document))

    async def abandon_check(self, conclusion: Conclusion, why: str) -> None:
        """Conclude the check run of a commit that work went on from, where that has led elsewhere or nowhere."""
        commit, self._running = self._running, ""
        if commit:
            await self._write_check(commit, conclusion, why, why)

    async def settle_check(self, *, done: bool) -> None:
        """Conclude a check run that work was going on from when the run ended."""
        gate = self._books.document.gate
        if done and gate is not None and gate.commit == self._running:
            await self.conclude_check(gate)
        else:
            await self.abandon_check("neutral" if done else "cancelled", "The run has ended before this was done")

    async def read_state(self) -> None:
        """See whether it was merged or closed: GitHub closes the issue when it merges."""
        if self._number is None:
            return
        wanted = ReadPullInput(repository=self._issue.repository, number=self._number)
        self._take_state(
            await self._outward.call_read(
                GitHubReadActivities.read_pull, wanted, summary=f"pull request {self._number}"
            )
        )

    async def _write_pull(self) -> PullState:
        document = self._books.document
        change = PullRequestContent(document=document, issue=self._issue, summary=self.summary, link=self.link)
        return await self._outward.call_write(
            GitHubWriteActivities.write_pull,
            PullInput(
                repository=self._issue.repository,
                branch=self._issue.branch,
                base=self.base,
                title=render_title(self._issue),
                body=render_body(change),
                number=self._number,
            ),
            summary=f"pull request of {self._issue.branch}",
        )

    def _take_state(self, pull: PullState) -> None:
        first = self._number is None
        self._number = pull.number
        if self._books.set_pull_request(pull.url):
            workflow.upsert_memo({"pull_request": pull.url})
        if first:
            self._hearing.note_event(f"opened as #{pull.number}{', a draft' if pull.draft else ''}")
        if pull.merged:
            self._hearing.over = self._hearing.over or GitHubEnding("merged", "The pull request was merged.")
        elif pull.state == "closed":
            reason = "The pull request was closed without being merged; nothing is pushed any more."
            self._hearing.over = self._hearing.over or GitHubEnding("closed", reason)

    async def _write_check(self, commit: str, conclusion: Conclusion | None, title: str, summary: str) -> None:
        """Write the check run. It adds to the pull request; a run does not fail for want of it."""
        check = CheckInput(
            repository=self._issue.repository,
            commit=commit,
            run=identifiers.run_key(self._books.document.run),
            status="completed" if conclusion else "in_progress",
            conclusion=conclusion,
            title=title[:200],
            summary=summary,
            link=self.link,
        )
        try:
            await self._outward.call_write(CheckActivities.write_check, check, summary=f"check: {title}")
        except Skip:
            return
        except StepFailed as failure:
            self._books.add_notes(cut_text(f"The check run could not be written: {failure}", 500))
