"""What is read from GitHub: who may trigger, what was said before, why a check failed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import ActivityEnvironment

from activities.github.client import GitHubClient, make_http_client
from activities.github.reads import GitHubReadActivities
from baton.records.issue import CheckEvent, Repository, Sender
from baton.steps.github import CheckPermissionInput, ReadCommentsInput, ReadFailureInput, ReadPullInput
from tests.support.github.emulator import OWNER
from tests.support.github.world import World


class Reader:
    """The activities of one repository, as a worker would call them."""

    def __init__(self, world: World, activities: GitHubReadActivities) -> None:
        self.world = world
        self.repository = Repository(owner=OWNER, name=world.name, clone_url=world.clone_url, installation=100)
        self._activities = activities

    async def run(self, name: str, argument: Any) -> Any:
        return await ActivityEnvironment().run(getattr(self._activities, name), argument)

    async def failure(self, **check: Any) -> str:
        known = {"branch": "baton/issue-1-x", "commit": "a" * 40, "name": "build", "outcome": "failed", "id": 77}
        asked = ReadFailureInput(repository=self.repository, check=CheckEvent.model_validate({**known, **check}))
        return str((await self.run("read_failure", asked)).text)


@pytest_asyncio.fixture
async def reader(bare_world: World) -> AsyncIterator[Reader]:
    async with make_http_client() as http:
        github = GitHubClient(bare_world.settings, http)
        yield Reader(bare_world, GitHubReadActivities(github, frozenset({"renovate[bot]"})))


@pytest.mark.parametrize(
    ("login", "bot", "allowed"),
    [
        (OWNER, False, True),
        ("ben", False, True),
        ("eve", False, False),
        ("nobody-of-that-name", False, False),
        ("../../ada", False, False),
        ("", False, False),
        ("renovate[bot]", True, True),
        ("Renovate[bot]", False, True),
        ("dependabot[bot]", True, False),
        ("ada", True, False),
    ],
)
async def test_who_may_ask(reader: Reader, login: str, bot: bool, allowed: bool) -> None:
    asks = CheckPermissionInput(repository=reader.repository, sender=Sender(login=login, bot=bot))
    assert (await reader.run("check_permission", asks)).allowed is allowed


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        ({"permission": "read", "role_name": "triage"}, False),
        ({"permission": "none"}, False),
        ({}, False),
        ({"permission": "write", "role_name": "maintain"}, True),
        ({"permission": "write", "role_name": "release-managers"}, True),
        ({"permission": "admin", "role_name": "admin"}, True),
    ],
)
async def test_what_githubs_words_for_permissions_mean(reader: Reader, answer: dict[str, str], allowed: bool) -> None:
    path = f"/repos/{reader.world.full_name}/collaborators/carl/permission"
    reader.world.hub.answers[path] = answer
    asks = CheckPermissionInput(repository=reader.repository, sender=Sender(login="carl"))
    assert (await reader.run("check_permission", asks)).allowed is allowed


async def test_earlier_comments_are_those_of_writers_unedited_and_from_before(reader: Reader) -> None:
    w = reader.world
    number = await w.issue(label=None)
    await w.comment(number, "Of a writer.\u200b<!-- hidden -->", who="ben")
    await w.comment(number, "Of a stranger.", who="eve")
    await w.comment(number, "<!-- baton-run: x -->\nOurs.")
    await w.comment(number, "/baton status")
    await w.comment(number, "Long: " + "x" * 9_000, who="ben")
    asked = ReadCommentsInput(repository=reader.repository, number=number, before=datetime.now(UTC))
    said = (await reader.run("read_comments", asked)).text
    assert said.startswith("Comment of ben:\nOf a writer.\n\nComment of ben:\nLong: xxx")
    assert len(said) < 4_200
    # Whether the run is wanted still: the label is there, however it is written, and the issue is open.
    await w.api("POST", f"/issues/{number}/labels", {"labels": ["Go"]})
    for change, withdrawn in (({"label": "go"}, ""), ({"label": "baton"}, "label"), ({}, "")):
        assert withdrawn in (await reader.run("read_comments", asked.model_copy(update=change))).withdrawn
    await w.api("PATCH", f"/issues/{number}", {"state": "closed"})
    assert "closed before" in (await reader.run("read_comments", asked)).withdrawn
    # Where it was closed when somebody asked, it may stay so.
    asked = asked.model_copy(update={"closed": True})
    assert (await reader.run("read_comments", asked)).withdrawn == ""
    later = asked.model_copy(update={"before": datetime.now(UTC) - timedelta(minutes=1)})
    assert (await reader.run("read_comments", later)).text == ""


async def test_the_log_of_a_failure_comes_from_where_it_is(reader: Reader) -> None:
    w = reader.world
    w.hub.logs = {77: "a\n" * 20_000 + "token ghp_" + "x" * 36 + "\nthe end", 78: "of job 78"}
    root = f"/repos/{w.full_name}"
    w.hub.answers = {
        f"{root}/actions/runs/9/jobs": {"jobs": [{"id": 78, "conclusion": "failure"}, {"id": 79, "conclusion": "ok"}]},
        f"{root}/check-suites/5/check-runs": {
            "check_runs": [
                {"id": 77, "conclusion": "failure", "app": {"slug": "github-actions"}},
                {"id": 78, "conclusion": "failure", "app": {"slug": "other"}},
            ]
        },
    }
    log = await reader.failure(app="github-actions", title="build failed")
    assert log.startswith("build failed\n\n")
    assert log.endswith("***\nthe end")
    assert len(log) < 6_200
    assert await reader.failure(source="workflow_run", id=9) == "of job 78"
    assert (await reader.failure(source="check_suite", id=5)).endswith("the end")
    # What another App says, a job without a log, and a workflow that is none of ours to see.
    assert await reader.failure(app="ci", summary="2 tests failed") == "2 tests failed"
    assert await reader.failure(app="github-actions", id=404, title="gone") == "gone"
    assert await reader.failure(source="workflow_run", id=404, title="denied") == "denied"


async def test_a_pull_request_of_a_fork_has_no_branch_of_ours(reader: Reader) -> None:
    w = reader.world
    head = {"ref": "baton/issue-1-x", "repo": {"full_name": "eve/shop"}}
    w.hub.answers[f"/repos/{w.full_name}/pulls/5"] = {"number": 5, "state": "open", "head": head, "draft": False}
    pull = await reader.run("read_pull", ReadPullInput(repository=reader.repository, number=5))
    assert (pull.branch, pull.state, pull.merged) == ("", "open", False)
