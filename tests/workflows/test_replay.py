"""Recorded histories replay with the workflows as they are now: a run that is under way survives a new version."""

import json
import re
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from tests.workflows import histories
from tests.workflows.runs import ON_GITHUB, RUNS, Recorded, RecordedOnGitHub
from workflows.registry import WORKFLOWS

RECORDED: list[Recorded | RecordedOnGitHub] = [*RUNS, *ON_GITHUB]


def replayer() -> Replayer:
    return Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter)


def test_every_run_is_recorded() -> None:
    assert histories.names() == sorted(run.name for run in RECORDED)


@pytest.mark.parametrize("run", RECORDED, ids=lambda run: run.name)
async def test_a_recorded_run_replays(run) -> None:  # type: ignore[no-untyped-def]
    recorded = histories.read(run.name)
    assert len(recorded) == run.workflows
    for history in recorded:
        await replayer().replay_workflow(history)


@pytest.mark.parametrize("name", histories.names())
def test_a_history_says_nothing_of_its_machine(name: str) -> None:
    text = histories.everything(name)
    assert "/srv/baton/" in text or "https://github.example.org/" in text
    for trace in ("/tmp/", "/home/", "/root/", "site-packages", "127.0.0.1", "sk-ant"):
        assert trace not in text, trace
    for history in histories.read(name):
        assert '"identity"' not in history.to_json()
        assert '"stackTrace"' not in history.to_json()
    assert (histories.FOLDER / f"{name}.json.gz").stat().st_size < 100_000


def test_the_histories_show_what_they_are_for() -> None:
    """So that a recording that missed its point is noticed: a kind of event that each run is there for."""
    kinds = {
        name: {event.event_type for history in histories.read(name) for event in history.events}
        for name in histories.names()
    }
    assert EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED in kinds["two-tasks"]
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED in kinds["answers"]
    assert EventType.EVENT_TYPE_TIMER_FIRED in kinds["faults"]
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED in kinds["stopped"]
    assert EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED in kinds["aborted"]
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW in kinds["many-turns"]
    assert EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED in kinds["issue"]
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW in kinds["issue-renewed"]
    assert markers("two-tasks-merged") == {"lean-history"}
    assert "start-sessions-anew" in markers("answers-merged")
    assert "guide-in-forks" in markers("forked-merged")
    # The orchestrator's guidance, a conflict of two tasks, a deadline; a wall clock and another cap; a fork, a repair.
    assert "read_guidance" in steps("together")
    together = histories.everything("together")
    assert '"conflicts":["src/orders.txt"]' in together
    assert '"by":"deadline"' in together
    assert "halt" in signals("raised")
    assert EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED in kinds["raised"]
    assert "set_caps" in steps("raised")
    assert {"adopt_fork", "open_repair"} <= steps("forked")
    # A stop that a step did not hear of: it counts now, by a marker; a run that went on in spite of it goes on.
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED in kinds["stopped-late"]
    assert EventType.EVENT_TYPE_MARKER_RECORDED in kinds["stopped-late"]
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED in kinds["went-on"]
    assert (
        not {EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED, EventType.EVENT_TYPE_MARKER_RECORDED} & kinds["went-on"]
    )


def steps(name: str) -> set[str]:
    """The activities of a recorded run."""
    return {
        event.activity_task_scheduled_event_attributes.activity_type.name
        for history in histories.read(name)
        for event in history.events
    }


def markers(name: str) -> set[str]:
    """The patches of a recorded run."""
    return {
        json.loads(event.marker_recorded_event_attributes.details["patch-data"].payloads[0].data)["id"]
        for history in histories.read(name)
        for event in history.events
        if event.marker_recorded_event_attributes.marker_name == "core_patch"
    }


def signals(name: str) -> set[str]:
    """The signals of a recorded run."""
    return {
        event.workflow_execution_signaled_event_attributes.signal_name
        for history in histories.read(name)
        for event in history.events
    }


async def test_a_workflow_that_does_something_else_is_noticed() -> None:
    """What the replays prove they prove because this one fails."""
    (history,) = (found for found in histories.read("two-tasks") if found.workflow_id.endswith("/t2"))
    changed = WorkflowHistory.from_json(
        history.workflow_id, re.sub('"name": ?"open_task"', '"name": "open_window"', history.to_json())
    )
    assert changed.to_json() != history.to_json()
    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(changed)


@pytest.mark.parametrize(("name", "figure"), [("issue", "workflows.github.issue_comment.REPORT_INTERVAL")])
async def test_a_recorded_figure_breaks_open_runs_when_it_is_edited(
    name: str, figure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why `baton/replayed_figures.py` stands apart: with another figure the history asks for what the
    workflow does not do.
    """
    history = histories.read(name)[0]
    await replayer().replay_workflow(history)
    monkeypatch.setattr(figure, timedelta(0))
    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(history)


@pytest.mark.parametrize(
    "figure",
    [
        *(
            f"workflows.calls.workspace_host.{name}"
            for name in ("HEARTBEAT_TIMEOUT", "SCHEDULE_TO_START", "HOST_ANSWER")
        ),
        "workflows.task.TURN_TIMEOUT",
        "workflows.state.state_file.GIT_TIMEOUT",
    ],
)
async def test_a_free_figure_may_be_edited(figure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure, timedelta(seconds=7))
    for name in ("issue", "two-tasks"):
        for history in histories.read(name):
            await replayer().replay_workflow(history)
