"""Search attributes of a run: only what has changed, and a cost alone only with the next save."""

from typing import Any

import pytest

from baton.decision_book import DecisionBook
from baton.records.run import Decision, RunDocument, RunStatus
from workflows.state.visibility import Visibility


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The updates of search attributes so far, oldest first."""
    updates: list[dict[str, Any]] = []

    def upsert(given: Any) -> None:
        updates.append({update.key.name: update.value for update in given})

    monkeypatch.setattr("temporalio.workflow.upsert_search_attributes", upsert)
    monkeypatch.setattr("temporalio.workflow.set_current_details", lambda _: None)
    return updates


def document(**more: Any) -> RunDocument:
    return RunDocument(**{"run": "r", "status": RunStatus.PLANNING, "repo": "/srv/shop", **more})


def test_the_first_update_has_all_attributes(written: list[dict[str, Any]]) -> None:
    assert Visibility(document(), lean=True).show_run([])
    assert written == [
        {"BatonRepo": "/srv/shop", "BatonStatus": "planning", "BatonPendingDecisions": 0, "BatonCostUsd": 0.0}
    ]


def test_only_what_has_changed_is_written(written: list[dict[str, Any]]) -> None:
    shown, book = document(), DecisionBook()
    board = Visibility(shown, lean=True)
    board.show_run(book.list_all())
    assert not board.show_run(book.list_all())
    shown.status = RunStatus.WORKING
    assert board.show_run(book.list_all())
    book.open_decision(Decision(id="", question="Which?", choices=["this"]))
    assert not board.show_run(book.list_all())
    assert written[1:] == [{"BatonStatus": "working"}, {"BatonPendingDecisions": 1}]


def test_a_cost_waits_for_the_next_save(written: list[dict[str, Any]]) -> None:
    shown = document()
    board = Visibility(shown, lean=True)
    board.show_run([])
    shown.cost_usd = 0.5
    board.show_run([])
    assert written[1:] == []
    board.show_run([], cost=True)
    assert written[1:] == [{"BatonCostUsd": 0.5}]


def test_a_history_of_before_shows_each_cost(written: list[dict[str, Any]]) -> None:
    shown = document()
    board = Visibility(shown)
    board.show_run([])
    shown.cost_usd = 0.5
    board.show_run([])
    assert written[1:] == [{"BatonCostUsd": 0.5}]


def test_an_execution_that_continues_another_writes_nothing_anew(written: list[dict[str, Any]]) -> None:
    shown = document(status=RunStatus.WAITING, cost_usd=0.5)
    board = Visibility(shown, lean=True)
    board.take_as_shown([])
    assert not board.show_run([], cost=True)
    assert written == []
