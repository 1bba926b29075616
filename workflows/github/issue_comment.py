"""The one comment of a run on its issue: edited one at a time, at once for questions and ends."""

import asyncio
import contextlib

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.github.writes import GitHubWriteActivities
    from baton import identifiers
    from baton.github.comment_text import CommentContent, render_comment
    from baton.policies import MAX_LAST_REPORT_WAIT
    from baton.records.run import RunDocument, RunStatus
    from baton.replayed_figures import REPORT_INTERVAL
    from baton.steps.carried import CarriedComment
    from baton.steps.github import CommentInput
    from baton.text.truncation import cut_text
    from workflows.calls.workspace_host import StepFailed
    from workflows.decisions.escalation import Abort, Skip
    from workflows.github.github_context import GitHubContext
    from workflows.github.inbox import GitHubEnding


class IssueComment:
    """Edits the comment after changes that its readers care for; a cost alone is none."""

    def __init__(self, ties: GitHubContext) -> None:
        self._issue = ties.issue
        self._books = ties.context.books
        self._hearing = ties.hearing
        self._outward = ties.outward
        self._comment: int | None = None
        self._said = ""
        self._written = workflow.now() - REPORT_INTERVAL
        self._changed = self._urgent = False
        self._asked: list[tuple[str, int]] = []
        self._closed = False
        self._writing = asyncio.Lock()
        self.link = ""
        """To the run in the Web UI."""

    @property
    def is_busy(self) -> bool:
        """Whether an edit is under way."""
        return self._writing.locked()

    def carry_comment(self) -> CarriedComment:
        """Return the comment's id and text, for the next execution of the run."""
        return CarriedComment(id=self._comment, written=self._written, closed=self._closed, link=self.link)

    def restore_comment(self, carried: CarriedComment) -> None:
        """Take over the comment of the execution that this one continues."""
        self._comment, self._written = carried.id, carried.written
        self._closed, self.link = carried.closed, carried.link
        # The text is not carried: another version of the code may word it otherwise, and a replay would differ.
        self._changed = True

    def mark_changed(self) -> None:
        """Mark the run as changed; a question, a reminder, an end and a command are written at once."""
        asked = [(decision.id, decision.reminders) for decision in self._books.decisions.list_open()]
        waits = self._books.document.status is RunStatus.WAITING
        if asked != self._asked or self._hearing.report_asked or waits:
            self._urgent = True
        self._asked = asked
        self._changed = True

    async def run(self) -> None:
        """Write the comment after each change, until the run is over. A cancellation ends it between two writes."""
        while not self._closed:
            await workflow.wait_condition(lambda: self._changed)
            left = self._written + REPORT_INTERVAL - workflow.now()
            if not self._urgent and left.total_seconds() > 0:
                with contextlib.suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: self._urgent, timeout=left, timeout_summary="time between two edits of the comment"
                    )
            try:
                async with self._writing:
                    await self._write_comment()
            except StepFailed as failure:
                self._give_up(f"The comment on the issue could not be written: {failure}")
            except Skip:
                self._give_up("The comment on the issue is not written any more, as decided.")
            except Abort as abort:
                self._hearing.over = self._hearing.over or GitHubEnding("stopped", str(abort))
                return

    async def write_last(self) -> None:
        """Write how the run has ended; an unreachable GitHub delays the end for a while, and no longer."""
        try:
            await asyncio.wait_for(self._write_last(), MAX_LAST_REPORT_WAIT.total_seconds())
        except (StepFailed, TimeoutError) as failure:
            workflow.logger.warning("the last report was not written: %s", failure)

    async def _write_last(self) -> None:
        async with self._writing:
            self._closed = True
            await self._write_comment(last=True)

    async def _write_comment(self, *, last: bool = False) -> None:
        asked, self._changed, self._urgent = self._hearing.report_asked, False, False
        self._hearing.report_asked = False
        document, decisions = self._books.document, self._books.decisions
        report = CommentContent(
            document=document,
            decisions=decisions.list_all(),
            refusals=decisions.refusals,
            issue=self._issue,
            link=self.link,
            events=self._hearing.events,
        )
        says = render_comment(
            report.model_copy(update={"document": _without_costs(document), "decisions": decisions.list_all()})
        )
        if says == self._said and not asked and not last:
            return
        written = await self._outward.call_write(
            GitHubWriteActivities.write_comment,
            CommentInput(
                repository=self._issue.repository,
                number=self._issue.number,
                run=identifiers.run_key(document.run),
                comment=self._comment,
                body=render_comment(report),
            ),
            summary=f"comment: {document.status.value}",
        )
        self._comment, self._said, self._written = written.id, says, workflow.now()

    def _give_up(self, why: str) -> None:
        self._closed = True
        self._books.add_notes(cut_text(why, 500))
        self._books.saver.mark_changed()


def _without_costs(document: RunDocument) -> RunDocument:
    """Return the document without its costs."""
    tasks = [task.model_copy(update={"cost_usd": 0.0}) for task in document.tasks]
    return document.model_copy(update={"cost_usd": 0.0, "tasks": tasks})
