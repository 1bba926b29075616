"""The Messages API dies in the middle of an answer: soon back, or away for so long that a person is asked."""

import asyncio
import json
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from baton.records.run import Decide, RunStatus
from standin.script.scenario import Scenario
from tests.conftest import HANGS, assert_eventually
from tests.faults.conftest import Scenes
from tests.faults.scene import script
from tests.support.forked import ForkServer, inherited_environment
from tests.support.ports import reserve_port
from workflows.pipeline import Pipeline


def dumped(scenario: Scenario) -> str:
    return yaml.safe_dump(scenario.model_dump(mode="json", exclude_defaults=True))


async def requests(port: int) -> list[dict[str, Any]]:
    """What a stand-in was asked; nothing where none listens."""

    def read() -> list[dict[str, Any]]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/standin/requests", timeout=HANGS.total_seconds()
            ) as answer:
                return list(json.load(answer)["requests"])
        except OSError:
            return []

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("back", ["at once", "after a decision"])
async def test_the_model_dies_in_mid_stream(scenes: Scenes, workers: ForkServer, tmp_path: Path, back: str) -> None:
    port, log = reserve_port(), tmp_path / "standin.log"
    played = tmp_path / "played.yaml"
    # It dies before the answer ends, however late the test hears of the request; its successor is quick.
    played.write_text(dumped(script(thinking=HANGS.total_seconds())))
    standin = workers.start_logged(inherited_environment(), log, be="standin", scenario=str(played), port=port)
    async with scenes("run", script(), ANTHROPIC_BASE_URL=f"http://127.0.0.1:{port}") as scene:
        handle = await scene.start_run()
        worker = await scene.worker()
        before: list[dict[str, Any]] = []

        async def streaming() -> bool:
            before[:] = await requests(port)
            return any((r["role"], r["turn"], r["status"]) == ("backend", 2, 200) for r in before)

        await assert_eventually(streaming)
        if back == "at once":
            worker.send_signal(signal.SIGSTOP)  # so that its attempts are not over before the model is back
        await standin.kill()
        played.write_text(dumped(script()))
        if back == "after a decision":

            async def waiting() -> bool:
                return (await handle.query(Pipeline.state)).status is RunStatus.WAITING

            await assert_eventually(waiting)
        standin = workers.start_logged(inherited_environment(), log, be="standin", scenario=str(played), port=port)
        await assert_eventually(lambda: _listens(port))
        worker.send_signal(signal.SIGCONT)
        if back == "after a decision":
            (decision,) = await handle.query(Pipeline.decisions)
            assert "cannot be reached" in decision.question
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
        document = await scene.wait_for_document(handle)
        after = await requests(port)
        assert document.status is RunStatus.DONE, (document, scene.log())
        assert len(document.decisions) == (1 if back == "after a decision" else 0)
        assert await standin.stop() in (0, -signal.SIGTERM)

    asked = [(r["task"], r["role"], r["round"], r["turn"]) for r in [*before, *after]]
    assert [one for one in set(asked) if asked.count(one) > 1] == [("t1", "backend", 1, 2)]
    assert asked.count(("t1", "backend", 1, 2)) == 2


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
