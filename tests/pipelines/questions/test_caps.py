"""Caps on money, turns and time as a user meets them: never passed, asked about once, raised without losing a step."""

import asyncio
import collections
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateFailedError

from baton.errors import ExitCode
from baton.records.run import Decide, RunDocument, RunStatus, TaskState
from interfaces.cli.views.follow import exit_code_of
from interfaces.cli.views.run_summary import document_lines
from standin.script.scenario import Fault, ScriptedCall, ScriptedStep
from tests.conftest import assert_eventually
from tests.pipelines.conftest import Stage, events
from tests.pipelines.test_agent_files import add
from tests.support.repositories import git
from tests.support.scripts import (
    bash,
    escalate,
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
from tests.support.worker_process import WorkerProcess
from workers.worker import run_worker
from workflows.pipeline import Pipeline

COSTLY = 32_000
"""Output tokens of an answer that takes all its room: $0.32."""

SONNET = {"orchestrator": "sonnet", "reviewer": "sonnet"}
"""All roles on one model, so that a call's worst case is about $0.4."""


def costly_task(task_id: str) -> list[ScriptedStep]:
    """A task whose maker's first answer costs nearly its worst case and takes a while."""
    first = ScriptedStep(calls=[write(f"src/{task_id}.txt", f"{task_id}\n")], output_tokens=COSTLY, seconds=1.0)
    return [
        *session("backend", task_id, [first, [made()]]),
        *session("tester", task_id, [[tested()]]),
        *session("reviewer", task_id, [[reviewed()]]),
    ]


def never_twice(stage: Stage) -> None:
    """No call was made a second time."""
    assert [call for call, count in collections.Counter(stage.asked()).items() if count > 1] == []


def accounts_agree(document: RunDocument, stage: Stage, within: float = 1e-6) -> None:
    """Baton's accounts are those of the API, to so many USD."""
    assert document.cost_usd == pytest.approx(stage.standin.cost_usd, abs=within)
    assert sum(document.cost_by_role.values()) == pytest.approx(document.cost_usd, abs=1e-6)
    assert sum(document.cost_by_model.values()) == pytest.approx(document.cost_usd, abs=1e-6)


async def test_parallel_tasks_never_pass_the_cap_and_ask_once(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("a"), task("b"), task("c")), *(costly_task(name) for name in "abc"))
    async with staged(script) as stage:
        handle = await stage.start(usd=0.6, models=SONNET)
        waiting = await stage.until_waiting(handle)
        # Each of the three may cost $0.4 and more: together they would have passed the cap, one by one they do not.
        assert 0.32 < stage.standin.cost_usd <= 0.6
        (decision,) = waiting.decisions
        assert decision.task_id is None
        assert decision.choices == ["raise", "retry", "skip", "abort"]
        assert "cap of $0.60" in decision.question
        assert f"${waiting.cost_usd:.4f}"[:5] in decision.question
        assert {item.state for item in waiting.tasks} == {TaskState.WAITING}
        (error,) = waiting.errors
        assert (error.task, error.context["decision"]) == ("run", "D1")
        spent = stage.standin.cost_usd
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="raise", note="$5"))
        document = await stage.outcome(handle)
        never_twice(stage)

    assert document.status is RunStatus.DONE, document
    assert spent < stage.standin.cost_usd <= 5.6
    assert {item.state for item in document.tasks} == {TaskState.DONE}
    accounts_agree(document, stage)


async def test_a_note_with_the_unit_of_something_else_raises_nothing(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("t1")), costly_task("t1"))
    async with staged(script) as stage:
        handle = await stage.start(usd=0.3, turns=1, models=SONNET)
        await stage.until_waiting(handle)
        for note in ("30m", "5 turns", "5,00", "inf", "-5", "1e9", "5 please"):
            answer = Decide(decision_id="D1", choice="raise", note=note)
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await handle.execute_update(Pipeline.submit_decision, answer)
            assert f"{note!r} holds an amount that cannot be read as USD" in str(refused.value.cause)
            await handle.signal(Pipeline.decide, answer)
        document = await handle.query(Pipeline.state)
        assert [decision.state for decision in document.decisions] == ["open"]
        assert stage.standin.requests == []
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="raise", note="3 USD"))
        await stage.until_waiting(handle, decision="D2")
        with pytest.raises(WorkflowUpdateFailedError, match="Workflow update failed") as refused:
            await handle.execute_update(
                Pipeline.submit_decision, Decide(decision_id="D2", choice="raise", note="3 USD")
            )
        assert "cannot be read as turns" in str(refused.value.cause)
        await handle.signal(Pipeline.decide, Decide(decision_id="D2", choice="raise", note="3 turns"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document
    assert stage.standin.cost_usd <= 3.3


async def test_turns_are_answers_of_the_model(staged) -> None:  # type: ignore[no-untyped-def]
    """A hand-off beside other calls ends its session by a step that asks no model."""
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/a.txt", "a\n")], [bash("true"), made()]]),
        session("tester", "t1", [[bash("true"), tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
    assert document.status is RunStatus.DONE, document
    assert document.turns == len(stage.standin.requests) == 5
    assert document.tasks[0].turns == 4


async def test_a_hand_off_with_the_last_turn_takes_no_further_one(staged) -> None:  # type: ignore[no-untyped-def]
    """Neither the session's turns nor the task's are passed by taking it in; one that does not fit asks for more."""
    unfit = ScriptedCall("hand_off", {"verdict": "perhaps"})
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/a.txt", "a\n")], [bash("true"), made()]]),
        session("tester", "t1", [[bash("true")], [bash("echo once >> src/../tests/count"), unfit], [tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        handle = await stage.start(turns=2)
        waiting = await stage.until_waiting(handle)
        (decision,) = waiting.decisions
        assert decision.question == "The tester has used its 2 turns and is not done. Give it more?"
        assert waiting.turns == len(stage.standin.requests) == 5
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="raise", note="1"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document
    assert document.turns == len(stage.standin.requests) == 7
    # Its calls ran once, before the question.
    assert git(stage.repo, "show", f"{document.branch}:tests/count") == "once"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (
            "claude-fable-5-1",
            "backend: claude-fable-5-1 answered where claude-sonnet-5-5 was asked, and is billed",
        ),
        ("claude-next-9", "which has no price here and is counted at the highest known prices."),
    ],
)
async def test_an_answer_of_another_model_is_billed_as_that_and_said(staged, answers: str, said: str) -> None:  # type: ignore[no-untyped-def]
    first = ScriptedStep(calls=[write("src/a.txt", "a\n")], answers_as=answers, output_tokens=2_000)
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [first, [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish(models=SONNET)
        dear = next(request for request in stage.standin.requests if request.role == "backend")
    assert document.status is RunStatus.DONE, document
    assert dear.cost_usd > 2_000 * 50 / 1_000_000
    accounts_agree(document, stage)
    assert [note for note in document.notes if said in note]


@pytest.mark.parametrize("where", ["request", "setting", "file"])
async def test_a_model_without_a_price_stops_the_run_before_it_costs_anything(staged, repo: Path, where: str) -> None:  # type: ignore[no-untyped-def]
    settings, request = {}, {}
    if where == "request":
        request = {"models": {"tester": "claude-next-9"}}
    elif where == "setting":
        settings = {"tester_model": "claude-next-9"}
    else:
        add(repo, "tester.md", "---\nname: tester\ndescription: tests\nmodel: claude-next-9\n---\nTest.\n")
    async with staged(scenario(plan(task("t1"))), **settings) as stage:
        document = await stage.finish(**request)
        assert stage.standin.requests == []
    assert document.status is RunStatus.FAILED
    assert "claude-next-9 has no price" in document.notes[-1]
    assert "BATON_PRICES" in document.notes[-1]
    assert exit_code_of(document) == ExitCode.USAGE


async def test_a_model_that_has_lost_its_price_meanwhile_is_a_question(staged, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The worker that goes on with a run has another price list than the one that began it."""
    own = tmp_path / "prices.toml"
    row = "input = 1\ncache_write_5m = 2\ncache_write_1h = 3\ncache_read = 0.1\noutput = 9\n"
    own.write_text(f'date = 2026-11-20\n[[models."claude-next-9".tiers]]\n{row}')
    script = scenario(
        plan(task("t1")), session("backend", "t1", [[escalate("Which?", "a")], [made()]]), simple_task()[1:]
    )
    script = script.model_copy(update={"models": ["claude-next-9"]})
    async with staged(script, worker=False) as stage:
        with_price = stage.settings.model_copy(update={"prices": own})
        async with run_worker(stage.client, with_price):
            handle = await stage.start(models={"backend": "claude-next-9"})
            await stage.until_waiting(handle)
        asked = len(stage.standin.requests)
        async with run_worker(stage.client, stage.settings):
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="a"))
            waiting = await stage.until_waiting(handle, decision="D2")
            assert "claude-next-9 has no price" in waiting.decisions[1].question
            assert len(stage.standin.requests) == asked
        async with run_worker(stage.client, with_price):
            await handle.signal(Pipeline.decide, Decide(decision_id="D2", choice="retry"))
            document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document


async def test_raise_without_an_amount_adds_the_same_again_and_abort_ends(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("t1")), costly_task("t1"))
    async with staged(script) as stage:
        handle = await stage.start(usd=0.3, models=SONNET)
        waiting = await stage.until_waiting(handle)
        assert stage.standin.cost_usd == 0.0
        assert "spent $0.00 of its cap of $0.30" in waiting.decisions[0].question
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
        await assert_eventually(lambda: decided(handle, "D2"))
        await handle.signal(Pipeline.decide, Decide(decision_id="D2", choice="raise"))
        await assert_eventually(lambda: decided(handle, "D3"))
        third = (await handle.query(Pipeline.state)).decisions[2]
        assert "cap of $0.60" in third.question
        await handle.signal(Pipeline.decide, Decide(decision_id="D3", choice="abort"))
        document = await stage.outcome(handle)
        never_twice(stage)
    assert document.status is RunStatus.STOPPED
    assert 0.0 < stage.standin.cost_usd <= 0.6
    accounts_agree(document, stage)


async def decided(handle: Any, decision_id: str) -> bool:
    """Whether a decision was opened."""
    document = await handle.query(Pipeline.state)
    return any(decision.id == decision_id for decision in document.decisions)


async def test_skip_gives_up_what_waits_and_publishes_what_is_done(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("a"), task("b", depends_on=["a"]), task("c", depends_on=["a"])),
        simple_task("a", write("src/a.txt", "a\n")),
        session("backend", "b", [[bash("true")], [made()]]),
        session("backend", "c", [[bash("true")], [made()]]),
    )
    async with staged(script, max_output_tokens=1_024) as stage:
        handle = await stage.start(turns_per_run=7)
        waiting = await stage.until_waiting(handle)
        (decision,) = waiting.decisions
        assert decision.question == "The run has taken 7 turns; its cap is 7. Raise the cap?"
        assert len(stage.standin.requests) == 7
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="skip"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document
    assert [item.state for item in document.tasks] == [TaskState.DONE, TaskState.SKIPPED, TaskState.SKIPPED]
    assert git(stage.repo, "show", f"{document.branch}:src/a.txt") == "a"
    assert len(stage.standin.requests) == 7


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        ({"turns": 1, "turns_per_task": 2}, ["The backend has used its 1 turn", "Task t1 has taken 2 turns"]),
        ({"usd_per_task": 0.45, "usd_per_session": 0.45}, ["The session t1/1-backend has spent", "Task t1 has spent"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_narrower_caps_ask_for_their_task(staged, limits: dict[str, Any], asked: list[str]) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("t1")), costly_task("t1"))
    async with staged(script) as stage:
        handle = await stage.start(**limits, models=SONNET)
        for number, words in enumerate(asked, start=1):
            waiting = await stage.until_waiting(handle, decision=f"D{number}")
            decision = waiting.decisions[-1]
            assert decision.task_id == "t1"
            assert decision.error_type == ("turn_limit" if "has used" in words else "budget")
            assert decision.question.startswith(words)
            await handle.signal(Pipeline.decide, Decide(decision_id=decision.id, choice="raise", note="20"))
        document = await stage.outcome(handle)
        never_twice(stage)
    assert document.status is RunStatus.DONE, document
    assert len(document.decisions) == len(asked)


async def test_a_repository_can_tighten_a_persons_caps_and_not_widen_them(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    (repo / "baton.toml").write_text((repo / "baton.toml").read_text() + "\n[limits]\nusd = 1000\nturns_per_run = 3\n")
    git(repo, "commit", "-qam", "Limits")
    async with staged(scenario(plan(task("t1")), simple_task()), usd_per_run=0.01, turns_per_run=50) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        assert "cap of $0.01" in waiting.decisions[0].question
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="raise", note="9"))
        waiting = await stage.until_waiting(handle)
        assert "its cap is 3" in waiting.decisions[1].question
        await handle.signal(Pipeline.decide, Decide(decision_id="D2", choice="abort"))
        await stage.outcome(handle)
    assert len(stage.standin.requests) == 3


async def test_the_day_has_one_cap_for_all_runs(staged) -> None:  # type: ignore[no-untyped-def]
    async with staged(scenario(plan(task("t1")), costly_task("t1")), usd_per_day=1.0) as stage:
        first = await stage.finish(models=SONNET)
        assert first.status is RunStatus.DONE, first
        stage.run += "-second"
        handle = await stage.start(models=SONNET)
        waiting = await stage.until_waiting(handle)
        (decision,) = waiting.decisions
        assert decision.question.startswith("The day ")
        assert "of its cap of $1.00" in decision.question
        assert stage.standin.cost_usd <= 1.0
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="raise"))
        second = await stage.outcome(handle)
    assert second.status is RunStatus.DONE, second
    assert first.cost_usd + second.cost_usd == pytest.approx(stage.standin.cost_usd, abs=0.005)


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "ledger lost"])
async def test_another_worker_goes_by_what_was_spent_before(staged, lost: bool) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("t1")), costly_task("t1"))
    async with staged(script, worker=False) as stage:
        own = stage.settings.model_copy(update={"usd_per_day": 0.75})
        async with run_worker(stage.client, own):
            handle = await stage.start(usd=0.7, models=SONNET)
            waiting = await stage.until_waiting(handle)
        spent = stage.standin.cost_usd
        if lost:
            for file in own.home.glob("ledger.sqlite3*"):
                file.unlink()
        async with run_worker(stage.client, own):
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
            await assert_eventually(lambda: decided(handle, "D2"))
            again = (await handle.query(Pipeline.state)).decisions[1]
            assert again.question == waiting.decisions[0].question
            assert stage.standin.cost_usd == spent <= 0.7
            await handle.signal(Pipeline.decide, Decide(decision_id="D2", choice="raise", note="9"))
            await assert_eventually(lambda: decided(handle, "D3"))
            assert (await handle.query(Pipeline.state)).decisions[2].question.startswith("The day ")
            await handle.signal(Pipeline.decide, Decide(decision_id="D3", choice="abort"))
            document = await stage.outcome(handle)
    accounts_agree(document, stage)


async def test_a_call_cut_off_by_a_crash_counts_until_the_end(staged, tmp_path: Path, service) -> None:  # type: ignore[no-untyped-def]
    slow = ScriptedStep(calls=[made()], output_tokens=COSTLY, faults=[Fault(pace=0.8)])
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [slow]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script, worker=False) as stage:
        worker = WorkerProcess(stage.settings, service.address, tmp_path / "worker.log")
        worker.start()
        try:
            handle = await stage.start(usd=0.75, models=SONNET)
            in_flight = ("t1", "backend", 1, 1)
            await assert_eventually(lambda: in_flight in stage.asked())
            await asyncio.sleep(0.5)
            worker.kill()
            worker.start()
            # The call may have been billed in full, and so may its repetition.
            waiting = await stage.until_waiting(handle)
            assert "whose end was not seen" in waiting.decisions[0].question
            assert stage.standin.cost_usd <= 0.75
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="raise"))
            document = await stage.outcome(handle)
        finally:
            worker.stop()
    assert document.status is RunStatus.DONE, document
    assert stage.asked().count(in_flight) == 2
    # What is known, and what it is at most: the truth lies between.
    assert document.cost_usd < stage.standin.cost_usd <= document.cost_usd + document.unconfirmed_usd <= 1.5


async def test_costs_agree_with_the_api_whatever_happens_to_calls(staged) -> None:  # type: ignore[no-untyped-def]
    broken = [Fault(status=529), Fault(reset_after=4), Fault(error_event_after=3)]
    script = scenario(
        plan(task("t1"), task("t2"), faults=[Fault(clean_end_after=4), Fault(reset_before_response=True)]),
        session(
            "backend",
            "t1",
            [
                ScriptedStep(thinking="Let me see. " * 200, text="Looking. " * 300, calls=[bash("cat src/orders.txt")]),
                ScriptedStep(calls=[write("src/a.txt", "a\n" * 500)], faults=broken[:2]),
                [bash("ls; ls; ls"), bash("cat README.md"), bash("true")],
                [made()],
            ],
        ),
        [
            ScriptedStep(
                role="tester",
                task="t1",
                turn=1,
                calls=[write("tests/a.expect", "src/a.txt a\n")],
                stop_reason="max_tokens",
            ),
            ScriptedStep(role="tester", task="t1", turn=1, calls=[write("tests/a.expect", "src/a.txt a\n")]),
        ],
        [ScriptedStep(role="tester", task="t1", turn=2, calls=[tested()])],
        session("reviewer", "t1", [[reviewed()]]),
        # Fails three times, each time in its stream, and is given up: paid for all the same.
        session("backend", "t2", [ScriptedStep(calls=[made()], faults=[Fault(fin_after=3, times=3)])]),
    )
    async with staged(script) as stage:
        handle = await stage.start(models={"tester": "opus", "reviewer": "haiku"})
        await stage.until_waiting(handle)
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="skip"))
        document = await stage.outcome(handle)
        billed = collections.Counter[str]()
        for record in stage.standin.requests:
            billed[str(record.role)] += record.cost_usd
        assert sum(record.usage.cache_read_tokens for record in stage.standin.requests) > 10_000

    assert document.status is RunStatus.DONE, document
    # How long an answer would have been that broke off, only the API knows: that far, and no further, they differ.
    accounts_agree(document, stage, within=0.01)
    assert stage.standin.cost_usd <= document.cost_usd + document.unconfirmed_usd
    assert document.cost_by_role == pytest.approx(billed, abs=0.01)
    assert document.cost_by_role["tester"] == pytest.approx(billed["tester"], abs=1e-6)
    assert set(document.cost_by_model) == {"claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5"}
    assert document.unconfirmed_usd > 0
    shown = "\n".join(document_lines(document))
    assert "by role" in shown
    assert f"backend ${document.cost_by_role['backend']:.4f}" in shown
    assert "claude-opus-5-5 $" in shown


async def test_a_wait_that_the_api_asks_for_is_no_attempt(staged) -> None:  # type: ignore[no-untyped-def]
    faults = [Fault(status=429, retry_after=3), *[Fault(status=529, retry_after=0.5)] * 3, *[Fault(status=500)] * 2]
    script = scenario(plan(task("t1"), faults=list(faults)), simple_task())
    async with staged(script) as stage:
        document = await stage.finish()
        session_handle = stage.session("plan", "1-orchestrator")
        timers = await events(session_handle, EventType.EVENT_TYPE_TIMER_STARTED)
        attempts = await events(session_handle, EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED)
    # Six failures in a row, two of which count: the third would have asked a person.
    assert document.status is RunStatus.DONE, document
    assert document.errors == []
    waits = [event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta() for event in timers]
    assert waits == [timedelta(seconds=3), *[timedelta(seconds=0.5)] * 3]
    assert attempts[-1].activity_task_started_event_attributes.attempt == 3
    accounts_agree(document, stage)


async def past_planning(stage: Stage, handle: Any, stage_name: str = "") -> RunDocument:
    """Raise the wall clock bit by bit until it holds where the test wants it: nobody knows how fast a machine is."""
    while True:
        waiting = await stage.until_waiting(handle)
        open_one = waiting.decisions[-1]
        assert (open_one.task_id, open_one.error_type, open_one.state) == (None, "wall_clock", "open")
        if waiting.tasks and all(stage_name in item.stage for item in waiting.tasks):
            return waiting
        await handle.execute_update(Pipeline.submit_decision, Decide(decision_id=open_one.id, choice="raise", note="4"))


async def test_the_wall_clock_halts_all_tasks_with_one_question_and_they_go_on(staged) -> None:  # type: ignore[no-untyped-def]
    hanging = ScriptedStep(calls=[made()], faults=[Fault(delay=300.0)])
    script = scenario(
        plan(task("a"), task("b")),
        *(
            [
                *session("backend", name, [[write(f"src/{name}.txt", f"{name}\n")], hanging]),
                *session("tester", name, [[tested()]]),
                *session("reviewer", name, [[reviewed()]]),
            ]
            for name in "ab"
        ),
    )
    async with staged(script) as stage:
        handle = await stage.start(wall_clock_seconds=6)
        waiting = await past_planning(stage, handle)
        while len([call for call in stage.asked("backend") if call[3] == 2]) < 2:
            await handle.execute_update(
                Pipeline.submit_decision, Decide(decision_id=waiting.decisions[-1].id, choice="raise", note="4")
            )
            waiting = await past_planning(stage, handle)
        assert {item.state for item in waiting.tasks} == {TaskState.WAITING}
        assert "Let it go on?" in waiting.decisions[-1].question
        answer = Decide(decision_id=waiting.decisions[-1].id, choice="raise", note="1h")
        await handle.signal(Pipeline.decide, answer)
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document
    for name in "ab":
        assert git(stage.repo, "show", f"{document.branch}:src/{name}.txt") == name
    # Only what was under way is done again; the API may have billed it, or not.
    again = {call for call, count in collections.Counter(stage.asked()).items() if count > 1}
    assert {("a", "backend", 1, 2), ("b", "backend", 1, 2)} <= again
    assert document.unconfirmed_usd > 0


@pytest.mark.parametrize("where", ["tool", "gate"])
async def test_the_wall_clock_ends_processes_too(staged, repo: Path, where: str) -> None:  # type: ignore[no-untyped-def]
    nap = f"sleep 35{time.time_ns() % 10**8}.5"
    (repo / "check.sh").write_text(nap + "\n")
    git(repo, "commit", "-qam", "Tests that hang")
    call = bash(nap) if where == "tool" else write("src/t1.txt", "one\n")
    async with staged(scenario(plan(task("t1")), simple_task("t1", call))) as stage:
        handle = await stage.start(wall_clock_seconds=5)
        while True:
            waiting = await past_planning(stage, handle, "make" if where == "tool" else "gate")
            if where == "gate" or len(stage.asked("backend")) == 1:
                break
        assert not processes(nap)
        last = waiting.decisions[-1].id
        await handle.signal(Pipeline.decide, Decide(decision_id=last, choice="abort", by="ada"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.STOPPED
    assert f"{last} by ada" in document.notes[-1]
    assert document.branch is None


def processes(command: str) -> list[str]:
    """Processes of this machine that run a command."""
    listed = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if line.strip().startswith(command)]


async def test_waiting_for_a_person_is_no_working_time(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[escalate("Which store?", "postgres", "sqlite")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        handle = await stage.start(wall_clock_seconds=600)
        await stage.until_waiting(handle)
        await asyncio.sleep(3)
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="sqlite"))
        document = await stage.outcome(handle)
        started = [
            event
            for event in await events(handle, EventType.EVENT_TYPE_TIMER_STARTED)
            if 100 < event.timer_started_event_attributes.start_to_fire_timeout.seconds <= 600
        ]
        cancelled = await events(handle, EventType.EVENT_TYPE_TIMER_CANCELED)
    assert document.status is RunStatus.DONE, document
    ends = {event.timer_canceled_event_attributes.timer_id: event.event_time.ToDatetime() for event in cancelled}
    left = [event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta() for event in started]
    ran = [
        ends[event.timer_started_event_attributes.timer_id] - event.event_time.ToDatetime() for event in started[:-1]
    ]
    assert len(left) >= 2
    (decision,) = document.decisions
    assert decision.opened_at is not None
    assert decision.answered_at is not None
    for before, worked, after in zip(left, ran, left[1:], strict=False):
        # What is left has shrunk by the time of work alone: by less than with the wait for the person, at any load.
        assert abs(before - worked - after) < decision.answered_at - decision.opened_at, (left, ran)
