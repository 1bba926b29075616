"""SIGKILL of the worker in the middle of things: the run finishes, and nothing that was committed is done again."""

import asyncio
import collections
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from baton.contracts import RunStatus
from standin.scenario import Fault, Scenario, Step
from tests.conftest import assert_eventually
from tests.pipelines.processes import WorkerProcess
from tests.pipelines.repositories import git
from tests.pipelines.scripts import bash, made, plan, reviewed, scenario, session, task, tested, write


def script(*, slow_model: bool = False, slow_tool: bool = False) -> Scenario:
    """A task with a file and a shell command; slow at the place where the worker is to be killed."""
    pause = "touch src/started; sleep 4; " if slow_tool else ""
    second = Step(calls=[bash(f"{pause}echo line >> src/log.txt")], faults=[Fault(delay=3.0)] if slow_model else [])
    return scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/one.txt", "one\n")], second, [bash("rm -f src/started")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )


@pytest.fixture
def worker_log(tmp_path: Path) -> Iterator[Path]:
    log = tmp_path / "worker.log"
    yield log
    if log.exists():
        print(log.read_text()[-3_000:])


@pytest.mark.parametrize("moment", ["model", "tool"])
async def test_the_worker_is_killed(staged, worker_log: Path, moment: str, service) -> None:  # type: ignore[no-untyped-def]
    chosen = script(slow_model=moment == "model", slow_tool=moment == "tool")
    async with staged(chosen, worker=False) as stage:
        worker = WorkerProcess(stage.settings, service.address, worker_log)
        worker.start()
        try:
            handle = await stage.start()

            def in_the_middle() -> bool:
                if moment == "model":
                    return ("t1", "backend", 1, 2) in stage.asked()
                return any(stage.settings.home.glob("workspaces/**/src/started"))

            await assert_eventually(in_the_middle, within=timedelta(seconds=40))
            await asyncio.sleep(0.5)
            worker.kill()
            killed = asyncio.get_running_loop().time()
            worker.start()
            before = len(stage.standin.requests)
            await assert_eventually(lambda: len(stage.standin.requests) > before, within=timedelta(seconds=30))
            print(f"went on {asyncio.get_running_loop().time() - killed:.1f} s after the kill")
            document = await stage.outcome(handle)
        finally:
            worker.stop()

    assert document.status is RunStatus.DONE, document
    assert git(stage.repo, "show", f"{document.branch}:src/log.txt") == "line"
    assert git(stage.repo, "show", f"{document.branch}:src/one.txt") == "one"
    times = collections.Counter(stage.asked())
    repeated = {call: count for call, count in times.items() if count > 1}
    # At most the one call that was in flight is made again; a committed answer never is.
    assert repeated in ({}, {("t1", "backend", 1, 2): 2}), repeated
    if moment == "tool":
        assert repeated == {}
