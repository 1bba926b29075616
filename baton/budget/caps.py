"""Caps on money, turns and time: when one is reached, the question to the person, and the effect of the answer. Pure.

A call counts with its worst-case cost before it is made, and with its actual cost afterwards. A call without a known
end (the worker was killed, the stream broke) keeps counting with its worst case, because the API also bills answers
that never arrive.
"""

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import Field

from baton.records.run import Record, RunDocument, RunLimits
from system.durations import GRAMMAR, parse_duration

Scope = Literal["session", "task", "run", "day"]
Unit = Literal["usd", "turns", "seconds"]

ERROR_TYPE = "budget"
"""Error type of an escalation about a cap, which the orchestrator never answers."""

TURN_LIMIT = "turn_limit"
"""Error type of the escalation that ends a session without turns left."""

RAISE = "raise"
"""The choice that raises a cap."""

_ROUNDING = 1e-9
"""USD; more than the rounding error of a sum of costs."""
_MAX_AMOUNT = 1_000_000.0
_AMOUNT = re.compile(
    r"(?P<before>\$|usd)?\s*(?P<amount>[0-9]{1,7}(?:\.[0-9]{1,6})?)\s*(?P<after>\$|[a-z]{1,8})?", re.IGNORECASE
)
_SUFFIXES: dict[Unit, tuple[str, ...]] = {
    "usd": ("", "$", "usd", "dollar", "dollars"),
    "turns": ("", "turn", "turns"),
}
_EXAMPLES: dict[Unit, str] = {"usd": "2.50 or $5", "turns": "40 or 40 turns", "seconds": GRAMMAR}
_UNIT_NAMES: dict[Unit, str] = {"usd": "USD", "turns": "turns", "seconds": "time"}
_UNBOUNDED = re.compile(r"\b(?:inf|infinity|infinite|nan|unlimited)\b|\u221e", re.IGNORECASE)


class CapReached(Record):
    """A cap that does not permit the next call or step."""

    scope: Scope
    unit: Unit
    name: str = ""
    """Name of the session, task or day; empty for the run."""
    cap: float
    spent: float
    """USD of calls that ended, turns taken, or seconds worked."""
    unconfirmed: float = 0.0
    """USD: worst case of the calls without a known end."""
    worst: float = 0.0
    """USD: the worst case of the next call."""
    step: float
    """Amount that `raise` adds unless the note names another."""
    raised: float = 0.0
    """Part of the cap that people have added already."""

    @property
    def key(self) -> str:
        """The name of the cap within its run."""
        return cap_key(self.scope, self.unit, self.name)

    @property
    def is_shared(self) -> bool:
        """Whether the cap also holds for other tasks."""
        return self.scope in ("run", "day")

    @property
    def least_raise(self) -> float:
        """The minimum raise, in USD, that permits the next call."""
        return max(0.0, self.spent + self.unconfirmed + self.worst - self.cap)


class Caps(Record):
    """The run's file `limits.json`: its first limits, and the amounts that people have added since."""

    limits: RunLimits = Field(default_factory=RunLimits)
    raised: dict[str, float] = Field(default_factory=dict)
    """Added amount by the cap's key."""

    def raise_by(self, reached: CapReached, note: str) -> float:
        """Raise a cap by the amount in the note, else by its step; return the amount."""
        amount = parse_amount(note, reached.unit) or reached.step
        self.raised[reached.key] = round(self.raised.get(reached.key, 0.0) + amount, 9)
        return amount


@dataclass(frozen=True)
class Cap:
    """One cap that holds for a call."""

    scope: Scope
    unit: Unit
    name: str
    amount: float
    """The current cap, including raises."""
    step: float
    raised: float = 0.0


@dataclass(frozen=True)
class ScopeSpending:
    """The spending in a scope."""

    known: float = 0.0
    """USD: actual cost of ended calls."""
    unconfirmed: float = 0.0
    """USD: worst case of the calls without a known end."""
    in_flight: float = 0.0
    """USD: worst case of the calls that other sessions are making."""
    turns: int = 0


def cap_key(scope: Scope, unit: Unit, name: str) -> str:
    """Return the key of a cap: `usd:run`, `turns:task:t1`, `usd:session:t1/1-backend`, `usd:day:2026-11-01`."""

    return f"{unit}:{scope}:{name}".rstrip(":")


def caps_for_call(
    caps: Caps, *, task: str, session: str, day: str, usd_per_day: float | None, turns_per_day: int | None
) -> list[Cap]:
    """Return the caps that hold for a call of this session on this day, the narrowest first."""
    limits = caps.limits
    bounds: list[tuple[Scope, Unit, str, float | None]] = [
        ("session", "usd", f"{task}/{session}", limits.usd_per_session),
        ("task", "usd", task, limits.usd_per_task),
        ("task", "turns", task, limits.turns_per_task),
        ("run", "usd", "", limits.usd),
        ("run", "turns", "", limits.turns_per_run),
        ("day", "usd", day, usd_per_day),
        ("day", "turns", day, turns_per_day),
    ]
    found = []
    for scope, unit, name, amount in bounds:
        if amount is not None:
            raised = caps.raised.get(cap_key(scope, unit, name), 0.0)
            found.append(Cap(scope, unit, name, amount + raised, amount, raised))
    return found


def judge_call(
    cap: Cap, spent: ScopeSpending, worst_usd: float, *, new_turn: bool
) -> CapReached | Literal["wait", "clear"]:
    """Return `clear` if a cap permits a call, `wait` if it may after the calls in flight, else the reached cap."""
    # The comparisons are written so that NaN counts as reached: a cap fails closed.
    if cap.unit == "turns":
        if not new_turn or spent.turns + 1 <= cap.amount:
            return "clear"
        return CapReached(
            scope=cap.scope,
            unit="turns",
            name=cap.name,
            cap=cap.amount,
            spent=spent.turns,
            step=max(1.0, cap.step),
            raised=cap.raised,
        )
    if not spent.known + spent.unconfirmed + worst_usd <= cap.amount + _ROUNDING:
        return CapReached(
            scope=cap.scope,
            unit="usd",
            name=cap.name,
            cap=cap.amount,
            spent=round(spent.known, 6),
            unconfirmed=round(spent.unconfirmed, 6),
            worst=round(worst_usd, 6),
            step=_sufficient_raise(cap.step, spent.known + spent.unconfirmed + worst_usd - cap.amount),
            raised=cap.raised,
        )
    if not spent.known + spent.unconfirmed + spent.in_flight + worst_usd <= cap.amount + _ROUNDING:
        return "wait"
    return "clear"


def _sufficient_raise(step: float, needed: float) -> float:
    """Return the amount that `raise` adds: enough for the next call, so that the person is not asked again at once."""
    return max(step, math.ceil(needed * 10_000) / 10_000) if math.isfinite(needed) else step


def parse_amount(note: str, unit: Unit) -> float | None:
    """Return the amount that a note consists of (`5`, `$2.50`, `3 USD`, `40 turns`, `30m`) in a unit, else None.

    An amount in another unit is None, too: `30m` is no amount in USD.
    """
    if unit == "seconds":
        duration = parse_duration(note)
        amount = duration.total_seconds() if duration else 0.0
    else:
        found = _AMOUNT.fullmatch(note.strip())
        if found is None or (found["before"] and unit != "usd"):
            return None
        if (found["after"] or "").lower() not in _SUFFIXES[unit]:
            return None
        amount = float(found["amount"])
        if unit == "turns":
            amount = math.floor(amount)
    return amount if 0 < amount <= _MAX_AMOUNT else None


def amount_fault(note: str, unit: Unit | None) -> str | None:
    """Return why a note is an invalid amount for a cap in this unit; None for a valid one and a text without numbers.

    Without a unit, which means that the unit of the cap is unknown, an amount in any unit is valid.
    """
    numbers = any(character.isnumeric() for character in note) or _UNBOUNDED.search(note)
    units: list[Unit] = [unit] if unit else ["usd", "turns", "seconds"]
    if not numbers or any(parse_amount(note, one) is not None for one in units):
        return None
    kind = f" as {_UNIT_NAMES[unit]}" if unit else ""
    examples = "; ".join(_EXAMPLES[one] for one in units)
    return (
        f"The note {note[:80]!r} holds an amount that cannot be read{kind}: write the amount alone, such as"
        f" {examples}, up to {_MAX_AMOUNT:,.0f}; or leave the note out to raise the cap by its default amount."
    )


def cap_question(reached: CapReached) -> str:
    """Return the question to the person, with the amounts."""
    whose = {
        "session": f"The session {reached.name}",
        "task": f"Task {reached.name}",
        "run": "The run",
        "day": f"The day {reached.name} (UTC), with all runs of this home,",
    }[reached.scope]
    match reached.unit:
        case "turns":
            return f"{whose} has taken {reached.spent:.0f} turns; its cap is {reached.cap:.0f}. Raise the cap?"
        case "seconds":
            spent, cap = _format_span(reached.spent), _format_span(reached.cap)
            return f"{whose} has worked for {spent}; its cap is {cap}. Let it go on?"
    unconfirmed = (
        f", up to {_format_usd(reached.unconfirmed)} more may be billed for calls whose end was not seen"
        if reached.unconfirmed
        else ""
    )
    return (
        f"{whose} has spent {_format_usd(reached.spent)} of its cap of {_format_usd(reached.cap)}{unconfirmed}, and"
        " the next model "
        f"call can cost up to {_format_usd(reached.worst)}. Raise the cap?"
    )


def cap_suggestions(reached: CapReached) -> list[str]:
    """Return the effects of the choices, for the person who decides."""
    if reached.unit == "usd":
        step, least = _format_usd(reached.step), f"; the next call needs at least {_format_usd(reached.least_raise)}"
    else:
        step = _format_span(reached.step) if reached.unit == "seconds" else f"{reached.step:.0f} turns"
        least = ""
    said = [f"`raise` adds {step}, or an amount given alone in the note (such as {_EXAMPLES[reached.unit]}){least}"]
    if reached.scope == "day":
        said.append("`retry` tries again; a new day begins at midnight UTC")
    if reached.is_shared:
        said.append("`skip` gives up the tasks that wait for this")
    return said


class SessionCost(Record):
    """The cost of one session, from the ledger."""

    task: str
    role: str
    model: str
    usd: float
    unconfirmed: float = 0.0


def with_costs(document: RunDocument, costs: list[SessionCost]) -> RunDocument:
    """Return the document with the ledger's costs, which include calls without a result.

    A ledger with a lower total than the document is incomplete, because another host did a part: it is ignored.
    """
    total = round(sum(cost.usd for cost in costs), 8)
    if not costs or total < document.cost_usd - 1e-6:
        return document
    tasks = [
        task.model_copy(update={"cost_usd": round(sum(cost.usd for cost in costs if cost.task == task.id), 8)})
        for task in document.tasks
    ]
    by_role: dict[str, float] = {}
    by_model: dict[str, float] = {}
    for cost in costs:
        by_role[cost.role] = round(by_role.get(cost.role, 0.0) + cost.usd, 8)
        by_model[cost.model] = round(by_model.get(cost.model, 0.0) + cost.usd, 8)
    return document.model_copy(
        update={
            "cost_usd": total,
            "tasks": tasks,
            "cost_by_role": by_role,
            "cost_by_model": by_model,
            "unconfirmed_usd": round(sum(cost.unconfirmed for cost in costs), 8),
        }
    )


def _format_usd(amount: float) -> str:
    return f"${amount:.2f}" if math.isclose(amount, round(amount, 2), abs_tol=1e-7) else f"${amount:.4f}"


def _format_span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else str(timedelta(seconds=round(seconds)))
