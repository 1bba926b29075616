"""Reads from GitHub: a sender's permission, an issue's comments, a pull request's state, the log of a failed check."""

from collections.abc import Mapping
from typing import Any

from activities.github.client import GitHubClient, RepositoryApi
from activities.github.comment_marker import MARKER
from activities.runtime.step import step
from baton.errors import GitHubDenied, GitHubRefused
from baton.records.issue import MAX_TEXT, CheckEvent
from baton.steps.github import (
    CheckPermissionInput,
    EarlierComments,
    FailureLog,
    Permission,
    PullState,
    ReadCommentsInput,
    ReadFailureInput,
    ReadPullInput,
)
from baton.text.untrusted import sanitise

_MAY = frozenset({"admin", "maintain", "write"})
_MAX_COMMENTS = 200
"""Maximum of an issue's comments that are read; of those the comments of writers go to the agent."""
_MAX_EARLIER = 16_000
_MAX_COMMENT = 4_000
_MAX_LOG = 6_000
_MAX_JOBS = 3


class GitHubReadActivities:
    """The activities `check_permission`, `read_comments`, `read_pull` and `read_failure`."""

    def __init__(self, github: GitHubClient, bots: frozenset[str]) -> None:
        self._github = github
        self._bots = bots

    @step("check_permission")
    async def check_permission(self, asks: CheckPermissionInput) -> Permission:
        """Whether the sender may write to the repository; a bot only if it is on the list. Unknown means no."""
        login = asks.sender.login
        if asks.sender.bot or login.endswith("[bot]"):
            if login.lower() in self._bots:
                return Permission(allowed=True)
            return Permission(allowed=False, reason=f"{login} is a bot that is not in BATON_GITHUB_BOTS")
        async with self._github.open_repository(asks.repository) as api:
            if await _may_write(api, login):
                return Permission(allowed=True)
        return Permission(allowed=False, reason=f"{login} may not write to {asks.repository.full_name}")

    @step("read_comments")
    async def read_comments(self, wanted: ReadCommentsInput) -> EarlierComments:
        """Return the comments of an issue for the agent: of writers, unedited, from before the run was asked for.

        Return only the reason if the issue was closed or its label removed meanwhile.
        """
        parts: list[str] = []
        known: dict[str, bool] = {}
        left = _MAX_EARLIER
        doing = f"reading issue {wanted.number}"
        async with self._github.open_repository(wanted.repository) as api:
            if withdrawn := _withdrawal_reason(await api.get(f"/issues/{wanted.number}", doing), wanted):
                return EarlierComments(withdrawn=withdrawn)
            path = f"/issues/{wanted.number}/comments?per_page=100"
            for comment in await api.list_items(path, doing, max_items=_MAX_COMMENTS):
                login = str((comment.get("user") or {}).get("login", ""))
                text = sanitise(comment.get("body"), _MAX_COMMENT)
                if not _is_original(comment, wanted.before.strftime("%Y-%m-%dT%H:%M:%SZ")) or not text:
                    continue
                if str(comment.get("body")).startswith(MARKER) or text.startswith("/baton"):
                    continue  # Our comments, and commands for us.
                if login not in known:
                    known[login] = not login.endswith("[bot]") and await _may_write(api, login)
                part = f"Comment of {login}:\n{text}"
                if known[login] and len(part) <= left:
                    parts.append(part)
                    left -= len(part) + 2
        return EarlierComments(text="\n\n".join(parts))

    @step("read_pull")
    async def read_pull(self, wanted: ReadPullInput) -> PullState:
        """Return the state of a pull request, and its branch if that is in the same repository."""
        async with self._github.open_repository(wanted.repository) as api:
            pull = await api.get(f"/pulls/{wanted.number}", f"reading pull request {wanted.number}")
        return pull_state(pull, wanted.repository.full_name)

    @step("read_failure")
    async def read_failure(self, failed: ReadFailureInput) -> FailureLog:
        """Return the title and summary of a failed check, and the ends of the logs of its failed jobs."""
        check = failed.check
        async with self._github.open_repository(failed.repository) as api:
            logs = [log for job in await _failed_jobs(api, check) if (log := await _read_log(api, job))]
            said = "\n".join(part for part in (check.title, check.summary) if part)
            text = "\n\n".join([*([said] if said else []), *logs])
            return FailureLog(text=sanitise(api.redact(text), MAX_TEXT))


def pull_state(pull: Mapping[str, Any], full_name: str) -> PullState:
    """Return a pull request of GitHub's API as a record."""
    head = pull.get("head") or {}
    where = str((head.get("repo") or {}).get("full_name", ""))
    return PullState(
        number=int(pull["number"]),
        url=str(pull.get("html_url") or ""),
        branch=str(head.get("ref", "")) if where.lower() == full_name.lower() else "",
        state="open" if pull.get("state") == "open" else "closed",
        merged=bool(pull.get("merged") or pull.get("merged_at")),
        draft=bool(pull.get("draft")),
    )


async def _may_write(api: RepositoryApi, login: str) -> bool:
    """Whether a login has write permission, by the collaborator API: `author_association` hides private members.

    https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user
    """
    if not login or "/" in login:
        return False
    try:
        found = await api.get(f"/collaborators/{login}/permission", f"asking for the permission of {login}")
    except GitHubRefused as error:
        if error.status == 404:
            return False
        raise
    # `permission` has only four values, with `maintain` as write; a custom role is in `role_name`.
    return found.get("permission") in _MAY or found.get("role_name") in _MAY


def _withdrawal_reason(issue: Mapping[str, Any], wanted: ReadCommentsInput) -> str:
    """Return the reason if the run is not wanted any more: before it has started it could not be stopped."""
    if issue.get("state") == "closed" and not wanted.closed:
        return "the issue was closed before the run could start"
    labels = {str(label.get("name", "")).casefold() for label in issue.get("labels") or []}
    if wanted.label and wanted.label.casefold() not in labels:
        return "the label was taken away before the run could start"
    return ""


def _is_original(comment: Mapping[str, Any], before: str) -> bool:
    """Whether a comment is from before a moment (ISO 8601, UTC, to the second) and was never edited."""
    created = str(comment.get("created_at", ""))
    updated = str(comment.get("updated_at", ""))
    return created[:19] == updated[:19] and created[:19] <= before[:19] and bool(created)


async def _failed_jobs(api: RepositoryApi, check: CheckEvent) -> list[int]:
    """Return the ids of the failed jobs of GitHub Actions; a check run of Actions has the id of its job."""
    try:
        if check.source == "check_run":
            return [check.id] if check.app == "github-actions" else []
        if check.source == "workflow_run":
            jobs = await api.list_items(
                f"/actions/runs/{check.id}/jobs?per_page=50", "reading the jobs of a workflow", max_items=50, key="jobs"
            )
            return [int(job["id"]) for job in jobs if job.get("conclusion") == "failure"][:_MAX_JOBS]
        if check.source == "check_suite":
            runs = await api.list_items(
                f"/check-suites/{check.id}/check-runs?per_page=50",
                "reading a check suite",
                max_items=50,
                key="check_runs",
            )
            failed = [run for run in runs if run.get("conclusion") in ("failure", "timed_out")]
            ours = [run for run in failed if (run.get("app") or {}).get("slug") == "github-actions"]
            return [int(run["id"]) for run in ours][:_MAX_JOBS]
    except (GitHubRefused, GitHubDenied):
        return []  # Without the permission to read Actions, which is optional, there is no log.
    return []


async def _read_log(api: RepositoryApi, job: int) -> str:
    try:
        return await api.read_tail(f"/actions/jobs/{job}/logs", "reading a job's log", limit=_MAX_LOG)
    except (GitHubRefused, GitHubDenied):
        return ""
