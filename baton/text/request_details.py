"""What was asked for, in Markdown, as the static details of a run show it in the Web UI. Pure."""

from baton.records.issue import GitHubIssue
from baton.records.run import RunRequest
from baton.text.markdown import bounded, code, escape


def request_details(request: RunRequest) -> str:
    """The task paragraph by paragraph, all of it as text, and what was given along with it."""
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
    # The address is of our own making; see `GitHubIssue.url`.
    name = escape(f"{issue.repository.full_name}#{issue.number}")
    return f"[{name}]({issue.url})" if issue.url else name
