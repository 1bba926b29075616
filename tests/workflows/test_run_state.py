"""The state of a run: which tasks its document lists, and which ids its own tasks get."""

from datetime import UTC, datetime

import pytest

from baton.policies import MAX_PLAN_TASKS
from baton.records.run import Decision, RunDocument, RunStatus, TaskDocument, TaskState
from baton.steps.task import Plan, PlannedTask
from workflows.calls.workspace_host import WorkspaceHost
from workflows.state.run_state import RunState, status_of


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> RunState:
    monkeypatch.setattr("temporalio.workflow.upsert_search_attributes", lambda _: None)
    monkeypatch.setattr("temporalio.workflow.set_current_details", lambda _: None)
    return RunState(RunDocument(run="r", status=RunStatus.WAITING, repo="/srv/shop"), WorkspaceHost(), lean=True)


def follow_up(books: RunState, name: str = "follow-up") -> str:
    """Let the engine make a task of its own; its id."""
    task_id = books.free_task_id(name)
    books.document.tasks.append(TaskDocument(id=task_id, title=task_id, role="backend", state=TaskState.DONE))
    return task_id


def test_a_document_of_months_keeps_the_plan_and_the_latest_tasks(books: RunState) -> None:
    for number in range(1, 4):
        books.document.tasks.append(TaskDocument(id=f"t{number}", title="x", role="backend", state=TaskState.DONE))
    made = []
    for number in range(500):
        made.append(follow_up(books))
        if number == 3:
            made.append(follow_up(books, "merge"))
        if number % 20 == 19:
            books.drop_old_tasks()
            assert len(books.document.tasks) <= MAX_PLAN_TASKS + 50
    assert len(set(made)) == len(made), "no id is given twice, for the store has a lane of that name"
    assert made[0] == "follow-up"
    assert made[-1] == "follow-up-500"
    books.drop_old_tasks()
    assert [task.id for task in books.document.tasks[:3]] == ["t1", "t2", "t3"]
    assert books.document.tasks[-1].id == "follow-up-500"
    (note,) = books.document.notes
    assert note.startswith(f"{3 + 501 - len(books.document.tasks)} earlier tasks")


def test_the_id_of_a_task_that_is_not_listed_any_more_is_not_free(books: RunState) -> None:
    for _ in range(MAX_PLAN_TASKS):
        follow_up(books, "plan")
    assert follow_up(books, "merge") == "merge"
    for _ in range(50):
        follow_up(books)
    books.drop_old_tasks()
    assert "merge" not in [task.id for task in books.document.tasks]
    assert books.free_task_id("merge") == "merge-2"


IDLE, BUSY = [TaskState.DONE, TaskState.WAITING], [TaskState.DONE, TaskState.WORKING]


@pytest.mark.parametrize(
    ("phase", "tasks", "waits", "status"),
    [
        (RunStatus.PLANNING, [], False, RunStatus.PLANNING),
        (RunStatus.PLANNING, [], True, RunStatus.WAITING),
        (RunStatus.PLANNING, IDLE, False, RunStatus.WORKING),
        (RunStatus.WORKING, BUSY, False, RunStatus.WORKING),
        (RunStatus.WORKING, BUSY, True, RunStatus.WORKING),
        (RunStatus.WORKING, IDLE, True, RunStatus.WAITING),
        (RunStatus.PUBLISHING, IDLE, False, RunStatus.PUBLISHING),
        (RunStatus.PUBLISHING, IDLE, True, RunStatus.WAITING),
        (RunStatus.PUBLISHING, BUSY, True, RunStatus.PUBLISHING),
        (RunStatus.STOPPED, BUSY, True, RunStatus.STOPPED),
        (RunStatus.DONE, IDLE, True, RunStatus.DONE),
    ],
)
def test_the_status_follows_from_the_phase(
    phase: RunStatus, tasks: list[TaskState], waits: bool, status: RunStatus
) -> None:
    assert status_of(phase, tasks, waits=waits) is status


def test_a_run_that_was_asked_goes_on_in_its_phase(books: RunState) -> None:
    books.set_plan(Plan(tasks=[PlannedTask(id="t1", title="x", role="backend")]), {"t1": "c" * 40})
    books.enter_phase(RunStatus.PUBLISHING)
    books.decisions.open_decision(Decision(id="", question="Which?", choices=["this"]))
    books.mark_changed()
    assert books.document.status == "waiting"
    books.decisions.withdraw_decision("D1", datetime.now(UTC))
    books.mark_changed()
    assert books.document.status == "publishing"


def test_a_remark_stands_once(books: RunState) -> None:
    books.add_notes("The branch was not published.")
    books.add_notes("The branch was not published.", "It has no tests.")
    assert books.document.notes == ["The branch was not published.", "It has no tests."]
