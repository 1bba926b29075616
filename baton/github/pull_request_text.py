"""The Markdown of a run's pull request and check run: the change, and the evidence for it. Pure."""

from pydantic import BaseModel

from baton.github.comment_text import mention
from baton.records.issue import GitHubIssue
from baton.records.run import GateDocument, RunDocument, TaskDocument, TaskState
from baton.text.markdown import code, quiet
from baton.text.truncation import cut, first

_MAX_SUMMARY = 1_500
_MAX_TITLE = 240
_MAX_TASKS = 60


class Change(BaseModel):
    """The content of a run's pull request."""

    document: RunDocument
    issue: GitHubIssue
    summary: str = ""
    """The orchestrator's summary of the plan."""
    link: str = ""
    """To the run in the Web UI."""


def pull_title(issue: GitHubIssue) -> str:
    """Return the title: that of the issue, unescaped, because GitHub renders titles as text."""
    return cut(issue.title, _MAX_TITLE) or f"Changes for issue {issue.number}"


def pull_body(change: Change) -> str:
    """Return the pull request's description."""
    document, issue = change.document, change.issue
    lines = [f"Closes #{issue.number}", ""]
    if change.summary:
        lines += [quiet(cut(change.summary, _MAX_SUMMARY)), ""]
    lines += ["#### Tasks", *map(_task, document.tasks[:_MAX_TASKS])]
    if len(document.tasks) > _MAX_TASKS:
        lines.append(f"- and {len(document.tasks) - _MAX_TASKS} more")
    lines += ["", "#### Evidence", *evidence(document.gate)]
    if document.left_out:
        lines += ["", "#### Written and not kept", *map(_path, first(document.left_out))]
    lines += ["", f"Cost ${document.cost_usd:.2f}, asked for by {mention(issue.requester.login)}."]
    if change.link:
        lines.append(f"[The run {quiet(document.run)}]({change.link})")
    else:
        lines.append(f"Run {code(document.run)}")
    lines += ["", "Reviews that ask for changes, review comments and failing checks become work on this branch."]
    return "\n".join(lines)


def evidence(gate: GateDocument | None) -> list[str]:
    """Return the evidence as bullets: the command that the engine ran, its exit code, the commit and the log."""
    if gate is None:
        return ["- no tests were run"]
    if gate.command is None:
        return [f"- no test command was found; nothing was run on {code(gate.commit)}"]
    return [
        f"- command {code(gate.command)}",
        f"- exit code {gate.exit_code}",
        f"- commit {code(gate.commit)}",
        f"- log {code(gate.log_digest)}",
        *(f"- the command could read {code(path)} of the machine" for path in gate.binds),
    ]


def check_title(gate: GateDocument | None) -> str:
    """Return the line in GitHub's list of checks."""
    if gate is None or gate.command is None:
        return "No tests were found to run"
    return f"Tests {'succeed' if gate.exit_code == 0 else 'fail'} (exit code {gate.exit_code})"


def check_summary(document: RunDocument) -> str:
    """Return the text of the check run."""
    done = sum(task.state is TaskState.DONE for task in document.tasks)
    lines = [*evidence(document.gate), "", f"{done} of {len(document.tasks)} tasks done, ${document.cost_usd:.2f}"]
    return "\n".join(lines)


def _path(path: str) -> str:
    return f"- {code(path)}"


def _task(task: TaskDocument) -> str:
    rounds = f", {task.rounds} rounds" if task.rounds > 1 else ""
    commit = f", {code(task.commit[:12])}" if task.commit else ""
    state = "" if task.state is TaskState.DONE else f" ({task.state.value})"
    return f"- {quiet(task.title)}{state}: {quiet(task.role)}{rounds}{commit}"
