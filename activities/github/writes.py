"""Writes to GitHub, each a reconciler: it reads the current state first, so that a retry writes no second time.

They run one at a time (`identifiers.GITHUB_QUEUE`). All text is redacted and cut to GitHub's limits.
"""

from collections.abc import Mapping
from typing import Any

from activities.github.client import GitHubClient, RepositoryApi
from activities.github.comment_marker import marker_line
from activities.github.reads import pull_state
from activities.runtime.step import step
from baton.errors import GitHubRefused
from baton.steps.github import COMMENT_LIMIT, CommentInput, CommentWritten, PullInput, PullState, ReactionInput
from baton.text.truncation import cut_text

_MAX_COMMENTS = 1_000
_MAX_TITLE = 250


class GitHubWriteActivities:
    """The activities `react`, `write_comment` and `write_pull`."""

    def __init__(self, github: GitHubClient) -> None:
        self._github = github

    @step("react")
    async def react(self, reaction: ReactionInput) -> None:
        """Add a reaction; idempotent, because GitHub adds the same one only once."""
        target = f"/issues/comments/{reaction.comment}" if reaction.comment else f"/issues/{reaction.number}"
        async with self._github.open_repository(reaction.repository) as api:
            await api.post(f"{target}/reactions", {"content": reaction.content}, "adding a reaction")

    @step("write_comment")
    async def write_comment(self, comment: CommentInput) -> CommentWritten:
        """Edit a run's comment, or create it if neither its id nor its marker finds one."""
        own = await self._github.read_login()
        async with self._github.open_repository(comment.repository) as api:
            mark = marker_line(comment.run)
            body = _cut_body(f"{mark}\n{api.redact(comment.body)}", COMMENT_LIMIT)
            written = await self._edit_comment(api, comment.comment, body) if comment.comment else None
            if written is None:
                there = await self._find_comment(api, comment.number, mark, own)
                if there is not None and there.get("body") == body:
                    return _comment_of(there)
                written = await self._edit_comment(api, int(there["id"]), body) if there is not None else None
            if written is None:
                written = await api.post(
                    f"/issues/{comment.number}/comments", {"body": body}, f"writing to issue {comment.number}"
                )
            return _comment_of(written)

    @step("write_pull")
    async def write_pull(self, pull: PullInput) -> PullState:
        """Open a run's pull request as a draft, or edit the one of its branch. A closed one stays closed."""
        full_name = pull.repository.full_name
        async with self._github.open_repository(pull.repository) as api:
            title, body = cut_text(api.redact(pull.title), _MAX_TITLE), _cut_body(api.redact(pull.body), COMMENT_LIMIT)
            there = await self._find_pull(api, pull)
            if there is None:
                try:
                    there = await self._open_pull(api, pull, title, body)
                except GitHubRefused as error:
                    if error.status != 422:
                        raise
                    # It exists: a person, or an attempt that was given up, opened it since the first read.
                    there = await self._find_pull(api, pull)
                    if there is None:
                        raise
            if there.get("state") == "open" and there.get("body") != body:
                there = await api.patch(
                    f"/pulls/{there['number']}", {"body": body}, f"editing pull request {there['number']}"
                )
            return pull_state(there, full_name)

    async def _edit_comment(self, api: RepositoryApi, comment: int, body: str) -> Any:
        try:
            return await api.patch(f"/issues/comments/{comment}", {"body": body}, "editing our comment")
        except GitHubRefused as error:
            if error.status in (404, 410):  # It was deleted.
                return None
            raise

    async def _find_comment(self, api: RepositoryApi, number: int, mark: str, own: str) -> Any:
        """Find our comment by marker and author; a comment of others with a copied marker does not count."""
        path = f"/issues/{number}/comments?per_page=100"
        for comment in await api.list_items(path, f"reading issue {number}", max_items=_MAX_COMMENTS):
            login = str((comment.get("user") or {}).get("login", ""))
            if login.lower() == own.lower() and str(comment.get("body", "")).startswith(mark):
                return comment
        return None

    async def _find_pull(self, api: RepositoryApi, pull: PullInput) -> Any:
        if pull.number is not None:
            return await api.get(f"/pulls/{pull.number}", f"reading pull request {pull.number}")
        path = f"/pulls?head={pull.repository.owner}:{pull.branch}&state=all&per_page=100"
        doing = f"looking for the pull request of {pull.branch}"
        # Some servers ignore the filter.
        found = [
            there for there in await api.list_items(path, doing, max_items=100) if _head_branch(there) == pull.branch
        ]
        return next((there for there in found if there.get("state") == "open"), found[0] if found else None)

    async def _open_pull(self, api: RepositoryApi, pull: PullInput, title: str, body: str) -> Any:
        base = pull.base or str((await api.get("", "reading the repository"))["default_branch"])
        data = {"title": title, "body": body, "head": pull.branch, "base": base}
        doing = f"opening a pull request for {pull.branch}"
        try:
            return await api.post("/pulls", {**data, "draft": True}, doing)
        except GitHubRefused as error:
            # Not every plan has drafts: https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/proposing-changes-to-your-work-with-pull-requests/about-pull-requests#draft-pull-requests
            if error.status != 422 or "draft" not in str(error).lower():
                raise
        return await api.post("/pulls", data, doing)


def _head_branch(pull: Mapping[str, Any]) -> str:
    return str((pull.get("head") or {}).get("ref", ""))


def _comment_of(comment: Mapping[str, Any]) -> CommentWritten:
    return CommentWritten(id=int(comment["id"]))


def _cut_body(text: str, limit: int) -> str:
    gone = "\n\n… (cut)"
    return text if len(text) <= limit else text[: limit - len(gone)] + gone
