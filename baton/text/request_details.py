"""The request of a run in Markdown, for the static details of its workflow in the Web UI. Pure."""

from baton.records.issue import GitHubIssue
from baton.records.run import RunRequest
from baton.text.markdown import bounded, code, escape


def request_details(request: RunRequest) -> str:
    """Return the task, escaped and paragraph by paragraph, and the other fields of the request."""
    paragraphs = [escape(part) for part in request.task.split("\n\n") if part.strip()]
    given = {
        "issue": _issue(request.github) if request.github else "",
        "repository": code(request.repo),
        "base": code(request.base or "HEAD"),
        "started by": escape(request.started_by),
        "most USD": "" if request.usd is None else f"{request.usd:g}",
        "models": escape(", ".join(f"{role} {model}" for role, model in request.models.items())),
    }
    return bounded([*paragraphs, "", *(f"- {name}: {value}" for name, value in given.items() if value)], "\n\n")


def _issue(issue: GitHubIssue) -> str:
    # The URL is built by Baton and needs no escape.
    name = escape(f"{issue.repository.full_name}#{issue.number}")
    return f"[{name}]({issue.url})" if issue.url else name
