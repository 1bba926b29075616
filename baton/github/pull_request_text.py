"""The Markdown of a run's pull request and check run: the change, and the evidence for it. Pure."""

from pydantic import BaseModel

from baton.github.comment_text import render_mention
from baton.records.issue import GitHubIssue
from baton.records.run import GateDocument, RunDocument, TaskDocument, TaskState
from baton.text.markdown import escape_for_github, inline_code
from baton.text.truncation import cut_text, first_items

_MAX_SUMMARY = 1_500
_MAX_TITLE = 240
_MAX_TASKS = 60


class PullRequestContent(BaseModel):
    """The content of a run's pull request."""

    document: RunDocument
    issue: GitHubIssue
    summary: str = ""
    """The orchestrator's summary of the plan."""
    link: str = ""
    """To the run in the Web UI."""


def render_title(issue: GitHubIssue) -> str:
    """Return the title: that of the issue, unescaped, because GitHub renders titles as text."""
    return cut_text(issue.title, _MAX_TITLE) or f"Changes for issue {issue.number}"


def render_body(change: PullRequestContent) -> str:
    """Return the pull request's description."""
    document, issue = change.document, change.issue
    lines = [f"Closes #{issue.number}", ""]
    if change.summary:
        lines += [escape_for_github(cut_text(change.summary, _MAX_SUMMARY)), ""]
    lines += ["#### Tasks", *map(_render_task, document.tasks[:_MAX_TASKS])]
    if len(document.tasks) > _MAX_TASKS:
        lines.append(f"- and {len(document.tasks) - _MAX_TASKS} more")
    lines += ["", "#### Evidence", *render_evidence(document.gate)]
    if document.left_out:
        lines += ["", "#### Written and not kept", *map(_render_path, first_items(document.left_out))]
    lines += ["", f"Cost ${document.cost_usd:.2f}, asked for by {render_mention(issue.requester.login)}."]
    if change.link:
        lines.append(f"[The run {escape_for_github(document.run)}]({change.link})")
    else:
        lines.append(f"Run {inline_code(document.run)}")
    lines += ["", "Reviews that ask for changes, review comments and failing checks become work on this branch."]
    return "\n".join(lines)


def render_evidence(gate: GateDocument | None) -> list[str]:
    """Return the evidence as bullets: the command that the engine ran, its exit code, the commit and the log."""
    if gate is None:
        return ["- no tests were run"]
    if gate.command is None:
        return [f"- no test command was found; nothing was run on {inline_code(gate.commit)}"]
    return [
        f"- command {inline_code(gate.command)}",
        f"- exit code {gate.exit_code}",
        f"- commit {inline_code(gate.commit)}",
        f"- log {inline_code(gate.log_digest)}",
        *(f"- the command could read {inline_code(path)} of the machine" for path in gate.binds),
    ]


def check_title(gate: GateDocument | None) -> str:
    """Return the line in GitHub's list of checks."""
    if gate is None or gate.command is None:
        return "No tests were found to run"
    return f"Tests {'succeed' if gate.exit_code == 0 else 'fail'} (exit code {gate.exit_code})"


def check_summary(document: RunDocument) -> str:
    """Return the text of the check run."""
    done = sum(task.state is TaskState.DONE for task in document.tasks)
    lines = [
        *render_evidence(document.gate),
        "",
        f"{done} of {len(document.tasks)} tasks done, ${document.cost_usd:.2f}",
    ]
    return "\n".join(lines)


def _render_path(path: str) -> str:
    return f"- {inline_code(path)}"


def _render_task(task: TaskDocument) -> str:
    rounds = f", {task.rounds} rounds" if task.rounds > 1 else ""
    commit = f", {inline_code(task.commit[:12])}" if task.commit else ""
    state = "" if task.state is TaskState.DONE else f" ({task.state.value})"
    return f"- {escape_for_github(task.title)}{state}: {escape_for_github(task.role)}{rounds}{commit}"
