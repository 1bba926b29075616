"""The rows of the ledger, and the SQL that reads and writes them."""

import sqlite3
from dataclasses import dataclass
from typing import Any

from baton.budget.caps import Cap, ScopeSpending, SessionCost

SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    run TEXT NOT NULL, task TEXT NOT NULL, session TEXT NOT NULL, turn INTEGER NOT NULL, call TEXT NOT NULL,
    day TEXT NOT NULL, model TEXT NOT NULL, owner TEXT NOT NULL, open INTEGER NOT NULL,
    usd REAL NOT NULL, most REAL NOT NULL,
    PRIMARY KEY (run, task, session, turn, call)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS calls_by_day ON calls (day);
CREATE INDEX IF NOT EXISTS calls_open ON calls (open) WHERE open = 1;
CREATE TABLE IF NOT EXISTS known (what TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class ModelCall:
    """One attempt to get one answer."""

    run: str
    task: str
    session: str
    turn: int
    id: str
    day: str
    """UTC, `2026-11-01`."""
    model: str

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """The primary key of the call in the ledger."""
        return self.run, self.task, self.session, self.turn, self.id


@dataclass(frozen=True)
class LedgerEntry:
    """A call that has ended, with an answer or without."""

    call: ModelCall
    usd: float
    most: float
    """USD: the maximum that it can have cost; equal to `usd` if there is an answer."""


def sum_spending(db: sqlite3.Connection, call: ModelCall, cap: Cap) -> ScopeSpending:
    """Return the spending in the scope of a cap that applies to a call."""
    where, values = {
        "session": ("run = ? AND task = ? AND session = ?", (call.run, call.task, call.session)),
        "task": ("run = ? AND task = ?", (call.run, call.task)),
        "run": ("run = ?", (call.run,)),
        "day": ("day = ?", (call.day,)),
    }[cap.scope]
    if cap.unit == "turns":
        turns = f"SELECT COUNT(*) FROM (SELECT DISTINCT run, task, session, turn FROM calls WHERE {where})"  # noqa: S608
        return ScopeSpending(turns=int(db.execute(turns, values).fetchone()[0]))
    # No injection: `where` is one of the four constants above.
    sums = "SELECT TOTAL(usd * (open = 0)), TOTAL((most - usd) * (open = 0)), TOTAL(most * (open = 1)) FROM calls"
    known, unconfirmed, in_flight = db.execute(f"{sums} WHERE {where}", values).fetchone()
    return ScopeSpending(known=known, unconfirmed=unconfirmed, in_flight=in_flight)


def upsert_entries(db: sqlite3.Connection, entries: list[LedgerEntry]) -> None:
    """Insert or replace ended calls."""
    rows = [(*entry.call.key, entry.call.day, entry.call.model, "", 0, entry.usd, entry.most) for entry in entries]
    db.executemany(
        "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET open = 0, usd = excluded.usd, most = excluded.most",
        rows,
    )


def delete_call(db: sqlite3.Connection, call: ModelCall) -> None:
    """Delete a call."""
    db.execute("DELETE FROM calls WHERE run = ? AND task = ? AND session = ? AND turn = ? AND call = ?", call.key)


def close_call(db: sqlite3.Connection, key: tuple[Any, ...]) -> None:
    """End a call with its maximum cost."""
    db.execute("UPDATE calls SET open = 0 WHERE run = ? AND task = ? AND session = ? AND turn = ? AND call = ?", key)


def end_call(db: sqlite3.Connection, entry: LedgerEntry) -> list[LedgerEntry]:
    """End a call with its actual cost; return all ended calls of its turn."""
    upsert_entries(db, [entry])
    return ended_calls(db, *entry.call.key[:4])


def ended_calls(db: sqlite3.Connection, run: str, task: str, session: str, turn: int) -> list[LedgerEntry]:
    """Return the ended calls of a turn, the earliest day first."""
    rows = db.execute(
        "SELECT call, day, model, usd, most FROM calls"
        " WHERE run = ? AND task = ? AND session = ? AND turn = ? AND open = 0 ORDER BY day, call",
        (run, task, session, turn),
    )
    return [
        LedgerEntry(ModelCall(run, task, session, turn, name, day, model), usd, most)
        for name, day, model, usd, most in rows
    ]


def read_costs(db: sqlite3.Connection, run: str) -> list[SessionCost]:
    """Return the costs of a run by session and model; a call in flight counts as unconfirmed."""
    rows = db.execute(
        "SELECT task, session, model, TOTAL(usd), TOTAL(most - usd) FROM calls WHERE run = ?"
        " GROUP BY task, session, model",
        (run,),
    )
    return [
        SessionCost(task=task, role=session.partition("-")[2], model=model, usd=usd, unconfirmed=unconfirmed)
        for task, session, model, usd, unconfirmed in rows
    ]


def has_turn(db: sqlite3.Connection, run: str, task: str, session: str, turn: int) -> bool:
    """Whether a call of the turn was entered."""
    found = db.execute(
        "SELECT 1 FROM calls WHERE run = ? AND task = ? AND session = ? AND turn = ? LIMIT 1",
        (run, task, session, turn),
    )
    return found.fetchone() is not None


def count_answers(db: sqlite3.Connection, run: str) -> dict[tuple[str, str, int], int]:
    """Return the number of answers by task, session and turn."""
    rows = db.execute(
        "SELECT task, session, turn, COUNT(*) FROM calls WHERE run = ? AND open = 0 AND usd = most"
        " GROUP BY task, session, turn",
        (run,),
    )
    return {(task, session, turn): count for task, session, turn, count in rows}


def is_marked_read(db: sqlite3.Connection, what: str) -> bool:
    """Whether a source of entries is marked as read."""
    return db.execute("SELECT 1 FROM known WHERE what = ?", (what,)).fetchone() is not None


def mark_read(db: sqlite3.Connection, what: str) -> None:
    """Mark a source of entries as read."""
    db.execute("INSERT OR IGNORE INTO known VALUES (?)", (what,))
