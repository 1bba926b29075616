"""Real runs from the command line: the scripted model on a real socket, real server, git, sandbox and tests."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pygit2
import pytest

from baton import identifiers
from baton.settings.core import read_settings
from standin.server.app import StandIn
from tests.cli.conftest import Cli, Result, finish, nothing_runs
from tests.conftest import HANGS, assert_eventually
from workers.embedded.server import use_embedded_server
from workspaces.store.store import Store

pytestmark = pytest.mark.server


def document(result: Result) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(result.out)
    return data


FIRST_FIELDS = ["run", "status", "repo", "base_commit", "branch", "head_commit", "cost_usd", "turns", "tasks"]


async def test_a_run_waits_for_a_decision_and_goes_on_after_it(
    scripted: Cli, repository: Path, standin: StandIn, run_id: str
) -> None:
    """The whole way of a person without a terminal: run, 3, show, decide, watch, 0, log, diff."""
    checkout = pygit2.Repository(str(repository))
    (repository / "orders" / "draft.py").write_text("unfinished = True\n")
    head = str(checkout.head.target)

    waiting = await scripted("run", "Add pagination", "--repo", ".", "--run-id", run_id, "--json", cwd=repository)
    assert waiting.code == 3, waiting
    found = document(waiting)
    assert list(found)[: len(FIRST_FIELDS)] == FIRST_FIELDS
    assert (found["run"], found["status"], found["base_commit"]) == (run_id, "waiting", head)
    assert found["repo"] == str(repository)
    assert any("uncommitted" in note for note in found["notes"])
    assert [task["state"] for task in found["tasks"]] == ["done", "waiting"]
    assert "decision D1" in waiting.err
    await assert_eventually(lambda: nothing_runs(scripted.home))

    # The commands share one server, so that none of them has to start its own.
    async with use_embedded_server(read_settings(home=scripted.home)):
        listed = json.loads((await scripted("list", "--json", "--status", "waiting")).out)
        assert [(row["run"], row["status"], row["pending_decisions"]) for row in listed] == [(run_id, "waiting", 1)]
        assert list(listed[0])[: len(FIRST_FIELDS) - 1] == FIRST_FIELDS[:-1]
        assert (listed[0]["repo"], listed[0]["base_commit"]) == (str(repository), head)
        shown = document(await scripted("show", run_id, "--json"))
        assert shown["status"] == "waiting"
        assert shown["decisions"][0]["state"] == "open"
        assert shown["web_ui"].endswith(f"/workflows/{run_id}")
        assert f"baton decide {run_id} D1" in (await scripted("show", run_id)).out

        again = await scripted("run", "x", "--repo", str(repository), "--run-id", run_id)
        assert (again.code, again.out) == (2, "")
        assert f"There is a run {run_id} already" in again.err

        refused = await scripted("decide", run_id, "D1", "maybe")
        assert (refused.code, refused.out) == (2, "")
        assert "has no choice 'maybe'; choose one of: url, local-storage, retry, skip, abort." in refused.err

        answered = await scripted("decide", run_id, "d1", "URL", "--note", "links", "--by", "ada", "--json")
        assert answered.code == 0, answered
        assert document(answered)["choice"] == "url"
        assert "baton up" in answered.err
        # Nobody is at work, and the answer is seen all the same.
        (decision,) = json.loads((await scripted("show", run_id, "--decisions", "--json")).out)
        assert (decision["state"], decision["choice"]) == ("answered", "url")
        twice = await scripted("decide", run_id, "D1", "local-storage")
        assert twice.code == 2
        assert "answered already by ada: url" in twice.err

    asked = len(standin.requests)
    done = await scripted("watch", run_id, "--json")
    assert done.code == 0, done
    final = document(done)
    assert final["status"] == "done"
    assert final["decisions"][0] | {"choice": "url", "note": "links", "by": "ada"} == final["decisions"][0]
    assert final["gate"]["exit_code"] == 0
    assert final["gate"]["commit"] == final["head_commit"]
    assert len(standin.requests) > asked
    branch = checkout.lookup_reference(f"refs/heads/baton/{run_id}")
    assert str(branch.target) == final["head_commit"]
    assert str(checkout.head.target) == head
    assert (repository / "orders" / "draft.py").exists()

    # What is over can be looked at without any worker, and is the same everywhere.
    async with use_embedded_server(read_settings(home=scripted.home)):
        assert document(await scripted("show", run_id, "--json")) | {"web_ui": ""} == final | {"web_ui": ""}
        assert document(await scripted("show", run_id, "--state")) | {"web_ui": ""} == final | {"web_ui": ""}
        assert (await scripted("watch", run_id)).code == 0
        log = (await scripted("log", run_id, "--task", "t2")).out
        assert "t2: frontend, round 1" in log
        assert "> escalate" in log
        entries = json.loads((await scripted("log", run_id, "--task", "t1", "--session", "1-backend", "--json")).out)
        assert {entry["session"] for entry in entries} == {"1-backend"}
        assert [entry["side"] for entry in entries[:2]] == ["user", "assistant"]
        assert "has no task 't9'" in (await scripted("log", run_id, "--task", "t9")).err
        unheld = await scripted("log", run_id, "--task", "t2", "--session", "9-backend")
        assert (unheld.code, unheld.out) == (2, "")
        assert "has no session '9-backend'; it has: 1-frontend, 1-tester, 1-reviewer." in unheld.err
        change = json.loads((await scripted("diff", run_id, "--json")).out)
        assert change["commit"] == final["head_commit"]
        assert {"orders/api.py", "web/app.js"} <= {file["path"] for file in change["files"]}
        patch = await scripted("diff", run_id)
        await apply(patch.out, repository)
        assert (await scripted("diff", run_id, "--stat")).out.count("\n") == len(change["files"])
        # A fork keeps what was paid for; a point that is not there is one sentence.
        unknown = await scripted("fork", run_id, "--task", "t1", "--turn", "99")
        assert (unknown.code, unknown.out) == (2, "")
        assert "has no turn 99 of the session 1-backend" in unknown.err
        midway = await scripted("fork", run_id, "--task", "t1", "--turn", "1", "--model", "backend=opus")
        assert midway.code == 2
        assert "A session keeps its model to its end" in midway.err
        for amount in ("inf", "1e9"):
            endless = await scripted("fork", run_id, "--max-usd", amount)
            assert (endless.code, endless.out) == (2, "")
            assert "The --max-usd is invalid" in endless.err
        own = f"{run_id}-fork"
        review = ("--task", "t2", "--session", "1-reviewer", "--model", "reviewer=haiku")
        again = await scripted("fork", run_id, *review, "--run-id", own, "--no-publish", "--json")
        assert again.code == 0, again
        assert document(again)["forked_from"] == {"run": run_id, "task": "t2", "session": "1-reviewer", "turn": 0}
        assert 0 < document(again)["cost_usd"] < final["cost_usd"]
        assert f"baton diff {own} --against {run_id}" in again.err
        assert json.loads((await scripted("diff", own, "--against", run_id, "--json")).out)["files"] == []
        late = await scripted("guide", run_id, "hello")
        assert late.code == 2
        assert "has ended" in late.err
    await assert_eventually(lambda: nothing_runs(scripted.home))


async def test_a_deadline_with_a_default_is_waited_for(scripted: Cli, repository: Path, run_id: str) -> None:
    """Without a terminal `run` leaves a question open, unless the run goes on by itself."""
    unanswered = ("--decision-default", "skip", "--decision-deadline", "2s")
    ended = await scripted(
        "run", "Add pagination", "--repo", str(repository), "--run-id", run_id, *unanswered, "--json"
    )
    assert ended.code == 0, ended
    (decision,) = document(ended)["decisions"]
    assert (decision["choice"], decision["by"]) == ("skip", "deadline")
    assert "UTC, skip is taken" in ended.err


async def apply(patch: str, repository: Path) -> None:
    """The printed patch is one that git takes."""
    process = await asyncio.create_subprocess_exec(
        "git", "apply", "--check", "-", cwd=repository, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate(patch.encode())
    assert process.returncode == 0, err.decode()


async def test_a_detached_run_is_worked_on_by_up_and_stopped(
    scripted: Cli, repository: Path, standin: StandIn, run_id: str
) -> None:
    caps = {"usd": 50.0, "usd_per_task": 40.0, "usd_per_session": 30.0, "usd_per_day": 90.0, "turns": 60}
    caps |= {"turns_per_task": 200, "turns_per_run": 300, "turns_per_day": 900, "rounds": 3, "parallel": 2}
    given = [word for name, cap in caps.items() for word in (f"--max-{name.replace('_', '-')}", str(cap))]
    where = ("--repo", str(repository), "--run-id", run_id, "--max-wall-clock", "2h", *given)
    detached = await scripted("run", "Add pagination", *where, "--detach")
    assert (detached.code, detached.out) == (0, f"{run_id}\n")
    assert "baton up" in detached.err
    assert standin.requests == []
    await assert_eventually(lambda: nothing_runs(scripted.home))

    serving = await scripted.start("up", "--json")
    await assert_eventually(lambda: len(standin.requests) > 3)
    # A second command shares the server of the first.
    guided = await scripted("guide", run_id, "Keep the old parameters working")
    assert guided.code == 0, guided
    live = document(await scripted("show", run_id, "--json"))
    assert live["run"] == run_id
    assert live["cost_usd"] > 0
    assert [row["run"] for row in json.loads((await scripted("list", "--json")).out)] == [run_id]

    # So does a second worker; it says where it works once it is ready, and goes on.
    second = await scripted.start("worker", "--json")
    assert second.stdout is not None
    async with asyncio.timeout(HANGS.total_seconds()):
        ready = json.loads(await second.stdout.readuntil(b"\n}\n"))
    second.send_signal(signal.SIGTERM)
    assert await second.wait() == 0

    stopped = await scripted("stop", run_id, "--json")
    assert stopped.code == 0, stopped
    assert document(stopped)["status"] == "stopped"
    again = await scripted("stop", run_id)
    assert (again.code, again.out) == (0, f"{run_id} stopped\n")
    assert f"The run {run_id} has ended already." in again.err
    assert (await scripted("list")).out.split()[1] == "stopped"

    serving.send_signal(signal.SIGTERM)
    result = await finish(serving, within=HANGS.total_seconds())
    assert result.code == 0
    assert "Web UI http://127.0.0.1:" in result.err
    place = document(result)
    assert f"embedded server {place['address']}, Web UI {place['web_ui']}" in result.err
    assert (place["queue"], place["sandbox"]) == (f"baton-ws-{place['host']}", "bwrap")
    assert place.pop("webhook") is None
    assert ready == {**place, "build_id": None}
    await assert_eventually(lambda: nothing_runs(scripted.home))
    assert (await scripted("watch", run_id)).code == 1
    # The caps of the command line are those that the run works with.
    store = await Store.open(scripted.home, str(repository))
    begun = json.loads(
        await store.read_file(str(await store.read_head(identifiers.run_ref(run_id))), "request.json") or b""
    )
    assert {name: begun[name] for name in caps} == caps
    assert begun["wall_clock_seconds"] == 7_200


async def test_a_second_ctrl_c_ends_at_once(scripted: Cli, repository: Path, standin: StandIn, run_id: str) -> None:
    running = await scripted.start("run", "Add pagination", "--repo", str(repository), "--run-id", run_id)
    await assert_eventually(lambda: len(standin.requests) > 2)
    running.send_signal(signal.SIGINT)
    await asyncio.sleep(0.1)
    running.send_signal(signal.SIGINT)
    # Without the second one the worker would wait for its activities.
    assert (await finish(running, within=HANGS.total_seconds())).code == 130
    await assert_eventually(lambda: nothing_runs(scripted.home))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_run_that_is_terminated_or_hung_up_leaves_nothing_behind(
    scripted: Cli, repository: Path, standin: StandIn, run_id: str, number: signal.Signals, code: int
) -> None:
    running = await scripted.start("run", "Add pagination", "--repo", str(repository), "--run-id", run_id)
    await assert_eventually(lambda: len(standin.requests) > 2)
    running.send_signal(number)
    result = await finish(running, within=HANGS.total_seconds())
    assert (result.code, f"baton watch {run_id}" in result.err) == (code, True), result
    await assert_eventually(lambda: nothing_runs(scripted.home))


async def test_short_lived_commands_end_cleanly(cli: Cli) -> None:
    """The SDK's threads crash processes that end right after a call; no exit code but ours may be seen."""
    # The first has a server of its own to start and stop, the others share one.
    results = [await cli("list", "--json")]
    async with use_embedded_server(read_settings(home=cli.home)):
        for _ in range(7):
            results.append(await cli("list", "--json"))
    assert [(result.code, result.out, result.err) for result in results] == [(0, "[]\n", "")] * 8
