"""Stopping a run: processes end within two seconds, the work is kept, children close, and the worker works on."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError

from baton import identifiers
from baton.records.run import DecisionState, RunStatus, TaskState
from standin.script.scenario import Fault, Scenario, ScriptedStep
from tests.conftest import HANGS, assert_eventually
from tests.pipelines.conftest import Stage
from tests.support.leftovers import commands_with, unique_seconds
from tests.support.scripts import bash, escalate, plan, scenario, session, simple_task, task, write
from workflows.pipeline import Pipeline


async def cancel(handle: WorkflowHandle[Any, Any], gone: Callable[[], bool]) -> None:
    """Cancel a run and wait until something is gone, which would last for hours if it were left alone."""
    await handle.cancel()
    await assert_eventually(gone, every=timedelta(milliseconds=20))


async def closed(stage: Stage, *names: str) -> None:
    """Every workflow of the run has ended as cancelled."""
    for name in names:
        described = await stage.client.get_workflow_handle(f"{stage.run}{name}").describe()
        assert described.status is WorkflowExecutionStatus.CANCELED, name


async def run_file(stage: Stage, name: str) -> Any:
    """One of the run's own files, as it stands in the store."""
    store = await stage.store()
    data = await store.read_file(str(await store.read_head(identifiers.run_ref(stage.run))), name)
    assert data is not None
    return json.loads(data)


def then(run: str, script: Scenario) -> list[ScriptedStep]:
    """What another run of the same test is answered."""
    return [step.model_copy(update={"run": run}) for step in script.steps]


async def test_a_command_that_will_not_end_is_ended(staged, run_id: str) -> None:  # type: ignore[no-untyped-def]
    forever = unique_seconds()
    stubborn = f"trap '' TERM INT HUP; (trap '' TERM; setsid sleep {forever}) & nohup sleep {forever} & sleep {forever}"
    second = f"{run_id}-second"
    script = scenario(
        then(second, scenario(plan(task("t1")), simple_task("t1", write("src/x.txt", "x\n")))),
        plan(task("t1"), task("t2", depends_on=["t1"])),
        session("backend", "t1", [[write("src/one.txt", "one\n")], [bash(f"echo lost > src/two.txt; {stubborn}")]]),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await assert_eventually(lambda: len(commands_with(f"sleep {forever}")) >= 4)
        await cancel(handle, lambda: not commands_with(forever))
        with pytest.raises(WorkflowFailureError) as ended:
            await handle.result()
        assert isinstance(ended.value.cause, CancelledError)
        document = await handle.query(Pipeline.state)
        await closed(stage, "", "/t1", "/t1/1-backend")

        # What was committed is kept: the checkpoint before the command, the transcript, and the state.
        store = await stage.store()
        head = await store.read_head(identifiers.task_ref(stage.run, "t1"))
        assert await store.read_file(str(head), "workspace/src/one.txt") == b"one\n"
        assert await store.read_file(str(head), "workspace/src/two.txt") is None
        assert await store.read_file(str(head), "transcript/1-backend/00002-assistant.json") is not None
        state = await run_file(stage, "state.json")
        assert state["status"] == "stopped"
        assert state["ended_at"]

        # The worker has its hands free for the next run.
        stage.run = second
        again = await stage.finish()
    assert document.status is RunStatus.STOPPED
    assert [found.state for found in document.tasks] == [TaskState.STOPPED, TaskState.STOPPED]
    assert "was stopped; its work is kept" in document.notes[-1]
    assert document.branch is None
    assert again.status is RunStatus.DONE, again


async def test_a_model_that_hangs_is_hung_up_on(staged) -> None:  # type: ignore[no-untyped-def]
    hanging = ScriptedStep(calls=[write("src/x.txt", "x\n")], faults=[Fault(stall_after=3)])
    script = scenario(plan(task("t1")), session("backend", "t1", [hanging]))
    async with staged(script) as stage:
        handle = await stage.start()
        await assert_eventually(lambda: ("t1", "backend", 1, 1) in stage.asked())
        await asyncio.sleep(0.3)
        hung_up = stage.standin.requests[-1]
        await cancel(handle, lambda: hung_up.seconds > 0)
        document = await stage.outcome(handle)
        await closed(stage, "", "/t1", "/t1/1-backend")
        assert (await run_file(stage, "state.json"))["status"] == "stopped"
    assert document.status is RunStatus.STOPPED
    assert not hung_up.whole
    assert len(stage.asked("backend")) == 1


async def test_a_run_that_waits_for_a_person_is_stopped(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1"), task("t2")),
        session("backend", "t1", [[escalate("Which?", "this", "that")]]),
        session("backend", "t2", [[escalate("Who?", "she", "he")]]),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle, decision="D2")
        await handle.cancel()
        document = await stage.outcome(handle)
        assert document.status is RunStatus.STOPPED
        assert [found.state for found in document.decisions] == [DecisionState.WITHDRAWN] * 2
        kept = await run_file(stage, "decisions.json")
        assert [found["state"] for found in kept] == ["withdrawn"] * 2


async def test_an_abort_ends_the_tasks_that_are_at_work(staged) -> None:  # type: ignore[no-untyped-def]
    forever = unique_seconds()
    script = scenario(
        plan(task("t1"), task("t2")),
        session("backend", "t1", [[escalate("Which?", "this", "that")]]),
        session("backend", "t2", [[write("src/kept.txt", "kept\n")], [bash(f"sleep {forever}")]]),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await assert_eventually(lambda: len(commands_with(f"sleep {forever}")) > 0)
        async with asyncio.timeout(HANGS.total_seconds()):
            while not (await handle.query(Pipeline.state)).decisions:
                await asyncio.sleep(0.05)
        await handle.signal(Pipeline.decide, {"decision_id": "D1", "choice": "abort", "by": "ada"})
        document = await stage.outcome(handle)
        assert commands_with(forever) == []
        await closed(stage, "/t2", "/t2/1-backend")
        state = await run_file(stage, "state.json")
        store = await stage.store()
        head = await store.read_head(identifiers.task_ref(stage.run, "t2"))
        assert await store.read_file(str(head), "workspace/src/kept.txt") == b"kept\n"
    assert document.status is RunStatus.STOPPED
    assert [found.state for found in document.tasks] == [TaskState.STOPPED] * 2
    assert state["status"] == "stopped"
    assert "by ada" in document.notes[-1]
