"""The ledger of a home: every model call that its hosts make, counted before it is made. SQLite, shared by processes.

A call is entered with the most that it can cost and ended with what it did cost. A row whose process died stays: the
call may have been billed. Whether a process is alive is told by a lock that it holds, not by a clock. The ledger can
be lost: what the answers in the store carry is entered again (`activities.spending`).
"""

import asyncio
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from baton.budget import Cap, Cost, Reached, Spending, judge
from baton.errors import DiskFull, WorkspaceError
from workspaces.threads import in_thread

Result = TypeVar("Result")

_PATIENCE = 20.0
"""Seconds to wait for another process's transaction; they take less than a millisecond."""

_MOST_SESSIONS = 1_000

_SCHEMA = """
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
class Call:
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
        """What names it in the ledger."""
        return self.run, self.task, self.session, self.turn, self.id


@dataclass(frozen=True)
class Entry:
    """A call that has ended, in whichever way."""

    call: Call
    usd: float
    most: float
    """The most that it can have cost; the same as `usd` where the answer is there."""


class Ledger:
    """Opened once per worker; `close` lets go of its file and its sign of life."""

    def __init__(self, home: Path) -> None:
        self.path = home / "ledger.sqlite3"
        self._signs = home / "ledger.alive"
        self._owner = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._sign = -1
        self._live: set[str] = set()
        # What was read or entered here already, so that it need not be asked again.
        self._known: set[str] = set()
        self._entered: dict[tuple[str, str, str], int] = {}
        self._db: sqlite3.Connection | None = None
        self._turn_taking = asyncio.Lock()

    async def reserve(self, call: Call, caps: Sequence[Cap], worst_usd: float) -> Reached | Literal["wait", "granted"]:
        """Enter a call before it is made, unless a cap stands in the way; `wait`: others' calls in flight do."""
        self._live.add(call.id)
        verdict: Reached | Literal["wait", "granted"] = "wait"
        try:
            verdict = await self._run(self._reserve, call, caps, worst_usd)
        except asyncio.CancelledError:
            # The row may be there, but no call will be made for it.
            await self._run(_delete, call)
            raise
        finally:
            if verdict != "granted":
                self._live.discard(call.id)
        if verdict == "granted":
            if len(self._entered) > _MOST_SESSIONS:
                self._entered.clear()
            self._entered[call.key[:3]] = call.turn
        return verdict

    async def end(self, call: Call, usd: float, most: float) -> list[Entry]:
        """Say what a call cost, and the most that it can have cost; gives all calls of its turn that have ended.

        Without an end it counts as it was entered, also where a power cut takes the end back.
        """
        try:
            return await self._run(_end, Entry(call, usd, most), durable=False)
        finally:
            self._live.discard(call.id)

    async def release(self, call: Call) -> None:
        """Take back a call that was certainly not billed."""
        self._entered.pop(call.key[:3], None)
        try:
            await self._run(_delete, call)
        finally:
            self._live.discard(call.id)

    async def abandon(self, call: Call) -> None:
        """Leave a call as it was entered: nobody knows whether it was billed."""
        try:
            await self._run(_close_row, call.key)
        finally:
            self._live.discard(call.id)

    async def ended(self, run: str, task: str, session: str, turn: int) -> list[Entry]:
        """All calls of one turn that have ended, the earliest day first."""
        return await self._run(_ended, run, task, session, turn)

    async def costs(self, run: str) -> list[Cost]:
        """What a run cost by session and model; a call in flight counts as unconfirmed."""
        return await self._run(_costs, run)

    async def add(self, entries: Iterable[Entry]) -> None:
        """Enter calls that the store knows of; what is there already stays as the store has it."""
        await self._run(_upsert, list(entries))

    async def turns(self, run: str, task: str) -> set[tuple[str, int]]:
        """Session and number of every turn of a task that was entered."""
        return await self._run(_turns, run, task)

    async def has_turn(self, run: str, task: str, session: str, turn: int) -> bool:
        """Whether a turn was entered."""
        return self._entered.get((run, task, session)) == turn or await self._run(_has_turn, run, task, session, turn)

    async def knows(self, what: str) -> bool:
        """Whether `learnt` was said of this."""
        if what not in self._known and await self._run(_knows, what):
            self._known.add(what)
        return what in self._known

    async def learnt(self, what: str) -> None:
        """Remember that something was read from the store."""
        await self._run(_learn, what)

    async def close(self) -> None:
        """Calls that are still in flight count as if the process had died."""
        async with self._turn_taking:
            if self._db is not None:
                await in_thread(self._db.close)
                self._db = None
            if self._sign >= 0:
                (self._signs / self._owner).unlink(missing_ok=True)
                os.close(self._sign)
                self._sign = -1

    async def _run(self, work: Callable[..., Result], *arguments: Any, durable: bool = True) -> Result:
        async with self._turn_taking:
            return await in_thread(self._transact, work, arguments, durable)

    def _transact(self, work: Callable[..., Result], arguments: tuple[Any, ...], durable: bool) -> Result:
        try:
            if self._db is None:
                self._db = self._open()
            db = self._db
            # A reservation that a power cut takes back would let a cap be passed, so it waits for the disk.
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db, *arguments)
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
                raise DiskFull(
                    f"The ledger {self.path} cannot be written: the disk is full. Make room, and the run goes on."
                ) from error
            raise WorkspaceError(f"The ledger {self.path} cannot be used: {error}.") from error
        except sqlite3.DatabaseError as error:
            self._db = None
            self._set_aside()
            raise WorkspaceError(
                f"The ledger {self.path} was damaged ({error}); it is read anew from the store."
            ) from error
        return result

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._sign < 0:
            self._signs.mkdir(exist_ok=True, mode=0o700)
            self._sign = os.open(self._signs / self._owner, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._sign, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # One connection, used by one thread at a time; transactions are begun by hand.
        db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        self.path.chmod(0o600)
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_SCHEMA)
        return db

    def _set_aside(self) -> None:
        self._known.clear()
        self._entered.clear()
        for suffix in ("", "-wal", "-shm"):
            damaged = self.path.with_name(self.path.name + suffix)
            with suppress(FileNotFoundError):
                damaged.rename(damaged.with_name(f"{damaged.name}.damaged-{secrets.token_hex(3)}"))

    def _reserve(
        self, db: sqlite3.Connection, call: Call, caps: Sequence[Cap], worst_usd: float
    ) -> Reached | Literal["wait", "granted"]:
        self._bury(db, call)
        new_turn = not _has_turn(db, call.run, call.task, call.session, call.turn)
        verdicts = [judge(cap, _spending(db, call, cap), worst_usd, new_turn=new_turn) for cap in caps]
        for verdict in verdicts:
            if isinstance(verdict, Reached):
                return verdict
        if "wait" in verdicts:
            return "wait"
        values = (*call.key, call.day, call.model, self._owner, 1, 0.0, worst_usd)
        db.execute("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return "granted"

    def _bury(self, db: sqlite3.Connection, call: Call) -> None:
        """End the rows of the dead. Their calls count on, for what was asked may have been billed."""
        rows = db.execute("SELECT run, task, session, turn, call, owner FROM calls WHERE open = 1").fetchall()
        alive: dict[str, bool] = {}
        for *key, name, owner in rows:
            if owner == self._owner:
                lives = name in self._live
            else:
                lives = alive[owner] if owner in alive else alive.setdefault(owner, self._is_alive(owner))
            # Whoever holds the lane is alone in it: an earlier attempt of the same turn has ended.
            if not lives or tuple(key) == call.key[:4]:
                _close_row(db, (*key, name))

    def _is_alive(self, owner: str) -> bool:
        sign = self._signs / owner
        try:
            descriptor = os.open(sign, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            sign.unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)


def _spending(db: sqlite3.Connection, call: Call, cap: Cap) -> Spending:
    where, values = {
        "session": ("run = ? AND task = ? AND session = ?", (call.run, call.task, call.session)),
        "task": ("run = ? AND task = ?", (call.run, call.task)),
        "run": ("run = ?", (call.run,)),
        "day": ("day = ?", (call.day,)),
    }[cap.scope]
    if cap.unit == "turns":
        turns = f"SELECT COUNT(*) FROM (SELECT DISTINCT run, task, session, turn FROM calls WHERE {where})"  # noqa: S608
        return Spending(turns=int(db.execute(turns, values).fetchone()[0]))
    # `where` is one of the four texts above.
    sums = "SELECT TOTAL(usd * (open = 0)), TOTAL((most - usd) * (open = 0)), TOTAL(most * (open = 1)) FROM calls"
    known, unconfirmed, in_flight = db.execute(f"{sums} WHERE {where}", values).fetchone()
    return Spending(known=known, unconfirmed=unconfirmed, in_flight=in_flight)


def _upsert(db: sqlite3.Connection, entries: list[Entry]) -> None:
    rows = [(*entry.call.key, entry.call.day, entry.call.model, "", 0, entry.usd, entry.most) for entry in entries]
    db.executemany(
        "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET open = 0, usd = excluded.usd, most = excluded.most",
        rows,
    )


def _delete(db: sqlite3.Connection, call: Call) -> None:
    db.execute("DELETE FROM calls WHERE run = ? AND task = ? AND session = ? AND turn = ? AND call = ?", call.key)


def _close_row(db: sqlite3.Connection, key: tuple[Any, ...]) -> None:
    db.execute("UPDATE calls SET open = 0 WHERE run = ? AND task = ? AND session = ? AND turn = ? AND call = ?", key)


def _end(db: sqlite3.Connection, entry: Entry) -> list[Entry]:
    _upsert(db, [entry])
    return _ended(db, *entry.call.key[:4])


def _ended(db: sqlite3.Connection, run: str, task: str, session: str, turn: int) -> list[Entry]:
    rows = db.execute(
        "SELECT call, day, model, usd, most FROM calls"
        " WHERE run = ? AND task = ? AND session = ? AND turn = ? AND open = 0 ORDER BY day, call",
        (run, task, session, turn),
    )
    return [Entry(Call(run, task, session, turn, name, day, model), usd, most) for name, day, model, usd, most in rows]


def _costs(db: sqlite3.Connection, run: str) -> list[Cost]:
    rows = db.execute(
        "SELECT task, session, model, TOTAL(usd), TOTAL(most - usd) FROM calls WHERE run = ?"
        " GROUP BY task, session, model",
        (run,),
    )
    return [
        Cost(task=task, role=session.partition("-")[2], model=model, usd=usd, unconfirmed=unconfirmed)
        for task, session, model, usd, unconfirmed in rows
    ]


def _has_turn(db: sqlite3.Connection, run: str, task: str, session: str, turn: int) -> bool:
    found = db.execute(
        "SELECT 1 FROM calls WHERE run = ? AND task = ? AND session = ? AND turn = ? LIMIT 1",
        (run, task, session, turn),
    )
    return found.fetchone() is not None


def _turns(db: sqlite3.Connection, run: str, task: str) -> set[tuple[str, int]]:
    rows = db.execute("SELECT DISTINCT session, turn FROM calls WHERE run = ? AND task = ?", (run, task))
    return {(str(session), int(turn)) for session, turn in rows}


def _knows(db: sqlite3.Connection, what: str) -> bool:
    return db.execute("SELECT 1 FROM known WHERE what = ?", (what,)).fetchone() is not None


def _learn(db: sqlite3.Connection, what: str) -> None:
    db.execute("INSERT OR IGNORE INTO known VALUES (?)", (what,))
