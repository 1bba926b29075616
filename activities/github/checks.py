"""The check run of a run on a commit; with a token, which cannot write check runs, a commit status."""

from collections.abc import Mapping
from typing import Any

from activities.github.client import GitHubClient, RepositoryApi
from activities.runtime.step import step
from baton.records.issue import CHECK_NAME
from baton.steps.github import SUMMARY_LIMIT, CheckInput, CheckWritten
from baton.text.truncation import cut_text

_MAX_TITLE = 255
_MAX_DESCRIPTION = 140

_STATES = {"success": "success", "failure": "failure", "neutral": "success", "cancelled": "error"}
"""Commit statuses have fewer states: https://docs.github.com/en/rest/commits/statuses#create-a-commit-status"""


class CheckActivities:
    """The activity `write_check`."""

    def __init__(self, github: GitHubClient) -> None:
        self._github = github

    @step("write_check")
    async def write_check(self, check: CheckInput) -> CheckWritten:
        """Write the commit's check: edit the one of this commit, name and run, or create it. Idempotent."""
        async with self._github.open_repository(check.repository) as api:
            if not self._github.is_app:
                await self._write_status(api, check)
                return CheckWritten()
            data = self._check_run_data(api, check)
            there = await self._find_check_run(api, check)
            if there is None:
                made = {**data, "name": CHECK_NAME, "head_sha": check.commit}
                await api.post("/check-runs", made, "writing the check run")
            elif not _is_unchanged(there, data):
                await api.patch(f"/check-runs/{there['id']}", data, "editing the check run")
            return CheckWritten()

    def _check_run_data(self, api: RepositoryApi, check: CheckInput) -> dict[str, Any]:
        data: dict[str, Any] = {
            "external_id": check.run,
            "status": check.status,
            "output": {
                "title": cut_text(api.redact(check.title), _MAX_TITLE),
                "summary": cut_text(api.redact(check.summary), SUMMARY_LIMIT),
            },
        }
        if check.status == "completed":
            data["conclusion"] = check.conclusion or "neutral"
        if check.link:
            data["details_url"] = check.link
        return data

    async def _find_check_run(self, api: RepositoryApi, check: CheckInput) -> Any:
        path = f"/commits/{check.commit}/check-runs?check_name={CHECK_NAME}&filter=latest&per_page=100"
        runs = await api.list_items(path, "looking for our check run", max_items=100, key="check_runs")
        ours = [run for run in runs if run.get("external_id") == check.run and run.get("name") == CHECK_NAME]
        return max(ours, key=lambda run: int(run["id"]), default=None)

    async def _write_status(self, api: RepositoryApi, check: CheckInput) -> None:
        state = "pending" if check.status != "completed" else _STATES[check.conclusion or "neutral"]
        description = cut_text(api.redact(check.title), _MAX_DESCRIPTION)
        path = f"/commits/{check.commit}/statuses?per_page=100"
        for there in await api.list_items(path, "looking for our commit status", max_items=100):
            if there.get("context") == CHECK_NAME:
                if (there.get("state"), there.get("description")) == (state, description):
                    return
                break  # the newest comes first
        data = {"state": state, "context": CHECK_NAME, "description": description}
        if check.link:
            data["target_url"] = check.link
        await api.post(f"/statuses/{check.commit}", data, "writing the commit status")


def _is_unchanged(there: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether a check run has these values already."""
    output = there.get("output") or {}
    return (
        there.get("status") == data["status"]
        and there.get("conclusion") == data.get("conclusion")
        and output.get("title") == data["output"]["title"]
        and output.get("summary") == data["output"]["summary"]
    )
