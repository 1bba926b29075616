"""The stand-in as a process of its own, its control endpoints, and ports that are taken."""

import asyncio
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from baton.errors import UsageError
from standin import Scenario, ScriptedStep, serve_scenario
from tests.conftest import HANGS
from tests.standin.conftest import request

SCENARIO = """
name: alone
steps:
  - {text: "Turn ${turn}.", repeat: 5}
"""
KEY = {"authorization": "Bearer sk-secret-key", "anthropic-version": "2026-10-21"}
START = "import sys; from standin.server.server import run_forever; run_forever(sys.argv[1])"


@asynccontextmanager
async def alone(scenario: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx2.AsyncClient]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", START, str(scenario), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), HANGS.total_seconds())).decode()
        [url] = [word for word in line.split() if word.startswith("http://")]
        async with httpx2.AsyncClient(base_url=url, timeout=HANGS.total_seconds()) as client:
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_runs_alone_and_tells_what_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "alone.yaml"
    path.write_text(SCENARIO)
    async with alone(path) as (process, client):
        for turn in (1, 2, 2):
            answer = await client.post("/v1/messages", json=request(), headers=KEY | {"x-baton-turn": str(turn)})
            assert answer.json()["content"][0]["text"] == f"Turn {turn}."
        assert (await client.post("/v1/messages", json=request(), headers=KEY)).status_code == 400
        log = (await client.get("/standin/requests")).json()
        assert (log["count"], log["whole"], log["refused"]) == (4, 3, 1)
        assert [entry["turn"] for entry in log["requests"]] == [1, 2, 2, None]
        assert [entry["attempt"] for entry in log["requests"]] == [1, 1, 2, 0]
        assert log["cost_usd"] == pytest.approx(sum(entry["cost_usd"] for entry in log["requests"]))
        assert log["cost_usd"] > 0
        assert log["usage"]["output_tokens"] == sum(entry["usage"]["output_tokens"] for entry in log["requests"])
        assert "sk-secret-key" not in str(log)
        assert (await client.post("/standin/reset")).json() == {"reset": True}
        log = (await client.get("/standin/requests")).json()
        assert (log["count"], log["cost_usd"], log["requests"]) == (0, 0.0, [])
        assert (await client.get("/standin/reset")).status_code == 404, "looking changes nothing"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), HANGS.total_seconds()) == 0
        assert process.stderr is not None
        assert (await process.stderr.read()).decode() == ""


async def test_a_port_that_is_taken() -> None:
    scenario = Scenario(default=ScriptedStep(text="x"))
    async with serve_scenario(scenario) as standin:
        port = int(standin.base_url.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}: .* Choose another port"):
            async with serve_scenario(scenario, port=port):
                pass


async def test_bodies_are_kept_where_asked(raw: Any) -> None:
    for keep in (False, True):
        async with (
            serve_scenario(Scenario(default=ScriptedStep(text="x")), keep_bodies=keep) as standin,
            raw(standin) as client,
        ):
            await client.post(request())
            assert standin.requests[0].body == (request() if keep else None)


async def test_ipv6() -> None:
    async with serve_scenario(Scenario(default=ScriptedStep(text="x")), host="::1") as standin:
        assert standin.base_url.startswith("http://[::1]:")
        async with httpx2.AsyncClient(base_url=standin.base_url) as client:
            assert (await client.post("/v1/messages", json=request(), headers=KEY)).status_code == 200


async def test_the_time_for_a_conversation_grows_with_its_length(raw: Any) -> None:
    """10 MB of history, as after 500 turns with 20 kB each: well under a second."""
    bodies = {turns: conversation(turns) for turns in (250, 500)}
    async with serve_scenario(Scenario(default=ScriptedStep(text="x"))) as standin, raw(standin) as client:
        assert "prompt is too long" in (await client.post(bodies[500])).text
    wide = Scenario(default=ScriptedStep(text="x"), context_window=5_000_000)
    taken: dict[int, list[float]] = {turns: [] for turns in bodies}
    async with serve_scenario(wide) as standin, raw(standin) as client:
        for _ in range(3):
            for turns, body in bodies.items():
                began = time.process_time()
                answer = await client.post(body)
                taken[turns].append(time.process_time() - began)
                assert answer.status_code == 200, answer.text
    once, twice = (statistics.median(taken[turns]) for turns in bodies)
    assert twice < 3 * once


def conversation(turns: int) -> dict[str, Any]:
    """A request whose conversation has this many turns with a long tool result each."""
    history: list[dict[str, Any]] = [{"role": "user", "content": "Begin."}]
    for turn in range(turns):
        call = {"type": "tool_use", "id": f"toolu_{turn}", "name": "Bash", "input": {"command": "cat log"}}
        result = {"type": "tool_result", "tool_use_id": f"toolu_{turn}", "content": "line\n" * 4_000}
        history += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return request(messages=history, cache_control={"type": "ephemeral"})
