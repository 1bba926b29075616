"""The rules of caps: what counts, what waits, what is asked, what an answer changes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.budget.caps import (
    Cap,
    CapReached,
    Caps,
    ScopeSpending,
    SessionCost,
    amount_fault,
    cap_question,
    cap_suggestions,
    caps_for_call,
    judge_call,
    parse_amount,
    with_costs,
)
from baton.records.run import RunDocument, RunLimits, RunStatus, TaskDocument

MONEY = st.floats(0, 100, allow_nan=False)


def usd(amount: float) -> Cap:
    return Cap("run", "usd", "", amount, amount)


@given(cap=MONEY, known=MONEY, unconfirmed=MONEY, in_flight=MONEY, worst=MONEY)
def test_what_is_let_through_fits_under_the_cap_even_if_all_goes_badly(
    cap: float, known: float, unconfirmed: float, in_flight: float, worst: float
) -> None:
    spent = ScopeSpending(known=known, unconfirmed=unconfirmed, in_flight=in_flight)
    verdict = judge_call(usd(cap), spent, worst, new_turn=True)
    everything = known + unconfirmed + in_flight + worst
    if verdict == "clear":
        assert everything <= cap + 1e-6
    elif verdict == "wait":
        assert known + unconfirmed + worst <= cap + 1e-6 < everything + 2e-6
    else:
        assert known + unconfirmed + worst > cap


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_figure_that_is_no_number_stands_in_the_way(odd: float) -> None:
    assert isinstance(judge_call(usd(1.0), ScopeSpending(known=odd), 0.1, new_turn=True), CapReached)
    assert isinstance(judge_call(usd(1.0), ScopeSpending(), odd, new_turn=True), CapReached)


def test_turns_count_once_however_often_they_are_tried() -> None:
    cap = Cap("task", "turns", "t1", 3, 3)
    assert judge_call(cap, ScopeSpending(turns=2), 1.0, new_turn=True) == "clear"
    assert judge_call(cap, ScopeSpending(turns=3), 1.0, new_turn=False) == "clear"
    reached = judge_call(cap, ScopeSpending(turns=3), 1.0, new_turn=True)
    assert isinstance(reached, CapReached)
    assert cap_question(reached) == "Task t1 has taken 3 turns; its cap is 3. Raise the cap?"


def test_the_question_has_the_figures() -> None:
    reached = judge_call(usd(0.5), ScopeSpending(known=0.3125, unconfirmed=0.1), 0.3312, new_turn=True)
    assert isinstance(reached, CapReached)
    said = cap_question(reached)
    for figure in ("$0.3125", "$0.50", "$0.10", "$0.3312"):
        assert figure in said
    assert reached.least_raise == pytest.approx(0.2437)
    assert "$0.2437" in cap_suggestions(reached)[0]


@pytest.mark.parametrize(
    ("note", "unit", "amount"),
    [
        ("5", "usd", 5.0),
        (" $2.50 ", "usd", 2.5),
        ("3 USD", "usd", 3.0),
        ("40 turns", "turns", 40.0),
        ("2.9", "turns", 2.0),
        ("90", "seconds", 90.0),
        ("30m", "seconds", 1_800.0),
        ("2h", "seconds", 7_200.0),
        ("", "usd", None),
        ("0", "usd", None),
        ("-5", "usd", None),
        ("nan", "usd", None),
        ("1e9", "usd", None),
        ("9999999", "usd", None),
        ("0.5", "turns", None),
        ("give it 5 more", "usd", None),
        # The unit of something else.
        ("30m", "usd", None),
        ("30 m", "usd", None),
        ("2h", "usd", None),
        ("5 turns", "usd", None),
        ("3 usd", "seconds", None),
        ("$5", "seconds", None),
        ("5 turns", "seconds", None),
        ("30m", "turns", None),
        ("$5", "turns", None),
        ("$ 30m", "usd", None),
        # As people write, and as they do not.
        ("USD 5", "usd", 5.0),
        ("5 dollars", "usd", 5.0),
        ("30 minutes", "seconds", 1_800.0),
        ("30 m", "seconds", 1_800.0),
        ("5,00", "usd", None),
        ("1_000", "usd", None),
        ("+5", "usd", None),
        ("inf", "usd", None),
        ("1e3", "turns", None),
        ("\u0665", "usd", None),
        ("5 days", "seconds", 432_000.0),
        ("999999h", "seconds", None),
    ],
)
def test_amounts_in_notes(note: str, unit: str, amount: float | None) -> None:
    assert parse_amount(note, unit) == amount  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "note", ["30m", "5,00", "-5", "0", "inf", "NaN", "\u221e", "unlimited", "1e9", "\u00bd", "5 please"]
)
def test_a_note_that_is_no_amount_of_usd_is_a_fault(note: str) -> None:
    assert f"{note!r} holds an amount that cannot be read as USD" in str(amount_fault(note, "usd"))


def test_an_amount_and_mere_words_are_none() -> None:
    assert [amount_fault(note, "usd") for note in ("5", "", "it is worth it", "infer what you can")] == [None] * 4
    assert [amount_fault("30m", unit) for unit in ("seconds", None)] == [None, None]


def test_raising_adds_the_same_again_or_what_the_note_says() -> None:
    caps = Caps(limits=RunLimits(usd=2.0, usd_per_task=1.0))
    run = CapReached(scope="run", unit="usd", cap=2.0, spent=2.0, worst=0.1, step=2.0)
    assert caps.raise_by(run, "please") == 2.0
    assert caps.raise_by(run, "0.5") == 0.5
    caps.raise_by(run.model_copy(update={"scope": "task", "name": "t1", "step": 1.0}), "")
    for task, expected in (("t1", 2.0), ("t2", 1.0)):
        found = caps_for_call(
            caps, task=task, session="1-backend", day="2026-11-01", usd_per_day=9.0, turns_per_day=None
        )
        assert {cap.scope: cap.amount for cap in found} == {"task": expected, "run": 4.5, "day": 9.0}
    assert Caps.model_validate_json(caps.model_dump_json()) == caps


def test_raising_is_enough_for_the_next_call() -> None:
    caps = Caps(limits=RunLimits(usd=0.001))
    (cap,) = caps_for_call(caps, task="t", session="1-x", day="2026-11-01", usd_per_day=None, turns_per_day=None)
    reached = judge_call(cap, ScopeSpending(known=0.0005), 0.7301234, new_turn=True)
    assert isinstance(reached, CapReached)
    caps.raise_by(reached, "")
    (cap,) = caps_for_call(caps, task="t", session="1-x", day="2026-11-01", usd_per_day=None, turns_per_day=None)
    assert judge_call(cap, ScopeSpending(known=0.0005), 0.7301234, new_turn=True) == "clear"


def test_a_raised_day_is_that_day_only() -> None:
    caps = Caps(raised={"usd:day:2026-11-01": 5.0})
    for day, amount in (("2026-11-01", 8.0), ("2026-11-02", 3.0)):
        (cap,) = caps_for_call(caps, task="t", session="1-x", day=day, usd_per_day=3.0, turns_per_day=None)
        assert cap.amount == amount


def test_the_ledger_has_the_last_word_on_costs_unless_it_knows_less() -> None:
    document = RunDocument(
        run="r",
        status=RunStatus.DONE,
        repo="/r",
        cost_usd=1.0,
        tasks=[TaskDocument(id="t1", title="T", role="backend", cost_usd=0.7)],
    )
    costs = [
        SessionCost(task="plan", role="orchestrator", model="m", usd=0.3),
        SessionCost(task="t1", role="backend", model="n", usd=0.9, unconfirmed=0.2),
    ]
    final = with_costs(document, costs)
    assert (final.cost_usd, final.tasks[0].cost_usd, final.unconfirmed_usd) == (1.2, 0.9, 0.2)
    assert final.cost_by_role == {"orchestrator": 0.3, "backend": 0.9}
    assert final.cost_by_model == {"m": 0.3, "n": 0.9}
    assert with_costs(document, costs[:1]) == document
    assert with_costs(document, []) == document
