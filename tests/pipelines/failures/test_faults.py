"""What users pay for, when things go wrong: retries, limits, cut answers, refusals, wrong keys."""

from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType

from baton.records.run import Decide, RunStatus, TaskState
from interfaces.cli.runs.snapshot import RunSnapshot, take_snapshot
from interfaces.cli.views.progress_lines import list_events as plain_lines
from interfaces.cli.views.run_summary import document_lines
from standin.script.scenario import Fault, ScriptedCall, ScriptedStep
from tests.conftest import assert_eventually
from tests.pipelines.conftest import CANARY, events
from tests.support.repositories import git
from tests.support.scripts import (
    bash,
    made,
    plan,
    reviewed,
    scenario,
    session,
    simple_task,
    task,
    tested,
    write,
)
from workers.temporal_service import TemporalService
from workflows.pipeline import Pipeline


async def test_three_failures_ask_a_person_and_the_run_goes_on_from_there(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1"), task("t2")),
        session("backend", "t1", [ScriptedStep(calls=[made()], faults=[Fault(status=500, times=3)])]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
        simple_task("t2", write("src/t2.txt", "two\n")),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        (decision,) = waiting.decisions
        assert (decision.id, decision.task_id, decision.state) == ("D1", "t1", "open")
        assert "500" in decision.question
        assert decision.choices[-3:] == ["retry", "skip", "abort"]
        (error,) = waiting.errors
        assert set(error.model_dump()) == {
            "timestamp",
            "agent",
            "task",
            "error",
            "context",
            "recovery_attempted",
            "resolution",
        }
        assert (error.agent, error.task) == ("backend", "t1")
        # What does not depend on it went on.
        assert {t.id: t.state for t in waiting.tasks} == {"t1": TaskState.WAITING, "t2": TaskState.DONE}
        answered = await handle.execute_update(
            Pipeline.submit_decision, Decide(decision_id="D1", choice="retry", by="ada")
        )
        assert answered.by == "ada"
        document = await stage.outcome(handle)

    assert document.status is RunStatus.DONE, document
    assert document.errors[0].resolution == "answered by ada: retry"


async def test_a_wrong_key_is_a_decision_and_not_a_storm_of_retries(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("t1")), simple_task())
    script.keys = ["sk-ant-the-right-key"]
    async with staged(script) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        assert len(stage.standin.requests) == 1
        assert "ANTHROPIC_API_KEY" in waiting.decisions[0].question
        assert CANARY not in waiting.model_dump_json()
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="abort"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.STOPPED


async def test_an_answer_cut_off_in_a_tool_call_is_never_run(staged) -> None:  # type: ignore[no-untyped-def]
    cut = ScriptedStep(calls=[write("src/new.txt", "half a file\n" * 50)], stop_reason="max_tokens", repeat="always")
    script = scenario(
        plan(task("t1")),
        session(
            "backend", "t1", [cut.model_copy(update={"repeat": None}), [write("src/new.txt", "whole\n")], [made()]]
        ),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        asked = [r for r in stage.standin.requests if (r.role, r.turn) == ("backend", 1)]
        second = next(r.body for r in stage.standin.requests if (r.role, r.turn) == ("backend", 2))

    assert document.status is RunStatus.DONE, document
    assert [r.body["max_tokens"] for r in asked] == [32_000, 64_000, 128_000]
    assert "cut off" in str(second)
    assert git(stage.repo, "show", f"{document.branch}:src/new.txt") == "whole"
    # The answers that could not be used are paid for, and they are accounted.
    assert document.cost_usd == pytest.approx(stage.standin.cost_usd)


async def test_a_refusal_asks_a_person(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [ScriptedStep(text="I cannot help with that.", stop_reason="refusal")]),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        assert "declined" in waiting.decisions[0].question
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="skip"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.FAILED
    assert document.tasks[0].state is TaskState.SKIPPED
    assert document.branch is None


async def test_a_usage_limit_waits_on_a_timer_and_counts_as_no_attempt(staged) -> None:  # type: ignore[no-untyped-def]
    """What is waited for is said wherever people look; afterwards nobody says it any more."""
    making = [ScriptedStep(calls=[made()], faults=[Fault(usage_limit=4)])]
    script = scenario(plan(task("t1")), session("backend", "t1", making), simple_task()[1:])
    async with staged(script) as stage:
        handle = await stage.start()
        service = TemporalService(stage.client, "", None, embedded=False)
        seen: RunSnapshot | None = None

        async def waits() -> bool:
            nonlocal seen
            seen = await take_snapshot(service, stage.run)
            return bool(seen.document.waiting_for and seen.sessions and seen.sessions[0].waiting_for)

        await assert_eventually(waits)
        shown = await handle.query("__temporal_workflow_metadata")
        document = await stage.outcome(handle)
        timers = await events(stage.session("t1", "1-backend"), EventType.EVENT_TYPE_TIMER_STARTED)
    assert seen is not None
    limit = seen.document.waiting_for["t1"]
    assert limit.startswith("the usage limit, until 20")
    assert f"at work, make, waits for {limit}, round 1" in shown.current_details.replace("\\", "")
    assert f"t1 backend round 1 turn 1: waits for {limit}" in plain_lines(None, seen)
    assert f"  t1 waits for {limit}" in document_lines(seen.document)
    assert document.status is RunStatus.DONE, document
    assert document.waiting_for == {}
    assert len(timers) == 1
    waited = timers[0].timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
    assert timedelta(0) < waited <= timedelta(seconds=6)
    assert document.errors == []


async def test_invalid_reports_and_calls_go_back_to_the_model(staged) -> None:  # type: ignore[no-untyped-def]
    cycle = [task("a", depends_on=["b"]), task("b", depends_on=["a"])]
    script = scenario(
        session(
            "orchestrator",
            "plan",
            [[ScriptedCall("hand_off", {"summary": "A plan", "tasks": cycle})], plan(task("t1"))[0]],
        ),
        session(
            "backend",
            "t1",
            [
                [ScriptedCall("hand_off", {"implemented": "x"})],
                [ScriptedCall("Write", {"file_path": 7}), ScriptedCall("Teleport", {}), bash("exit 3")],
                [write("src/x.txt", "x\n"), made()],
            ],
        ),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        bodies = {(r.role, r.turn): str(r.body) for r in stage.standin.requests}
    assert document.status is RunStatus.DONE, document
    assert "cycle" in bodies[("orchestrator", 2)]
    assert "files_changed" in bodies[("backend", 2)]
    assert "Teleport" in bodies[("backend", 3)]
    assert "file_path" in bodies[("backend", 3)]
    # A hand-off beside a tool call is taken once that call has succeeded, without another question to the model.
    assert ("backend", 4) not in bodies
    assert git(stage.repo, "show", f"{document.branch}:src/x.txt") == "x"
