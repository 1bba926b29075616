"""The request of a run in Markdown, for the static details of its workflow in the Web UI. Pure."""

from baton.records.issue import GitHubIssue
from baton.records.run import RunRequest
from baton.text.markdown import escape_markdown, inline_code, join_bounded


def request_details(request: RunRequest) -> str:
    """Return the task, escaped and paragraph by paragraph, and the other fields of the request."""
    paragraphs = [escape_markdown(part) for part in request.task.split("\n\n") if part.strip()]
    given = {
        "issue": _render_issue(request.github) if request.github else "",
        "repository": inline_code(request.repo),
        "base": inline_code(request.base or "HEAD"),
        "started by": escape_markdown(request.started_by),
        "most USD": "" if request.usd is None else f"{request.usd:g}",
        "models": escape_markdown(", ".join(f"{role} {model}" for role, model in request.models.items())),
    }
    return join_bounded([*paragraphs, "", *(f"- {name}: {value}" for name, value in given.items() if value)], "\n\n")


def _render_issue(issue: GitHubIssue) -> str:
    # The URL is built by Baton and needs no escape.
    name = escape_markdown(f"{issue.repository.full_name}#{issue.number}")
    return f"[{name}]({issue.url})" if issue.url else name
