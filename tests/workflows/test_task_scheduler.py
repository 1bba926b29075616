"""Who gets the messages of people, and how a task stands whose workflow was ended from outside."""

import pytest

from baton.records.run import Guide, RunDocument, RunRequest, RunStatus, TaskDocument, TaskState
from baton.steps.task import PlannedTask, TaskProgress, TaskProgressSignal
from workflows.budget.cap_decisions import CapDecisions
from workflows.budget.wall_clock import WallClock
from workflows.calls.child_workflows import ChildEnded
from workflows.decisions.escalation import Escalations
from workflows.stages.plan_stage import Orchestrator
from workflows.stages.task_scheduler import TaskScheduler
from workflows.state.run_context import RunContext


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> RunContext:
    monkeypatch.setattr("temporalio.workflow.upsert_search_attributes", lambda _: None)
    monkeypatch.setattr("temporalio.workflow.set_current_details", lambda _: None)
    document = RunDocument(run="r", status=RunStatus.WORKING, repo="/srv/shop")
    document.tasks = [TaskDocument(id=name, title=name, role="backend") for name in ("t1", "t2")]
    context = RunContext(RunRequest(task="x", repo="/srv/shop"), document, lean=True)
    context.inboxes = {"t1": [], "t2": []}
    return context


@pytest.fixture
def scheduler(context: RunContext) -> TaskScheduler:
    escalations = Escalations(context)
    caps = CapDecisions(context, escalations, WallClock(context))
    return TaskScheduler(context, escalations, caps, Orchestrator(context, escalations, caps))


def test_a_message_reaches_one_task_or_all(context: RunContext, scheduler: TaskScheduler) -> None:
    assert scheduler.take_message(Guide(text="Both."))
    assert scheduler.take_message(Guide(text="One.", task_id="t2"))
    assert context.inboxes == {"t1": ["Both."], "t2": ["Both.", "One."]}


def test_a_message_for_a_task_that_has_ended_reaches_nobody(context: RunContext, scheduler: TaskScheduler) -> None:
    context.books.set_task("t1", TaskState.DONE)
    assert not scheduler.take_message(Guide(text="Late.", task_id="t1"))
    assert not scheduler.take_message(Guide(text="Unknown.", task_id="t9"))
    assert scheduler.take_message(Guide(text="All that are left."))
    assert context.inboxes == {"t1": [], "t2": ["All that are left."]}


@pytest.mark.parametrize("told", [True, False])
def test_a_task_that_was_ended_from_outside_goes_on_from_where_it_told_last(
    context: RunContext, scheduler: TaskScheduler, told: bool
) -> None:
    given = TaskProgress(stage="make", round=1, commit="a" * 40)
    last = TaskProgress(stage="review", round=2, commit="b" * 40)
    if told:
        context.books.take_progress(TaskProgressSignal(task="t1", stage="review", round=2, progress=last))
    task = PlannedTask(id="t1", title="t1", role="backend")
    result = scheduler._cut_off(task, given, ChildEnded("r/t1", "was terminated"))
    assert result.outcome == "escalated"
    assert result.progress == (last if told else given).model_copy(update={"adrift": True})
    assert result.escalation is not None
    assert result.escalation.question.startswith("Task t1 cannot go on: The workflow r/t1 was terminated.")
    assert not context.books.stands, "the next execution tells anew"
