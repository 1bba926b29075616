"""Outages that are nobody's fault: a server that is killed, a worker that is told to stop. No call is repeated."""

import asyncio
import collections
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.api.enums.v1 import EventType

from baton.contracts import RunStatus
from baton.settings import Settings
from standin.scenario import Fault, Scenario, Step
from standin.server import serve
from tests.conftest import assert_eventually
from tests.pipelines.conftest import CANARY, Stage, events
from tests.pipelines.processes import WorkerProcess
from tests.pipelines.repositories import git
from tests.pipelines.scripts import bash, made, plan, scenario, session, simple_task, task, write
from workers.lease import ServerFiles, read_record
from workers.service import TemporalService, temporal_service

PATIENCE = timedelta(seconds=40)


def script(fault: Fault) -> Scenario:
    """A task with a slow model at its second turn, and a slow command at its third."""
    slow = Step(calls=[bash("touch src/started; sleep 2; rm src/started; echo line >> src/log.txt")], faults=[fault])
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


async def kill_server(settings: Settings) -> None:
    """SIGKILL for the server; returns when its keeper has started another one."""
    files = ServerFiles.under(settings.home)
    record = read_record(files)
    assert record is not None
    os.kill(record.server, signal.SIGKILL)

    def restarted() -> bool:
        now = read_record(files)
        return now is not None and now.state == "running" and now.server != record.server

    await assert_eventually(restarted, within=PATIENCE)


async def test_the_server_is_killed_in_the_middle_of_a_run(settings: Settings, repo: Path, run_id: str) -> None:
    async with serve(script(Fault(delay=2.0))) as standin, temporal_service(settings) as service:
        own = settings.model_copy(update={"api_key": SecretStr(CANARY), "base_url": standin.base_url})
        stage = Stage(service.client, own, standin, repo, run_id)
        async with stage.worker():
            handle = await stage.start()
            await assert_eventually(lambda: ("t1", "backend", 1, 2) in stage.asked(), within=PATIENCE)
            await kill_server(settings)
            await assert_eventually(lambda: any(own.home.glob("workspaces/**/src/started")), within=PATIENCE)
            await kill_server(settings)
            document = await stage.outcome(handle)
            for name in ("t1", "t1/1-backend", "plan/1-orchestrator"):
                described = await service.client.get_workflow_handle(f"{run_id}/{name}").describe()
                assert described.close_time is not None
    check(stage, document, {})
    assert document.errors == []


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
            await assert_eventually(lambda: ("t1", "backend", 1, 2) in stage.asked(), within=PATIENCE)
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

    assert asked == 3
    # A turn that could be ended was; one that could not is taken up by the next worker, and asks once more.
    check(stage, document, {("t1", "backend", 1, 2): 2} if hangs else {})
    assert {event.activity_task_started_event_attributes.attempt for event in started} == {1}
    kinds = [event.activity_task_failed_event_attributes.failure.application_failure_info.type for event in failed]
    assert kinds == (["WorkerShutdown"] if hangs else [])
    assert document.errors == []
