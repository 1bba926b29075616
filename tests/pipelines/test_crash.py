"""SIGKILL of the worker in the middle of things: the run finishes, and nothing that was committed is done again."""

import collections
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from baton.contracts import Guide, RunStatus
from standin.scenario import Scenario
from tests.conftest import assert_eventually
from tests.pipelines.processes import WorkerProcess
from tests.pipelines.repositories import git
from tests.pipelines.scripts import bash, made, plan, reviewed, scenario, session, task, tested, write
from workflows.pipeline import Pipeline

MESSAGE = "Keep the old name of the log."


def script() -> Scenario:
    """A task with a file and a shell command that takes its time."""
    slow = bash("touch src/started; sleep 4; echo line >> src/log.txt")
    return scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/one.txt", "one\n")], [slow], [bash("rm -f src/started")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )


@pytest.fixture
def worker_log(tmp_path: Path) -> Iterator[Path]:
    log = tmp_path / "worker.log"
    yield log
    if log.exists():
        print(log.read_text()[-3_000:])


async def test_the_worker_is_killed_in_the_middle_of_a_command(staged, worker_log: Path, service) -> None:  # type: ignore[no-untyped-def]
    """And just after a person has said something to the agents."""
    async with staged(script(), worker=False) as stage:
        worker = WorkerProcess(stage.settings, service.address, worker_log)
        worker.start()
        try:
            handle = await stage.start()
            await assert_eventually(
                lambda: any(stage.settings.home.glob("workspaces/**/src/started")), within=timedelta(seconds=60)
            )
            # Whether the worker sees it or not: the message is the run's, and waits for the next turn.
            await handle.signal(Pipeline.guide, Guide(text=MESSAGE))
            worker.kill()
            worker.start()
            document = await stage.outcome(handle)
        finally:
            worker.stop()

    assert document.status is RunStatus.DONE, document
    assert git(stage.repo, "show", f"{document.branch}:src/log.txt") == "line"
    assert git(stage.repo, "show", f"{document.branch}:src/one.txt") == "one"
    assert set(collections.Counter(stage.asked()).values()) == {1}
    heard = next(request for request in stage.standin.requests if MESSAGE in str(request.body))
    assert (heard.task, heard.role, heard.round, heard.turn) == ("t1", "backend", 1, 3)
    assert str(heard.body).count(MESSAGE) == 1
