"""Several workers: who is at work, and how one that is told to stop hands its turn to another."""

import asyncio
import json
from pathlib import Path
from typing import Any

from baton.records.run import RunStatus
from standin.script.scenario import Fault, ScriptedStep
from tests.cli.conftest import Cli
from tests.conftest import assert_eventually
from tests.support.scripts import made, plan, reviewed, scenario, session, task, tested
from tests.support.worker_process import WorkerProcess
from workers.temporal_service import TemporalService


async def test_a_worker_that_is_told_to_stop_hands_its_turn_over(
    staged: Any, service: TemporalService, tmp_path: Path
) -> None:
    slow = ScriptedStep(calls=[made()], faults=[Fault(delay=3_600.0)])
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [slow]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script, worker=False) as stage:
        logs = [tmp_path / "first", tmp_path / "second"]
        first, second = (WorkerProcess(stage.settings, service.address, log) for log in logs)
        first.start()
        try:
            handle = await stage.start()
            await assert_eventually(lambda: bool(stage.asked("backend")))
            second.start()
            await assert_eventually(lambda: logs[1].exists() and "A worker is at work" in logs[1].read_text())
            cli = Cli(tmp_path / "home", TEMPORAL_ADDRESS=service.address)
            status = await cli("worker", "status", "--json")
            cli.env["BATON_WEB_UI"] = "https://temporal.example.org"
            lists = await cli("list", "--web")
            # It does not wait for the answer, which would take an hour: the turn goes back, and the other asks again.
            assert await asyncio.to_thread(first.stop) == 0
            document = await stage.outcome(handle)
        finally:
            first.stop()
            second.stop()

    assert document.status is RunStatus.DONE, document
    assert (document.errors, document.decisions) == ([], [])
    assert len(stage.asked("backend")) == 2
    assert "Stopped. Open runs go on elsewhere." in logs[0].read_text()
    told = json.loads(status.out)
    found = {seen["identity"].partition("@")[0]: seen for seen in told["workers"]}
    for worker in (first, second):
        assert found[str(worker.pid)]["at_work"]
    # Two processes of one home are one host.
    assert found[str(first.pid)]["host"] == found[str(second.pid)]["host"]
    assert status.code == 0
    assert "waiting for a person   https://temporal.example.org/namespaces/default/workflows?query=" in lists.out
