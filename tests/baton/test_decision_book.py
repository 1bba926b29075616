"""Decisions: every answer has one effect, and what cannot be taken is refused with the reason."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.decision_book import DecisionBook, DecisionRefused
from baton.records.run import Decide, Decision, DecisionState

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def book_with(*choices: str) -> DecisionBook:
    book = DecisionBook()
    book.open_decision(Decision(id="", question="Which store?", choices=list(choices)))
    return book


def test_every_decision_can_be_retried_skipped_and_aborted() -> None:
    book = book_with("postgres", "sqlite", "Retry", "postgres")
    assert book.get_decision("D1").choices == ["postgres", "sqlite", "retry", "skip", "abort"]


@pytest.mark.parametrize("note", ["2 dollars please", "give it 5 more", "about 3.5"])
def test_an_amount_that_cannot_be_read_is_refused(note: str) -> None:
    book = book_with("raise")
    with pytest.raises(DecisionRefused, match="an amount that cannot be read"):
        book.check_answer(Decide(decision_id="D1", choice="raise", note=note))
    assert book.check_answer(Decide(decision_id="D1", choice="raise", note="2.50")) == "raise"
    assert book.check_answer(Decide(decision_id="D1", choice="raise", note="it is worth it")) == "raise"
    assert book.check_answer(Decide(decision_id="D1", choice="skip", note=note)) == "skip"


def test_an_answer_to_what_stood_there_before_is_stale() -> None:
    book = DecisionBook()
    book.open_decision(Decision(id="", question="Which store?", choices=["a", "b"], commit="abcdef0123456789"))
    with pytest.raises(DecisionRefused, match=r"stale: .* 9999999, decision D1 about commit abcdef012345"):
        book.take_answer(Decide(decision_id="D1", choice="a", commit="9999999"), NOW)
    assert book.take_answer(Decide(decision_id="D1", choice="a", commit="ABCDEF0"), NOW).choice == "a"


def test_an_answer_takes_effect_once() -> None:
    book = book_with("postgres", "sqlite")
    book.take_answer(Decide(decision_id="d1 ", choice="SQLite", by="ada"), NOW)
    assert book.get_decision("D1").choice == "sqlite"
    with pytest.raises(DecisionRefused, match="answered already by ada: sqlite"):
        book.take_answer(Decide(decision_id="D1", choice="postgres"), NOW)
    assert book.get_decision("D1").choice == "sqlite"


def test_unknown_and_stale_answers_are_refused() -> None:
    book = book_with("a")
    with pytest.raises(DecisionRefused, match="open decisions: D1"):
        book.check_answer(Decide(decision_id="D7", choice="a"))
    with pytest.raises(DecisionRefused, match="choose one of: a, retry, skip, abort"):
        book.check_answer(Decide(decision_id="D1", choice="b"))
    book.withdraw_decision("D1", NOW)
    with pytest.raises(DecisionRefused, match="stale"):
        book.check_answer(Decide(decision_id="D1", choice="a"))


@given(st.lists(st.tuples(st.sampled_from(["D1", "D2", "D9", ""]), st.sampled_from(["a", "b", "retry", "x"]))))
def test_no_sequence_of_answers_changes_an_answered_decision(answers: list[tuple[str, str]]) -> None:
    book = book_with("a", "b")
    book.open_decision(Decision(id="", question="And?", choices=["a"]))
    seen: dict[str, str | None] = {}
    for decision_id, choice in answers:
        try:
            book.take_answer(Decide(decision_id=decision_id, choice=choice), NOW)
        except DecisionRefused as refusal:
            book.record_refusal(str(refusal))
        for decision in book.list_all():
            if decision.state is DecisionState.ANSWERED:
                assert seen.setdefault(decision.id, decision.choice) == decision.choice
    assert len(book.refusals) <= 20
