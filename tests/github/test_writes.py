"""Each write, tried again after an answer that did not tell what had come of it, writes nothing twice."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.github.checks import CheckActivities
from activities.github.client import GitHubClient, make_http_client
from activities.github.writes import GitHubWriteActivities
from baton.records.issue import Repository
from baton.settings.core import Settings
from baton.steps.github import CheckInput, CommentInput, PullInput, ReactionInput
from tests.support.github.emulator import BOT, OWNER, token_of
from tests.support.github.hub import Fault
from tests.support.github.world import World

COMMIT = "a" * 40
BRANCH = "baton/issue-1-add-pages"
LOST = {"status": 502, "after": True}


@dataclass
class Writer:
    """The activities of one repository, as a worker would call them."""

    world: World
    github: GitHubClient
    number: int

    @property
    def repository(self) -> Repository:
        return Repository(owner=OWNER, name=self.world.name, clone_url=self.world.clone_url, installation=100)

    async def run(self, method: Any, argument: Any) -> Any:
        return await ActivityEnvironment().run(method, argument)

    async def comment(self, body: str, **more: Any) -> Any:
        asked = CommentInput(repository=self.repository, number=self.number, run="gh-run-1", body=body, **more)
        return await self.run(GitHubWriteActivities(self.github).write_comment, asked)

    async def pull(self, body: str = "body", **more: Any) -> Any:
        asked = PullInput(repository=self.repository, branch=BRANCH, base="main", title="Title", body=body, **more)
        return await self.run(GitHubWriteActivities(self.github).write_pull, asked)

    async def check(self, conclusion: str | None = "success", **more: Any) -> Any:
        fields = {"title": "Tests succeed", "summary": "all of them", **more}
        if conclusion is None:
            fields["status"] = "in_progress"
        asked = CheckInput.model_validate(
            {"repository": self.repository, "commit": COMMIT, "run": "gh-run-1", "conclusion": conclusion, **fields}
        )
        return await self.run(CheckActivities(self.github).write_check, asked)


@pytest_asyncio.fixture
async def writer(bare_world: World) -> AsyncIterator[Writer]:
    async with make_http_client() as http:
        yield Writer(bare_world, GitHubClient(bare_world.settings, http), await bare_world.issue(label=None))


def failed(error: pytest.ExceptionInfo[ApplicationError]) -> str:
    return f"{error.value.type} {error.value.message}"


async def test_the_comment_is_written_once_and_edited_in_place(writer: Writer) -> None:
    w = writer.world
    # Somebody copies the marker into a comment of theirs: it is not taken for ours.
    await w.comment(writer.number, "<!-- baton-run: gh-run-1 -->\nI am Baton", who="eve")
    w.hub.faults = [Fault(rf".*/issues/{writer.number}/comments", method="POST", **LOST)]  # type: ignore[arg-type]
    with pytest.raises(ApplicationError) as lost:
        await writer.comment("first")
    assert failed(lost).startswith("GitHubAway GitHub is in trouble")
    assert not lost.value.non_retryable
    there = await writer.comment("first")
    assert [comment["body"] for comment in await w.comments(writer.number)] == ["<!-- baton-run: gh-run-1 -->\nfirst"]
    assert (await writer.comment("second", comment=there.id)).id == there.id
    assert (await writer.comment("third")).id == there.id
    assert (await w.says(writer.number)).endswith("third")
    # A person deletes it: there is one again.
    await w.api("DELETE", f"/issues/comments/{there.id}")
    assert (await writer.comment("fourth", comment=there.id)).id != there.id
    assert (await w.says(writer.number)).endswith("fourth")
    # What is posted holds no secret, and is not longer than GitHub takes.
    key = w.settings.github_private_key
    assert key is not None
    await writer.comment(f"{key.get_secret_value()} {w.hub.minted[-1]} password=hunter22 " + "x" * 70_000)
    said = await w.says(writer.number)
    assert len(said) <= 65_536
    assert "hunter22" not in said
    assert "PRIVATE KEY" not in said
    assert w.hub.minted[-1] not in said


async def test_reactions_are_there_once(writer: Writer) -> None:
    w = writer.world
    comment = await w.comment(writer.number, "/baton status")
    for _ in range(2):
        for target in (None, comment):
            react = ReactionInput(repository=writer.repository, number=writer.number, comment=target, content="eyes")
            await writer.run(GitHubWriteActivities(writer.github).react, react)
    mine = [reaction for reaction in w.hub.reactions if w.name in reaction[0]]
    root = f"/repos/{w.full_name}/issues"
    assert mine == [(f"{root}/{writer.number}", BOT, "eyes"), (f"{root}/comments/{comment}", BOT, "eyes")]


async def test_the_pull_request_is_opened_once(writer: Writer) -> None:
    w = writer.world
    w.hub.faults = [Fault(".*/pulls", method="POST", **LOST)]  # type: ignore[arg-type]
    with pytest.raises(ApplicationError):
        await writer.pull()
    first = await writer.pull()
    assert (first.draft, first.state, first.branch) == (True, "open", BRANCH)
    # Two attempts at once: the look of one comes before the write of the other.
    w.hub.faults = [Fault(".*/pulls", method="GET", status=200, status_kept=True)]
    again = await writer.pull("a longer body", number=first.number)
    assert again.number == first.number
    assert [pull["body"] for pull in await w.pulls()] == ["a longer body"]
    # A pull request that a person closed is neither opened again nor edited, and there is no second one.
    await w.api("PATCH", f"/pulls/{first.number}", {"state": "closed"})
    closed = await writer.pull("yet another body")
    assert (closed.number, closed.state, closed.merged) == (first.number, "closed", False)
    assert [pull["body"] for pull in await w.pulls()] == ["a longer body"]


async def test_a_pull_request_that_comes_between_look_and_write(writer: Writer) -> None:
    """GitHub refuses the second one with 422; then the first is found."""
    w = writer.world
    await writer.pull()
    w.hub.hidden_pulls = 1
    assert (await writer.pull("a new body")).number == (await w.pulls())[0]["number"]
    assert len(await w.pulls()) == 1


async def test_without_drafts_it_is_opened_ready(writer: Writer) -> None:
    message = "Draft pull requests are not supported in this repository."
    writer.world.hub.faults = [Fault(".*/pulls", method="POST", status=422, message=message)]
    await writer.pull()
    assert len(await writer.world.pulls()) == 1


async def test_the_check_run_is_made_once_and_concluded(writer: Writer) -> None:
    w = writer.world
    w.hub.faults = [Fault(".*/check-runs", method="POST", **LOST)]  # type: ignore[arg-type]
    with pytest.raises(ApplicationError):
        await writer.check(None)
    running = await writer.check(None)
    before = len(w.hub.requests)
    await writer.check(None)
    assert not [method for method, _ in w.hub.requests[before:] if method == "PATCH"]
    assert await writer.check("success") == running
    (check,) = await w.checks(COMMIT)
    assert (check["name"], check["external_id"], check["conclusion"]) == ("Baton", "gh-run-1", "success")
    # Another run's check on the same commit is another one.
    await writer.check("failure", run="gh-run-2")
    assert [found["conclusion"] for found in await w.checks(COMMIT)] == ["success", "failure"]


async def test_a_token_writes_statuses_for_it_may_write_no_check_runs(writer: Writer) -> None:
    w = writer.world
    update = {"github_app_id": None, "github_private_key": None, "github_token": SecretStr(token_of(OWNER))}
    async with make_http_client() as http:
        writer.github = GitHubClient(w.settings.model_copy(update=update), http)
        for conclusion in (None, "success", "success"):
            await writer.check(conclusion, link="https://temporal.example.org/run")
        assert await writer.github.read_login() == OWNER
    states = [(status["state"], status["context"], status["target_url"]) for status in w.hub.statuses[COMMIT]]
    link = "https://temporal.example.org/run"
    assert states == [("success", "Baton", link), ("pending", "Baton", link)]
    assert await w.checks(COMMIT) == []


@pytest.mark.parametrize(
    ("fault", "kind", "final"),
    [
        ({"status": 401, "message": "Bad credentials"}, "GitHubDenied", True),
        ({"status": 403, "message": "Resource not accessible by integration"}, "GitHubDenied", True),
        ({"status": 403, "message": "Unable to create comment because issue is locked."}, "GitHubRefused", True),
        ({"status": 404, "message": "Not Found"}, "GitHubRefused", True),
        ({"status": 422, "message": "Validation Failed"}, "GitHubRefused", True),
        ({"status": 301, "message": "Moved Permanently"}, "GitHubRefused", True),
        ({"status": 500}, "GitHubAway", False),
        ({"status": 503}, "GitHubAway", False),
        ({"status": 403, "message": "You have exceeded a secondary rate limit"}, "AskedToWait 60", True),
        ({"status": 429, "message": "slow down", "headers": {"retry-after": "7"}}, "AskedToWait 8", True),
        (
            {"status": 403, "message": "no", "headers": {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9e9"}},
            "AskedToWait 4500",
            True,
        ),
    ],
    ids=lambda value: str(value.get("status", "")) if isinstance(value, dict) else None,
)
async def test_what_an_answer_means(writer: Writer, fault: dict[str, Any], kind: str, final: bool) -> None:
    writer.world.hub.faults = [Fault(".*/comments", method="GET", **fault)]
    with pytest.raises(ApplicationError) as error:
        await writer.comment("text")
    found = error.value
    seconds = f" {found.details[1]:.0f}" if found.type == "AskedToWait" else ""
    assert (f"{found.type}{seconds}", found.non_retryable) == (kind, final), found.message
    assert found.message.endswith((".", "`retry`."))


async def test_nobody_answers_and_answers_that_are_none(writer: Writer) -> None:
    away = writer.world.settings.model_copy(update={"github_api_url": "http://127.0.0.1:9"})
    async with make_http_client() as http:
        github = GitHubClient(away, http)
        with pytest.raises(ApplicationError, match="is unreachable") as error:
            await writer.run(
                GitHubWriteActivities(github).react,
                ReactionInput(repository=writer.repository, number=1, content="eyes"),
            )
        assert error.value.type == "GitHubAway"
        bad = writer.world.settings.model_copy(update={"github_private_key": SecretStr("-----BEGIN nothing")})
        with pytest.raises(ApplicationError, match="BATON_GITHUB_PRIVATE_KEY is not an App's private key"):
            await writer.run(
                GitHubWriteActivities(GitHubClient(bad, http)).react,
                ReactionInput(repository=writer.repository, number=1, content="eyes"),
            )
        none = Settings(home=away.home)
        with pytest.raises(ApplicationError, match="has no credential for GitHub"):
            await writer.run(
                GitHubWriteActivities(GitHubClient(none, http)).react,
                ReactionInput(repository=writer.repository, number=1, content="eyes"),
            )


async def test_each_operation_has_a_token_of_its_own_for_one_repository(writer: Writer) -> None:
    w = writer.world
    before = len(w.hub.minted)
    await writer.comment("one")
    await writer.comment("two")
    assert len(set(w.hub.minted[before:])) == 2
    assert w.hub.minted_for[before:] == [[w.name], [w.name]]
