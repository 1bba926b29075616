"""Outages that are nobody's fault: a server that is killed, a worker that is told to stop. No call is repeated."""

import asyncio
import collections
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType

from baton.records.run import RunStatus
from standin.script.scenario import Fault, Scenario, ScriptedStep
from tests.conftest import assert_eventually
from tests.pipelines.conftest import Stage, events
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, scenario, session, simple_task, task, write
from tests.support.worker_process import WorkerProcess
from workers.temporal_service import TemporalService


def script(fault: Fault) -> Scenario:
    """A task with a slow model at its second turn, and a slow command at its third."""
    slow = ScriptedStep(
        calls=[bash("touch src/started; sleep 2; rm src/started; echo line >> src/log.txt")], faults=[fault]
    )
    return scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/one.txt", "one\n")], slow, [made()]]),
        simple_task("t1")[1:],
    )


def check(stage: Stage, document, repeated: dict[object, int]) -> None:  # type: ignore[no-untyped-def]
    """The run has its result, and no call was made more often than said."""
    assert document.status is RunStatus.DONE, document
    assert git(stage.repo, "show", f"{document.branch}:src/log.txt") == "line"
    assert git(stage.repo, "show", f"{document.branch}:src/one.txt") == "one"
    times = collections.Counter(stage.asked())
    assert {call: count for call, count in times.items() if count > 1} == repeated


@pytest.fixture
def worker_log(tmp_path: Path) -> Iterator[Path]:
    log = tmp_path / "worker.log"
    yield log
    if log.exists():
        print(log.read_text()[-3_000:])


@pytest.mark.parametrize("hangs", [False, True], ids=["the turn ends in time", "the turn hangs"])
async def test_a_worker_is_told_to_stop(  # type: ignore[no-untyped-def]
    staged, service: TemporalService, worker_log: Path, hangs: bool
) -> None:
    fault = Fault(stall_after=1) if hangs else Fault(delay=2.0)
    async with staged(script(fault), worker=False) as stage:
        worker = WorkerProcess(stage.settings, service.address, worker_log)
        worker.start()
        try:
            handle = await stage.start()
            await assert_eventually(lambda: ("t1", "backend", 1, 2) in stage.asked())
            await asyncio.sleep(0.3)
            # In a thread: the stand-in answers on this event loop meanwhile.
            assert await asyncio.to_thread(worker.stop) == 0
            asked = len(stage.standin.requests)
            worker.start()
            document = await stage.outcome(handle)
        finally:
            worker.stop()
        session_handle = stage.session("t1", "1-backend")
        started = await events(session_handle, EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED)
        failed = await events(session_handle, EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED)

    assert asked >= 3
    # A turn that could be ended was; one that could not is taken up by the next worker, and asks once more.
    check(stage, document, {("t1", "backend", 1, 2): 2} if hangs else {})
    assert {event.activity_task_started_event_attributes.attempt for event in started} == {1}
    kinds = [event.activity_task_failed_event_attributes.failure.application_failure_info.type for event in failed]
    assert kinds == (["WorkerShutdown"] if hangs else [])
    assert document.errors == []
