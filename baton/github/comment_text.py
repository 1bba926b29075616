"""The Markdown of a run's comment on its issue. Pure; untrusted text is escaped, and its mentions notify no account."""

import re
from collections.abc import Sequence

from pydantic import BaseModel, Field

from baton.decision_book import example_choice
from baton.records.issue import GitHubIssue
from baton.records.run import Decision, DecisionState, RunDocument, RunStatus, TaskDocument, TaskState
from baton.text.decision_lines import decision_lines
from baton.text.markdown import escape_for_github, inline_code
from baton.text.truncation import cut_text

_MAX_NOTES = 8
_MAX_ANSWERED = 5
_MAX_REFUSALS = 3
_MAX_QUESTION = 1_500

_STATUS = {
    RunStatus.PLANNING: "is making a plan",
    RunStatus.WORKING: "is at work",
    RunStatus.WAITING: "waits",
    RunStatus.PUBLISHING: "is testing the whole and publishing it",
    RunStatus.DONE: "is done",
    RunStatus.FAILED: "could not finish",
    RunStatus.STOPPED: "was stopped",
}
COMMANDS = """\
<details><summary>Commands</summary>

On the first line of a comment, by people who may write to the repository:

- `/baton status` brings this comment up to date
- `/baton decide D1 choice [note]` answers a decision
- `/baton guide text` sends a message to the agents; with an open pull request, it requests a change of it
- `/baton retry [D1]` answers the open decision with `retry`
- `/baton stop` ends the run and keeps its work
- `/baton run [text]` starts a run on the issue
- `/baton help` shows this list
</details>"""

_LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})(?:\[bot\])?")


class CommentContent(BaseModel):
    """The content of the comment."""

    document: RunDocument
    decisions: list[Decision] = Field(default_factory=list)
    refusals: list[str] = Field(default_factory=list)
    issue: GitHubIssue
    link: str = ""
    """To the run in the Web UI."""
    events: list[str] = Field(default_factory=list)
    """Sentences on the events of the pull request, newest last; names in them are escaped."""


def render_comment(report: CommentContent) -> str:
    """Return the body of the comment, without its marker."""
    document = report.document
    open_ones = [decision for decision in report.decisions if decision.state is DecisionState.OPEN]
    lines = [_render_headline(report, len(open_ones))]
    for decision in open_ones:
        lines += _render_decision(decision, report.issue)
    if document.tasks:
        lines += ["", "#### Plan", *map(_render_task, document.tasks)]
    answered = [decision for decision in report.decisions if decision.state is DecisionState.ANSWERED]
    if answered:
        lines += ["", "#### Decided", *_keep_newest(list(map(_render_answered, answered)), _MAX_ANSWERED)]
    if report.events:
        lines += ["", "#### Pull request", *_keep_newest([f"- {event}" for event in report.events], _MAX_NOTES)]
    if report.refusals:
        refused = [f"- {escape_for_github(cut_text(refusal, 300))}" for refusal in report.refusals]
        lines += ["", "#### Not done", *_keep_newest(refused, _MAX_REFUSALS)]
    if document.notes:
        lines += [
            "",
            "#### To know",
            *_keep_newest([f"- {escape_for_github(cut_text(note, 1_000))}" for note in document.notes], _MAX_NOTES),
        ]
    return "\n".join([*lines, "", COMMANDS])


def _keep_newest(lines: list[str], limit: int) -> list[str]:
    """Return the newest lines of a list, after a line with the number of older ones."""
    older = len(lines) - limit
    return [f"- ({older} older, see {inline_code('baton show')})", *lines[-limit:]] if older > 0 else lines


def render_mention(login: str) -> str:
    """Return an account's name so that GitHub notifies it; a text that is no account name is escaped."""
    return f"@{login}" if _LOGIN.fullmatch(login) else escape_for_github(login)


def _render_headline(report: CommentContent, questions: int) -> str:
    document = report.document
    status = _STATUS[document.status]
    if document.status is RunStatus.WAITING:
        waiting = escape_for_github(cut_text("; ".join(document.waiting_for.values()), 200)) or "to go on"
        status = "waits for a decision" if questions else f"waits for {waiting}"
    done = sum(task.state is TaskState.DONE for task in document.tasks)
    parts = [f"**Baton** {status}"]
    if document.tasks:
        parts.append(f"{done} of {len(document.tasks)} tasks done")
    parts.append(f"${document.cost_usd:.2f}")
    if document.pull_request:
        parts.append(f"[pull request]({document.pull_request})")
    if report.link:
        parts.append(f"[run]({report.link})")
    return " · ".join(parts)


def _render_decision(decision: Decision, issue: GitHubIssue) -> list[str]:
    task = f" (task {escape_for_github(decision.task_id)})" if decision.task_id else ""
    again = f" This is reminder {decision.reminders}." if decision.reminders else ""
    lines = [
        "",
        f"#### Decision {decision.id}{task}",
        f"{render_mention(issue.requester.login)}:"
        f" {escape_for_github(cut_text(decision.question, _MAX_QUESTION))}{again}",
        "",
        *(f"- {inline_code(choice)}" for choice in decision.choices),
        "",
        f"Answer with a comment: {inline_code(render_answer_command(decision, example_choice(decision)))}",
    ]
    helps = decision_lines(decision, lambda text: escape_for_github(cut_text(text, 300)), inline_code, max_texts=3)
    return [*lines, "", *(f"- {line}" for line in helps)] if helps else lines


def render_answer_command(decision: Decision, choice: str) -> str:
    """Return the comment line that answers a decision; a choice of several words is quoted by a mark that it lacks."""
    words = " ".join(choice.split())
    quote = "" if re.fullmatch(r"[^\s\"'`]+", words) else next((mark for mark in "\"'`" if mark not in words), "")
    return f"/baton decide {decision.id} {quote}{words}{quote}"


def _render_task(task: TaskDocument) -> str:
    mark = "x" if task.state is TaskState.DONE else " "
    stage = f", {escape_for_github(task.stage)}" if task.stage and task.state is TaskState.WORKING else ""
    rounds = f", round {task.rounds}" if task.rounds > 1 else ""
    cost = f", ${task.cost_usd:.2f}" if task.cost_usd else ""
    name = f"**{escape_for_github(task.id)}** {escape_for_github(task.title)}"
    return f"- [{mark}] {name}: {task.state.display_text}{stage}{rounds}{cost}"


def _render_answered(decision: Decision) -> str:
    by = f", by {escape_for_github(decision.by)}" if decision.by else ""
    note = f": {escape_for_github(cut_text(decision.note, 200))}" if decision.note else ""
    return f"- {decision.id}: {inline_code(decision.choice or '')}{by}{note}"


def join_first_five(items: Sequence[str]) -> str:
    """Return the first five names for a sentence, and the number of the others."""
    shown = ", ".join(items[:5])
    return shown if len(items) <= 5 else f"{shown} and {len(items) - 5} more"
