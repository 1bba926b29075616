"""SIGKILL of the worker in the middle of things: the run finishes, and nothing that was committed is done again."""

import asyncio
import collections
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType

from baton.records.run import Guide, RunStatus
from standin.script.scenario import Scenario
from tests.conftest import assert_eventually
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, reviewed, scenario, session, task, tested, write
from tests.support.worker_process import WorkerProcess
from workflows.pipeline import Pipeline

MESSAGE = "Keep the old name of the log."


def script() -> Scenario:
    """A task with a file and a shell command that ends when the test says so."""
    slow = bash("touch src/started; until [ -e src/go ]; do sleep 0.05; done; rm src/started; echo line >> src/log.txt")
    return scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/one.txt", "one\n")], [slow], [bash("rm src/go")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )


@pytest.fixture
def worker_log(tmp_path: Path) -> Iterator[Path]:
    log = tmp_path / "worker.log"
    yield log
    if log.exists():
        print(log.read_text()[-3_000:])


async def open_the_gate(home: Path) -> None:
    """Let the command end, also where its workspace is put back once more before it begins again."""
    while True:
        for started in home.glob("workspaces/*/*/work/src/started"):
            started.with_name("go").touch()
        await asyncio.sleep(0.1)


@pytest.mark.sample
async def test_the_worker_is_killed_in_the_middle_of_a_command(staged, worker_log: Path, service) -> None:  # type: ignore[no-untyped-def]
    """And just after a person has said something to the agents."""
    async with staged(script(), worker=False) as stage:
        worker = WorkerProcess(stage.settings, service.address, worker_log)
        worker.start()
        try:
            handle = await stage.start()
            await assert_eventually(lambda: any(stage.settings.home.glob("workspaces/*/*/work/src/started")))
            # Whether the worker sees it or not: the message is the run's, and waits for the next turn.
            await handle.signal(Pipeline.guide, Guide(text=MESSAGE))
            worker.kill()
            worker.start()
            maker = stage.session("t1", "1-backend")

            async def told() -> bool:
                kinds = [event.event_type async for event in maker.fetch_history_events()]
                return EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED in kinds

            await assert_eventually(told)
            gate = asyncio.create_task(open_the_gate(stage.settings.home))
            document = await stage.outcome(handle)
            gate.cancel()
        finally:
            worker.stop()

    assert document.status is RunStatus.DONE, document
    assert git(stage.repo, "show", f"{document.branch}:src/log.txt") == "line"
    assert git(stage.repo, "show", f"{document.branch}:src/one.txt") == "one"
    assert set(collections.Counter(stage.asked()).values()) == {1}
    heard = next(request for request in stage.standin.requests if MESSAGE in str(request.body))
    assert (heard.task, heard.role, heard.round, heard.turn) == ("t1", "backend", 1, 4)  # the third has begun
    assert str(heard.body).count(MESSAGE) == 1


async def test_what_an_agent_stashed_is_there_after_all_is_lost(staged, worker_log: Path, service) -> None:  # type: ignore[no-untyped-def]
    """The worker is killed, and the workspace gone with it: the next one goes on from the checkpoint."""
    kept = "git stash -qu -m mine && git branch idle && git commit -q --allow-empty -m own && git tag before"
    slow = "touch src/started; until [ -e src/go ]; do sleep 0.05; done; rm src/started src/go"
    back = "git stash pop -q && git log --all --format=%s --no-walk before idle > src/log.txt"
    played = scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/one.txt", "one\n")], [bash(kept)], [bash(f"{slow}; {back}")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(played, worker=False) as stage:
        worker = WorkerProcess(stage.settings, service.address, worker_log)
        worker.start()
        try:
            handle = await stage.start()
            await assert_eventually(lambda: any(stage.settings.home.glob("workspaces/*/*/work/src/started")))
            worker.kill()
            # What the worker had started may write for a moment longer.
            await assert_eventually(lambda: _is_removed(stage.settings.home / "workspaces"))
            worker.start()
            gate = asyncio.create_task(open_the_gate(stage.settings.home))
            document = await stage.outcome(handle)
            gate.cancel()
        finally:
            worker.stop()

    assert document.status is RunStatus.DONE, document
    assert git(stage.repo, "show", f"{document.branch}:src/one.txt") == "one"
    assert git(stage.repo, "show", f"{document.branch}:src/log.txt").splitlines()[0] == "own"
    assert set(collections.Counter(stage.asked()).values()) == {1}


def _is_removed(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()
