"""The inbox for GitHub's notices (signal `github`): sorted on arrival, and kept until the run takes them.

A handler of a signal only records. What a command asks for at once (an answer, a message to the agents) is done here;
feedback, pushed commits and ends wait to be taken up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton import identifiers
    from baton.decision_book import DecisionRefused
    from baton.records.issue import (
        CheckEvent,
        CommentCommand,
        GitHubIssue,
        GitHubSignal,
        PersonCommand,
        PullRequestEvent,
        ReviewEvent,
        RunRequested,
        StopRequested,
    )
    from baton.records.run import Decide, Guide
    from baton.steps.carried import CarriedEnding, CarriedFeedback, CarriedInbox
    from baton.steps.github import FeedbackItem
    from baton.text.markdown import escape_for_github
    from baton.text.truncation import cut_text
    from workflows.decisions.escalation import Escalations
    from workflows.state.run_state import RunState

_MAX_SEEN = 2_000
_MAX_FEEDBACK = 100
_MAX_EVENTS = 50
_CARRIED = ("published", "events", "pushed", "rerequested", "report_asked", "closed_by", "stopped_because")


@dataclass(frozen=True)
class GitHubEnding:
    """Why a run is over before its work is."""

    kind: Literal["merged", "closed", "stopped"]
    reason: str


@dataclass
class Feedback:
    """A remark to answer on the pull request; the failure of a check counts for its commit only."""

    item: FeedbackItem
    check: CheckEvent | None = None
    asks: bool = True
    """Whether it is a reason for a round; what was only remarked goes along with the next one."""


class GitHubInbox:
    """The notices of GitHub that a run has not dealt with."""

    def __init__(
        self, issue: GitHubIssue, books: RunState, escalations: Escalations, tell: Callable[[Guide], bool]
    ) -> None:
        self._issue = issue
        self._books = books
        self._escalations = escalations
        self._tell = tell
        self._seen: list[str] = []
        self._feedback: list[Feedback] = []
        self._came = 0
        self.published = ""
        """Head of the branch as we know it; empty before there is one."""
        self.events: list[str] = []
        """What happened to the pull request, in Markdown, for the comment."""
        self.pushed = False
        self.rerequested = False
        self.report_asked = False
        self.closed_by = ""
        """Who closed the issue: GitHub does it, too, when a pull request is merged."""
        self.stopped_because = ""
        self.over: GitHubEnding | None = None

    def carry_inbox(self) -> CarriedInbox:
        """Return the inbox for the next execution of the run."""
        return CarriedInbox(
            seen=self._seen,
            feedback=[CarriedFeedback(item=one.item, check=one.check, asks=one.asks) for one in self._feedback],
            came=self._came,
            over=CarriedEnding(kind=self.over.kind, reason=self.over.reason) if self.over else None,
            **{name: getattr(self, name) for name in _CARRIED},
        )

    def restore_inbox(self, carried: CarriedInbox) -> None:
        """Take over the inbox of the execution that this one continues."""
        self._seen, self._came = list(carried.seen), carried.came
        self._feedback = [Feedback(one.item, one.check, one.asks) for one in carried.feedback]
        self.over = GitHubEnding(carried.over.kind, carried.over.reason) if carried.over else None
        for name in _CARRIED:
            setattr(self, name, getattr(carried, name))

    def take_notice(self, notice: GitHubSignal) -> None:
        """Take in a notice; one of the same delivery again is a no-op."""
        if notice.delivery in self._seen:
            return
        begins = not self._seen
        self._seen = [*self._seen[-(_MAX_SEEN - 1) :], notice.delivery]
        who = f"@{notice.sender.login}"
        if notice.refused:
            self._record_refusal(who, notice.refused)
            return
        match notice.matter:
            case RunRequested() if begins:
                pass  # it is what the run works for
            case RunRequested(text=text, by=by):
                if text:
                    self._take_guidance(who, text)
                elif by == "command":
                    self._record_refusal(who, "A run is at work on this issue already.")
            case CommentCommand(command=command):
                self._take_command(who, command)
            case StopRequested(reason="closed"):
                self.closed_by = who
            case StopRequested(reason=reason):
                how = "lost its label" if reason == "unlabeled" else "is in a repository that the App was removed from"
                self.stopped_because = f"The run was stopped, for the issue {how} (by {who}); its work is kept."
            case ReviewEvent() as review:
                self._take_review(who, review)
            case CheckEvent() as check:
                self._take_check(check)
            case PullRequestEvent() as pull:
                self._take_pull_event(who, pull)

    def note_event(self, event: str) -> None:
        """Add an event of the pull request to the comment; Markdown."""
        self.events = [*self.events[-(_MAX_EVENTS - 1) :], event]
        self._books.mark_changed(save=True)

    @property
    def asks_for_round(self) -> bool:
        """Whether a remark waits that is a reason for a round."""
        return any(entry.asks and self._is_current(entry) for entry in self._feedback)

    @property
    def count_received(self) -> int:
        """How much has come so far, whether it was dealt with or not."""
        return self._came

    def has_more_than(self, count: int) -> bool:
        """Whether more remarks have come than that."""
        return self._came > count

    def take_feedback(self) -> list[Feedback]:
        """Take all remarks that still count; a failure that is reported in several ways comes once."""
        taken = [entry for entry in self._feedback if self._is_current(entry)]
        self._feedback = []
        sources = {entry.check.source for entry in taken if entry.check is not None}
        for better, worse in (({"check_run"}, "workflow_run"), ({"check_run", "workflow_run"}, "check_suite")):
            if sources & better:
                taken = [entry for entry in taken if entry.check is None or entry.check.source != worse]
        return taken

    def _take_command(self, who: str, command: PersonCommand) -> None:
        match command.name:
            case "run":
                if command.text:
                    self._take_guidance(who, command.text)
                else:
                    self._record_refusal(who, "A run is at work on this issue already.")
            case "guide":
                self._take_guidance(who, command.text)
            case "retry":
                self._take_retry(who, command.decision_id)
            case "stop":
                self.stopped_because = f"The run was stopped by {who}; its work is kept."
            case "help" if command.text:
                self._record_refusal(who, f"{command.text[:100]} is no command.")
            case _:
                self.report_asked = True
                self._books.mark_changed()

    def _take_guidance(self, who: str, text: str) -> None:
        """A message is for the agents at work; with none at work and a pull request open, it asks for a round."""
        if self._tell(Guide(text=cut_text(text, 20_000))):
            self._books.mark_changed()
        elif not self.take_message(who, text):
            self._record_refusal(who, "The message reached nobody: no agent is at work.")

    def take_message(self, who: str, text: str) -> bool:
        """Let a message be a reason for a round; False before there is a pull request."""
        if self.published:
            self._add_feedback(Feedback(FeedbackItem(source=f"message of {who}", text=text)))
        return bool(self.published)

    def _take_retry(self, who: str, decision_id: str) -> None:
        waiting = self._books.decisions.list_open()
        if not decision_id and len(waiting) != 1:
            names = ", ".join(decision.id for decision in waiting)
            self._record_refusal(who, f"Name the decision: {names} are open." if waiting else "No decision is open.")
            return
        try:
            self._escalations.take_answer(Decide(decision_id=decision_id or waiting[0].id, choice="retry", by=who))
        except DecisionRefused as refusal:
            self._record_refusal(who, str(refusal))

    def _take_review(self, who: str, review: ReviewEvent) -> None:
        if review.branch != self._issue.branch or not self.published:
            return
        item = FeedbackItem(source=f"review of {who}", text=review.body, path=review.path, line=review.line)
        if review.state == "approved":
            self.note_event(f"{escape_for_github(who)} approved {escape_for_github(review.commit[:12])}")
            if review.body:
                self._add_feedback(Feedback(item, asks=False))
        elif review.state == "changes_requested":
            text = review.body or "Changes are requested; see the comments on the lines."
            self._add_feedback(Feedback(item.model_copy(update={"text": text})))
        else:
            self._add_feedback(Feedback(item, asks=bool(review.path)))

    def _take_check(self, check: CheckEvent) -> None:
        if check.branch != self._issue.branch:
            return
        if check.outcome == "rerequested":
            self.rerequested = self.rerequested or check.commit == self.published
            return
        # Patched, for a run that has left such a check out before goes on. Whose it is the webhook has looked up by
        # its App: an `external_id` anybody can write. Only such a run gets the marker.
        if check.external_id != identifiers.run_key(self._books.document.run) or workflow.patched(
            "checks-by-their-app"
        ):
            said = "\n".join(part for part in (check.title, check.summary) if part)
            text = said or f"It ended with {check.conclusion or 'a failure'}."
            self._add_feedback(Feedback(FeedbackItem(source=f"check {check.name}", text=text), check))

    def _take_pull_event(self, who: str, pull: PullRequestEvent) -> None:
        if pull.branch != self._issue.branch or not self.published:
            return
        match pull.outcome:
            case "merged":
                self.over = self.over or GitHubEnding("merged", f"The pull request was merged by {who}.")
            case "closed":
                reason = f"The pull request was closed by {who} without being merged; nothing is pushed any more."
                self.over = self.over or GitHubEnding("closed", reason)
            case "pushed":
                self.pushed = self.pushed or pull.commit != self.published

    def _add_feedback(self, entry: Feedback) -> None:
        self._came += 1
        self._feedback = [*self._feedback[-(_MAX_FEEDBACK - 1) :], entry]

    def _is_current(self, entry: Feedback) -> bool:
        return entry.check is None or entry.check.commit == self.published

    def _record_refusal(self, who: str, why: str) -> None:
        self._escalations.record_refusal(f"{who}: {why}")
