"""No stop is lost: a run that is stopped while any of its steps is under way ends, with closed books."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.worker import Worker

from baton import identifiers
from baton.records.run import Decide, RunDocument, RunLimits, RunRequest, RunStatus, TaskState
from tests.conftest import HANGS, assert_eventually
from tests.pipelines.conftest import events
from tests.workflows.scripted import How, Script, Stop, all_closed
from workflows.budget.wall_clock import WallClock
from workflows.github.integration import NoIntegration
from workflows.pipeline import Pipeline
from workflows.registry import WORKFLOWS
from workflows.state.state_file import StateWriter


@pytest_asyncio.fixture
async def script(client: Client) -> AsyncIterator[Script]:
    """A worker that answers every step from a script."""
    script = Script(client)
    worker = Worker(
        client,
        task_queue=identifiers.TASK_QUEUE,
        workflows=WORKFLOWS,
        activities=[script.step],
        max_concurrent_activities=500,
        max_cached_workflows=2_000,
        max_heartbeat_throttle_interval=timedelta(milliseconds=200),
        default_heartbeat_throttle_interval=timedelta(milliseconds=200),
    )
    async with worker:
        yield script


async def start(script: Script, run: str, **request: Any) -> Any:
    return await script.client.start_workflow(
        Pipeline.run, RunRequest(task="Do it", repo="/srv/shop", **request), id=run, task_queue=identifiers.TASK_QUEUE
    )


async def outcome(script: Script, run: str) -> tuple[RunDocument, WorkflowExecutionStatus | None]:
    """The document and the status of a run that comes to its end."""
    handle = script.client.get_workflow_handle_for(Pipeline.run, run)
    async with asyncio.timeout(HANGS.total_seconds()):
        with suppress(WorkflowFailureError):
            await handle.result()
    return await handle.query(Pipeline.state), (await handle.describe()).status


async def waiting(script: Script, run: str, decision: str) -> RunDocument:
    handle = script.client.get_workflow_handle_for(Pipeline.run, run)
    async with asyncio.timeout(HANGS.total_seconds()):
        while True:
            document = await handle.query(Pipeline.state)
            assert not document.status.is_final, document
            if [found.id for found in document.decisions if found.state.value == "open"][-1:] == [decision]:
                return document
            await asyncio.sleep(0.05)


Ways = Callable[[Sequence[str]], dict[int, How]]
"""Which of the steps of a run to stop at, by their places from 1, and how each behaves then."""


def first_steps_deaf(names: Sequence[str]) -> dict[int, How]:
    """Choose each kind of step where it comes for the first time."""
    return {place: "deaf" for place, name in enumerate(names, start=1) if name not in names[: place - 1]}


def last_steps_fail(names: Sequence[str]) -> dict[int, How]:
    """Choose each kind of step where it comes for the last time."""
    return {place: "fails" for place, name in enumerate(names, start=1) if name not in names[place:]}


def every_step(names: Sequence[str]) -> dict[int, How]:
    """Choose all steps, in turn in each way."""
    ways: list[How] = ["deaf", "fails", "hears"]
    return {place: ways[place % 3] for place in range(1, len(names) + 1)}


async def check_steps(script: Script, run: str, choose: Ways) -> None:
    """Stop a run of its own at each step chosen among those that a run without a stop has."""
    await start(script, run)
    document, _ = await outcome(script, run)
    assert document.status is RunStatus.DONE, document
    assert len(script.names[run]) > 20
    stops = {f"{run}-{nth}": Stop(nth, how) for nth, how in choose(script.names[run]).items()}
    script.stops.update(stops)
    for one in stops:
        await start(script, one)
    for one, stop in stops.items():
        document, status = await outcome(script, one)
        at = script.names[one][stop.nth - 1 :][:1]
        assert document.status.is_final, (one, at, document)
        assert document.ended_at is not None
        assert all(task.state.is_final for task in document.tasks), (one, at)
        assert not [found for found in document.decisions if found.state.value == "open"]
        if document.status is RunStatus.DONE:
            # Only a stop that comes while the books of a finished run are closed does not count any more.
            assert at in ([], ["save_state"], ["clean_up"]), (one, at)
        else:
            assert (document.status, status) == (RunStatus.STOPPED, WorkflowExecutionStatus.CANCELED), (one, at)
        if document.base_commit and stop.how != "fails":
            assert script.saved[one] == document.status.value, (one, at)
        await assert_eventually(lambda one=one: all_closed(script.client, one))  # type: ignore[misc]


@pytest.mark.parametrize("choose", [first_steps_deaf, last_steps_fail])
async def test_a_stop_at_each_step_ends_the_run(script: Script, run_id: str, choose: Ways) -> None:
    """Each kind of step; the long runs stop at every single one."""
    await check_steps(script, run_id, choose)


@pytest.mark.soak
async def test_a_stop_at_every_single_step_ends_the_run(script: Script, run_id: str) -> None:
    await check_steps(script, run_id, every_step)


@pytest.mark.parametrize("step", ["take_turn", "run_gate", "final gate"])
async def test_a_stop_while_the_clock_breaks_a_step_off_counts(script: Script, run_id: str, step: str) -> None:
    """Both come at the same time: the run is stopped, and asks nothing."""
    script.asks, script.halted, script.limits = False, step, RunLimits(wall_clock_seconds=3)
    handle = await start(script, run_id)
    async with asyncio.timeout(HANGS.total_seconds()):
        while not script.halting:
            # On a busy machine the time may be up before the run is there: then it gets more of it.
            for found in (await handle.query(Pipeline.state)).decisions:
                if found.state.value == "open" and not script.halting:
                    await handle.signal("decide", Decide(decision_id=found.id, choice="raise"))
            await asyncio.sleep(0.1)
    document, status = await outcome(script, run_id)
    assert (document.status, status) == (RunStatus.STOPPED, WorkflowExecutionStatus.CANCELED), document


@pytest.mark.parametrize("step", ["read_plan", "open_repair"])
@pytest.mark.parametrize("choice", ["retry", "skip", "abort"])
async def test_a_step_that_fails_for_good_is_asked_about(script: Script, run_id: str, step: str, choice: str) -> None:
    script.asks, script.failing, script.gates = False, {step: 1}, [1] if step == "open_repair" else []
    await start(script, run_id)
    document = await waiting(script, run_id, "D1")
    assert "No space is left on the disk" in document.decisions[0].question
    assert document.errors[-1].error in document.decisions[0].question
    assert {"retry", "skip", "abort"} <= set(document.decisions[0].choices)
    await script.client.get_workflow_handle(run_id).signal("decide", Decide(decision_id="D1", choice=choice))
    document, _ = await outcome(script, run_id)
    assert document.status is (RunStatus.DONE if choice == "retry" else RunStatus.STOPPED), document


async def test_a_merged_result_that_stays_red_is_asked_about(script: Script, run_id: str) -> None:
    script.asks, script.gates = False, [1, 1]
    await start(script, run_id)
    document = await waiting(script, run_id, "D1")
    assert "still fail their tests after a repair" in document.decisions[0].question
    await script.client.get_workflow_handle(run_id).signal("decide", Decide(decision_id="D1", choice="retry"))
    document, _ = await outcome(script, run_id)
    assert document.status is RunStatus.DONE
    assert [task.id for task in document.tasks] == ["t1", "t2", "merge-repair", "merge-repair-2"]
    assert all(task.state is TaskState.DONE for task in document.tasks)


@pytest.mark.parametrize("end", ["terminate", "cancel"])
@pytest.mark.parametrize("child", ["/t1", "/t1/1-backend", "/plan/1-orchestrator"])
async def test_a_child_that_is_ended_from_outside_is_asked_about(
    script: Script, run_id: str, child: str, end: str
) -> None:
    """The other task goes on, and a retry goes on from the last checkpoint."""
    script.asks = False
    script.holds = "orchestrator" if "plan" in child else "t1"
    await start(script, run_id)
    await assert_eventually(lambda: script.held)
    handle = script.client.get_workflow_handle(f"{run_id}{child}")
    await (handle.terminate("by hand") if end == "terminate" else handle.cancel())
    document = await waiting(script, run_id, "D1")
    words = "was terminated" if end == "terminate" else "was cancelled by itself"
    assert words in document.decisions[0].question, document.decisions[0].question
    assert {"retry", "skip", "abort"} <= set(document.decisions[0].choices)
    script.holds = ""
    if "plan" not in child:

        async def other_is_done() -> bool:
            state = await script.client.get_workflow_handle_for(Pipeline.run, run_id).query(Pipeline.state)
            return next(task for task in state.tasks if task.id == "t2").state is TaskState.DONE

        await assert_eventually(other_is_done)
    await script.client.get_workflow_handle(run_id).signal("decide", Decide(decision_id="D1", choice="retry"))
    document, _ = await outcome(script, run_id)
    assert document.status is RunStatus.DONE, document
    assert "find_session" in script.names[run_id]


async def test_a_run_that_fails_at_its_first_step_closes_its_books(script: Script, run_id: str) -> None:
    script.failing = {"acquire_host": 1}
    await start(script, run_id)
    document, status = await outcome(script, run_id)
    assert (document.status, status) == (RunStatus.FAILED, WorkflowExecutionStatus.FAILED)
    assert document.ended_at is not None
    assert "No space is left on the disk" in document.notes[-1]


@pytest.mark.parametrize("task", ["saving", "reporting", "clock"])
async def test_a_fault_in_the_background_fails_the_workflow_task(
    script: Script, run_id: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not vanish: the run stands still where people see it, and goes on once the fault is mended."""
    where = {"saving": StateWriter, "reporting": NoIntegration, "clock": WallClock}[task]
    mended = where.run  # type: ignore[attr-defined]

    async def fails(*_: Any) -> None:
        raise LookupError("a fault of the code")

    script.asks = False
    monkeypatch.setattr(where, "run", fails)
    handle = await start(script, run_id)

    async def failed() -> bool:
        return bool(await events(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED))

    await assert_eventually(failed)
    (first, *_) = await events(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    assert f"background task {task}" in first.workflow_task_failed_event_attributes.failure.message
    monkeypatch.setattr(where, "run", mended)
    document, _ = await outcome(script, run_id)
    assert document.status is RunStatus.DONE
