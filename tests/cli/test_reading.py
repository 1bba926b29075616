"""Commands that only read: they start no server, answer from the stores of the home, and say so."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from baton import identifiers
from baton.records.run import Decision, RunDocument, RunStatus, TaskDocument
from tests.cli.conftest import Cli, Result, finish
from tests.workspaces.conftest import AT, Project, run_files
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.store.store import Store

DONE, WAITING = "shop-done-a1", "shop-waits-b2"
BEGAN = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Scene:
    """A home with two runs in a store, and no server."""

    def __init__(self, cli: Cli, store: Store, base: str, change: str) -> None:
        self.cli, self.store, self.base, self.change = cli, store, base, change
        self.heads: dict[str, str] = {}

    async def save(self, run: str, status: RunStatus, began: datetime) -> None:
        """Write the run's own files."""
        document = RunDocument(
            run=run, status=status, repo=self.store.repo, base_commit=self.base, task=f"task of {run}"
        )
        document.tasks = [TaskDocument(id="t1", title="x", role="backend")]
        document.started_at, document.cost_usd = began, 1.5
        if status is RunStatus.WAITING:
            document.decisions = [Decision(id="D1", question="Which?", choices=["retry", "skip"])]
        files = {**run_files(run, self.store.repo), "state.json": document.model_dump_json().encode()}
        ref = identifiers.run_ref(run)
        await self.store.commit_files(ref, expected=await self.store.read_head(ref), files=files, message="r", at=AT)

    async def add_message(self, run: str, number: int, text: str) -> None:
        """Add a message to the transcript of the run's task."""
        lane = Lane(run, "t1")
        before = self.heads.get(run) or await Checkpoints(self.store).begin_lane(lane, self.base, at=AT)
        turn: dict[str, Any] = {"turn": number, "message": {"role": "user", "content": text}}
        files = {f"transcript/1-backend/{number:05}-user.json": json.dumps(turn).encode()}
        self.heads[run] = await Checkpoints(self.store).record_checkpoint(
            lane, expected=before, files=files, workspace=None, summary="1", at=AT
        )


@pytest_asyncio.fixture(loop_scope="session")
async def scene(cli: Cli, tmp_path: Path) -> Scene:
    project = Project(tmp_path / "shop")
    base = project.commit({"README.md": b"x\n"}, "first")
    change = project.commit({"README.md": b"changed\n"}, "second")
    store = await Store.open(cli.home, str(project.path))
    await store.fetch_base(None)
    scene = Scene(cli, store, base, change)
    for run, status, began in ((DONE, RunStatus.DONE, BEGAN), (WAITING, RunStatus.WAITING, BEGAN + timedelta(days=1))):
        await scene.save(run, status, began)
        await store.move_ref(identifiers.integration_ref(run), change, expected=None)
        await scene.add_message(run, 1, f"words of {run}")
    return scene


async def test_they_answer_without_a_server(scene: Scene) -> None:
    cli = scene.cli
    listed = await cli("list", "--json")
    rows = json.loads(listed.out)
    assert [(row["run"], row["status"], row["pending_decisions"]) for row in rows] == [
        (WAITING, "waiting", 1),
        (DONE, "done", 0),
    ]
    assert (rows[1]["cost_usd"], rows[1]["base_commit"], rows[1]["unreadable"]) == (1.5, scene.base, None)
    shown = await cli("show", DONE, "--json")
    assert json.loads(shown.out)["status"] == "done"
    for result in (listed, shown):
        assert result.code == 0
        assert "No Temporal server runs" in result.err
        assert str(cli.home) in result.err
    assert [row["run"] for row in json.loads((await cli("list", "--status", "waiting", "--json")).out)] == [WAITING]
    assert (await cli("list", "--limit", "1")).out.startswith(f"{WAITING}  waiting, 1 to decide  $1.50  2026-11-02")
    assert "Which?" in (await cli("show", WAITING, "--decisions")).out
    assert f"words of {DONE}" in (await cli("log", DONE)).out
    assert "+changed" in (await cli("diff", DONE)).out
    checked = await cli("store", "check", "--json")
    assert (checked.code, json.loads(checked.out)["ok"]) == (0, True)
    assert (await cli("doctor", "--store", "--json")).out == checked.out
    repaired = await cli("store", "repair", "--json")
    assert (repaired.code, repaired.out) == (0, checked.out)
    unknown = await cli("show", "shop-unknown")
    assert (unknown.code, unknown.out) == (2, "")
    assert "known to the server only: `baton up` starts it" in unknown.err
    assert not (cli.home / "server").exists(), "none of them has started a server"


async def test_a_run_that_has_ended_is_stopped_already(scene: Scene) -> None:
    said = await scene.cli("stop", DONE)
    assert (said.code, said.out) == (0, f"{DONE} done\n")
    assert said.err == f"The run {DONE} has ended already.\n"
    assert json.loads((await scene.cli("stop", DONE, "--json")).out)["run"] == DONE
    assert not (scene.cli.home / "server").exists()


async def test_a_home_without_runs_has_none_and_none_is_missing(cli: Cli) -> None:
    assert await cli("list", "--json") == Result(0, "[]\n", "")


async def test_log_follows_until_the_run_ends(scene: Scene) -> None:
    following = await scene.cli.start("log", WAITING, "--follow")
    assert following.stdout is not None
    async with asyncio.timeout(120):
        first = await following.stdout.readuntil(f"words of {WAITING}\n".encode())
    assert b"=== t1: backend, round 1" in first
    await scene.add_message(WAITING, 2, "a second message")
    async with asyncio.timeout(120):
        second = await following.stdout.readuntil(b"a second message\n")
    assert b"===" not in second, "the heading of a session is printed once"
    assert b"words of" not in second
    await scene.add_message(WAITING, 3, "the last message")
    await scene.save(WAITING, RunStatus.DONE, BEGAN)
    ended = await finish(following)
    assert (ended.code, "the last message" in ended.out) == (0, True)
    assert f"The run {WAITING} has ended." in ended.err
    both = await scene.cli("log", WAITING, "--follow", "--json")
    assert (both.code, both.out) == (2, "")


@pytest.mark.parametrize("place", ["before", "after"])
async def test_quiet_and_verbose_change_stderr_alone(scene: Scene, place: str) -> None:
    def words(option: str) -> list[str]:
        command = ["stop", DONE, "--json"]
        return [option, *command] if place == "before" else [*command, option]

    said = {option: await scene.cli(*words(option)) for option in ("-q", "-v", "-vv", "--quiet", "--verbose")}
    plain = await scene.cli("stop", DONE, "--json")
    assert {result.out for result in said.values()} == {plain.out}
    assert "has ended already" in plain.err
    assert said["-q"].err == said["--quiet"].err == ""
    assert len(said["-vv"].err) >= len(said["-v"].err) >= len(plain.err)
    refused = await scene.cli(*(["-q", "show", "no/../run"] if place == "before" else ["show", "no/../run", "-q"]))
    assert (refused.code, refused.err.count("\n")) == (2, 1), "an error is written all the same"


async def test_config_lists_the_settings_and_doctor_checks_only(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ghp_" + "a1" * 18)
    cli.env |= {"ANTHROPIC_API_KEY": "sk-ant-canary-0000", "BATON_GITHUB_TOKEN_FILE": str(tmp_path / "token")}
    cli.env["BATON_USD_PER_RUN"] = "5"
    said = await cli("config", "--json")
    assert said.code == 0, said.err
    listed = {one["variable"]: one for one in json.loads(said.out)["settings"]}
    assert (listed["ANTHROPIC_API_KEY"]["value"], listed["ANTHROPIC_API_KEY"]["source"]) == ("***", "environment")
    assert (listed["BATON_GITHUB_TOKEN"]["value"], listed["BATON_GITHUB_TOKEN"]["source"]) == (
        "***",
        f"file ({tmp_path / 'token'})",
    )
    assert (listed["BATON_MAX_USD"]["value"], listed["BATON_MAX_USD"]["source"]) == (
        5.0,
        "environment (BATON_USD_PER_RUN)",
    )
    assert (listed["BATON_SANDBOX"]["value"], listed["BATON_SANDBOX"]["source"]) == ("auto", "default")
    assert (listed["TEMPORAL_ADDRESS"]["value"], listed["TEMPORAL_ADDRESS"]["source"]) == (
        "the embedded server",
        "default",
    )
    text = await cli("config")
    assert all(variable in text.out for variable in listed)
    assert "canary" not in said.out + text.out
    checked = await cli("doctor")
    assert "BATON_SANDBOX_NETWORK" not in checked.out
    cli.env["BATON_SANDBOX"] = "maybe"
    refused = await cli("config")
    assert (refused.code, "BATON_SANDBOX is invalid" in refused.err) == (2, True)
