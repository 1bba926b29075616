"""A run that waits for a person: it costs nothing, it reminds, and it takes the default only where one was given."""

import asyncio
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.api.enums.v1 import EventType, IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from baton.records.run import Decide, Decision, RunStatus, TaskState
from baton.replayed_figures import ELSEWHERE_WAITS
from interfaces.cli.views.follow import follow_run
from interfaces.cli.views.live_view import PlainView
from interfaces.cli.views.run_summary import document_lines
from standin.server.server import serve_scenario
from tests.conftest import HANGS
from tests.pipelines.conftest import Stage, events
from tests.support.repositories import CONFIG, git
from tests.support.scripts import escalate, made, plan, reviewed, scenario, session, simple_task, task, tested
from tests.support.worker_process import WorkerProcess
from workers.search_attributes import SEARCH_ATTRIBUTES
from workers.temporal_service import TemporalService
from workflows.pipeline import Pipeline


def asking() -> list:  # type: ignore[type-arg]
    return session("backend", "t1", [[escalate("Which store?", "postgres", "sqlite")], [made()]])


async def test_a_waiting_run_has_no_activity_and_its_history_does_not_grow(staged) -> None:  # type: ignore[no-untyped-def]
    async with staged(scenario(plan(task("t1")), asking())) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle)
        await asyncio.sleep(1.0)
        before = await handle.describe()
        asked = len(stage.standin.requests)
        await asyncio.sleep(2.5)
        after = await handle.describe()
        assert after.raw_description.pending_activities == []
        assert after.raw_description.pending_children == []
        assert after.history_length == before.history_length
        assert len(stage.standin.requests) == asked
        attributes = after.typed_search_attributes
        shown = {pair.key.name: pair.value for pair in attributes}
        assert shown["BatonStatus"] == "waiting"
        assert shown["BatonPendingDecisions"] == 1
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="abort"))
        await stage.outcome(handle)


async def test_the_engine_reminds(  # type: ignore[no-untyped-def]
    staged, repo, service: TemporalService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the log of the worker, in the status, in `show`, and on the screen of whoever follows the run."""
    (repo / "baton.toml").write_text(CONFIG + "\n[decisions]\nremind = 2\n")
    git(repo, "commit", "-qam", "Remind after two seconds, then after four")
    log = tmp_path / "worker.log"
    async with staged(scenario(plan(task("t1")), asking()), worker=False) as stage:
        worker = WorkerProcess(stage.settings, service.address, log)
        worker.start()
        try:
            handle = await stage.start()
            await stage.until_waiting(handle)
            said = ""

            async def ask(decision: Decision) -> Decide:
                """A person who answers once they are reminded."""
                nonlocal said
                async with asyncio.timeout(HANGS.total_seconds()):
                    while "reminder: " not in said:
                        await asyncio.sleep(0.1)
                        said += capsys.readouterr().err
                (open_one,) = await handle.query(Pipeline.decisions)
                assert open_one.state == "open"
                assert (await handle.query(Pipeline.status))["reminders"] == {"D1": open_one.reminders}
                shown = document_lines(await handle.query(Pipeline.state))
                count = f"{open_one.reminders} reminder"
                assert [line for line in shown if line.startswith("  D1 waits since 2") and count in line]
                return Decide(decision_id=decision.id, choice="abort")

            document = await follow_run(service, stage.run, PlainView(), ask)
        finally:
            worker.stop()
    assert document.status is RunStatus.STOPPED
    assert "reminder: decision D1 (task t1) waits for an answer since 2" in said
    assert "UTC: Which store?" in said
    assert "decision D1 waits for an answer: Which store?" in log.read_text()
    (decision,) = document.decisions
    assert decision.opened_at is not None
    assert decision.answered_at is not None
    # After two seconds, then after twice as long, and so on.
    waited = (decision.answered_at - decision.opened_at).total_seconds()
    assert sum(2.0 * 2**n for n in range(decision.reminders)) <= waited


async def test_a_deadline_takes_the_default_that_a_person_gave(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1"), task("t2")),
        asking(),
        session("backend", "t2", [[made()]]),
        session("tester", "t2", [[tested()]]),
        session("reviewer", "t2", [[reviewed()]]),
    )
    async with staged(script) as stage:
        handle = await stage.start(decision_default="skip", decision_deadline_seconds=2.0)
        document = await stage.outcome(handle)
        timers = await events(handle, EventType.EVENT_TYPE_TIMER_STARTED)
    (decision,) = document.decisions
    assert (decision.choice, decision.by, decision.state) == ("skip", "deadline", "answered")
    assert decision.deadline is not None
    assert decision.opened_at is not None
    assert decision.deadline - decision.opened_at == timedelta(seconds=2)
    assert {t.id: t.state for t in document.tasks} == {"t1": TaskState.SKIPPED, "t2": TaskState.DONE}
    assert document.status is RunStatus.DONE
    # The other timers space the saves of the state.
    assert sum(b"deadline of D1" in timer.user_metadata.summary.data for timer in timers) == 1


@pytest.mark.server
async def test_ten_minutes_of_waiting_leave_nothing_in_the_history(settings, repo, run_id) -> None:  # type: ignore[no-untyped-def]
    """The time is skipped, by Temporal's test server; then the answer is taken, and the run goes on."""
    path = Path(sys.executable).with_name("temporal-test-server")
    script = scenario(plan(task("t1")), asking(), simple_task("t1")[1:])
    async with (
        await WorkflowEnvironment.start_time_skipping(
            data_converter=pydantic_data_converter, test_server_existing_path=str(path)
        ) as skipping,
        serve_scenario(script) as standin,
    ):
        # It cannot list what it has, so what the engine does for a server is done by hand.
        kinds = {
            name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")
            for name, kind in SEARCH_ATTRIBUTES.items()
        }
        await skipping.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=skipping.client.namespace, search_attributes=kinds)
        )
        own = settings.model_copy(update={"api_key": SecretStr("sk-ant-test"), "base_url": standin.base_url})
        stage = Stage(skipping.client, own, standin, repo, run_id)
        async with stage.worker():
            handle = await stage.start()
            await stage.until_waiting(handle)
            await asyncio.sleep(0.5)
            before, began = (await handle.describe()).history_length, await skipping.get_current_time()
            await skipping.sleep(timedelta(minutes=10))
            assert await skipping.get_current_time() - began >= timedelta(minutes=10)
            after = await handle.describe()
            assert after.history_length == before
            assert after.raw_description.pending_activities == []
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="sqlite"))
            assert (await stage.outcome(handle)).status is RunStatus.DONE


async def test_a_host_that_stays_away_is_asked_about(  # type: ignore[no-untyped-def]
    staged, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody else has its work: the run looks for it for six minutes, here less, then asks, and goes on from there."""
    assert sum(ELSEWHERE_WAITS, timedelta()) >= timedelta(minutes=6)
    monkeypatch.setattr("workflows.calls.workspace_host.ELSEWHERE_WAITS", (timedelta(seconds=0.1),))
    monkeypatch.setattr("workflows.calls.workspace_host.SCHEDULE_TO_START", timedelta(seconds=0.5))
    script = scenario(plan(task("t1")), asking(), simple_task("t1")[1:])
    async with staged(script, worker=False) as stage:
        elsewhere = replace(stage, settings=stage.settings.model_copy(update={"home": tmp_path / "elsewhere"}))
        async with stage.worker():
            handle = await stage.start()
            await stage.until_waiting(handle)
        async with elsewhere.worker():
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="sqlite"))
            document = await stage.until_waiting(handle, decision="D2")
        asked = len(stage.asked())
        async with stage.worker():
            await handle.signal(Pipeline.decide, Decide(decision_id="D2", choice="retry"))
            ended = await stage.outcome(handle)
    question = document.decisions[1]
    assert (question.task_id, question.error_type) == ("t1", "WorkElsewhere")
    assert f"This host has no checkpoint of task t1 of run {stage.run}: it lies on the host that" in question.question
    assert "start that one again, or set BATON_STATE_REMOTE" in question.question
    assert asked == 2
    assert ended.status is RunStatus.DONE, ended
    assert [decision.choice for decision in ended.decisions] == ["sqlite", "retry"]
    assert [turn for *_, turn in stage.asked("backend")] == [1, 2]
