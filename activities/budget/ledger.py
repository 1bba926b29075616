"""The ledger of a home: every model call is entered before it is made. SQLite, shared by the processes of a host.

A call is entered with its maximum cost and ended with its actual cost. The row of a process that died stays, because
the call may have been billed; whether a process is alive is decided by a file lock that it holds, not by a clock. A
lost ledger is rebuilt from the answers in the store (`activities.budget.spending_guard`).
"""

import asyncio
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from activities.budget import ledger_sql as rows
from activities.budget.ledger_sql import LedgerEntry, ModelCall
from baton.budget.caps import Cap, CapReached, SessionCost, judge_call
from baton.errors import DiskFull, WorkspaceError
from system.uncancellable import run_in_thread
from workspaces.git.errors import hold_brief_lock

Result = TypeVar("Result")

_LOCK_TIMEOUT = timedelta(seconds=20)
"""Time to wait for the transaction of another process; a transaction takes less than a millisecond."""

_MAX_SESSIONS = 1_000


class Ledger:
    """The ledger as one worker has it open; `close` releases the database and the worker's liveness lock."""

    def __init__(self, home: Path) -> None:
        self.path = home / "ledger.sqlite3"
        self._signs = home / "ledger.alive"
        self._owner = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._sign = -1
        self._live: set[str] = set()
        # Caches of rows that this process has read or entered.
        self._known: set[str] = set()
        self._entered: dict[tuple[str, str, str], int] = {}
        self._db: sqlite3.Connection | None = None
        self._turn_taking = asyncio.Lock()

    async def reserve_call(
        self, call: ModelCall, caps: Sequence[Cap], worst_usd: float
    ) -> CapReached | Literal["wait", "granted"]:
        """Enter a call before it is made. Return the cap that forbids it; `wait` if only calls in flight forbid it."""
        self._live.add(call.id)
        verdict: CapReached | Literal["wait", "granted"] = "wait"
        try:
            verdict = await self._run_transaction(self._insert_reservation, call, caps, worst_usd)
        except asyncio.CancelledError:
            # The row may be committed, but no call follows.
            await self._run_transaction(rows.delete_call, call)
            raise
        finally:
            if verdict != "granted":
                self._live.discard(call.id)
        if verdict == "granted":
            if len(self._entered) > _MAX_SESSIONS:
                self._entered.clear()
            self._entered[call.key[:3]] = call.turn
        return verdict

    async def end_call(self, call: ModelCall, usd: float, most: float) -> list[LedgerEntry]:
        """Enter the cost of a call and the maximum that it can have cost. Return all ended calls of its turn.

        A call that is never ended counts with its maximum, also if a power cut loses the end.
        """
        try:
            return await self._run_transaction(rows.end_call, LedgerEntry(call, usd, most), durable=False)
        finally:
            self._live.discard(call.id)

    async def release_call(self, call: ModelCall) -> None:
        """Delete a call that was certainly not billed."""
        self._entered.pop(call.key[:3], None)
        try:
            await self._run_transaction(rows.delete_call, call)
        finally:
            self._live.discard(call.id)

    async def abandon_call(self, call: ModelCall) -> None:
        """End a call with its maximum cost, because it may have been billed."""
        try:
            await self._run_transaction(rows.close_call, call.key)
        finally:
            self._live.discard(call.id)

    async def read_costs(self, run: str) -> list[SessionCost]:
        """Return the costs of a run by session and model; a call in flight counts as unconfirmed."""
        return await self._run_transaction(rows.read_costs, run)

    async def add_entries(self, entries: Iterable[LedgerEntry]) -> None:
        """Enter ended calls that were read from the store; they replace rows of the same calls."""
        await self._run_transaction(rows.upsert_entries, list(entries))

    async def count_answers(self, run: str) -> dict[tuple[str, str, int], int]:
        """Return the number of answers by task, session and turn."""
        return await self._run_transaction(rows.count_answers, run)

    async def has_turn(self, run: str, task: str, session: str, turn: int) -> bool:
        """Whether a call of the turn was entered."""
        return self._entered.get((run, task, session)) == turn or await self._run_transaction(
            rows.has_turn, run, task, session, turn
        )

    async def has_read(self, what: str) -> bool:
        """Whether `learnt` has marked this source as read."""
        if what not in self._known and await self._run_transaction(rows.is_marked_read, what):
            self._known.add(what)
        return what in self._known

    async def mark_read(self, what: str) -> None:
        """Mark a source of entries in the store as read."""
        await self._run_transaction(rows.mark_read, what)

    async def close(self) -> None:
        """Close the database. Calls that are still in flight count as those of a dead process."""
        async with self._turn_taking:
            if self._db is not None:
                await run_in_thread(self._close_database, self._db)
                self._db = None
            if self._sign >= 0:
                (self._signs / self._owner).unlink(missing_ok=True)
                os.close(self._sign)
                self._sign = -1

    async def _run_transaction(self, work: Callable[..., Result], *arguments: Any, durable: bool = True) -> Result:
        async with self._turn_taking:
            return await run_in_thread(self._execute_transaction, work, arguments, durable)

    def _execute_transaction(self, work: Callable[..., Result], arguments: tuple[Any, ...], durable: bool) -> Result:
        try:
            if self._db is None:
                self._db = self._open_database()
            db = self._db
            # Without the sync a power cut could lose a reservation, and a cap would be exceeded.
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db, *arguments)
            except BaseException:  # also a cancellation: a transaction is never left open
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
                raise DiskFull(
                    f"The ledger {self.path} cannot be written: the disk is full. Free some space, and the run goes on."
                ) from error
            raise WorkspaceError(f"The ledger {self.path} cannot be used: {error}.") from error
        except sqlite3.DatabaseError as error:
            if self._db is not None:
                self._db.close()
            self._db = None
            self._set_aside()
            raise WorkspaceError(
                f"The ledger {self.path} was damaged ({error}); it is rebuilt from the store."
            ) from error
        return result

    def _open_database(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._sign < 0:
            self._signs.mkdir(exist_ok=True, mode=0o700)
            self._sign = os.open(self._signs / self._owner, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._sign, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with self._lock_opening():
            # One connection, used by one thread at a time; the code begins and ends transactions itself.
            db = sqlite3.connect(
                self.path, timeout=_LOCK_TIMEOUT.total_seconds(), isolation_level=None, check_same_thread=False
            )
            try:
                self.path.chmod(0o600)
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(rows.SCHEMA)
            except BaseException:  # Not a database, a full disk, a cancellation: no reference leads to it any more.
                db.close()
                raise
            return db

    def _close_database(self, db: sqlite3.Connection) -> None:
        with self._lock_opening():
            db.close()

    def _lock_opening(self) -> AbstractContextManager[None]:
        """Lock opening and closing: both change the journal mode, for which SQLite does not wait.

        https://sqlite.org/wal.html
        """
        return hold_brief_lock(self._signs / "opening", f"The lock for opening {self.path}")

    def _set_aside(self) -> None:
        self._known.clear()
        self._entered.clear()
        for suffix in ("", "-wal", "-shm"):
            damaged = self.path.with_name(self.path.name + suffix)
            with suppress(FileNotFoundError):
                damaged.rename(damaged.with_name(f"{damaged.name}.damaged-{secrets.token_hex(3)}"))

    def _insert_reservation(
        self, db: sqlite3.Connection, call: ModelCall, caps: Sequence[Cap], worst_usd: float
    ) -> CapReached | Literal["wait", "granted"]:
        self._close_dead_calls(db, call)
        new_turn = not rows.has_turn(db, call.run, call.task, call.session, call.turn)
        verdicts = [judge_call(cap, rows.sum_spending(db, call, cap), worst_usd, new_turn=new_turn) for cap in caps]
        for verdict in verdicts:
            if isinstance(verdict, CapReached):
                return verdict
        if "wait" in verdicts:
            return "wait"
        values = (*call.key, call.day, call.model, self._owner, 1, 0.0, worst_usd)
        db.execute("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return "granted"

    def _close_dead_calls(self, db: sqlite3.Connection, call: ModelCall) -> None:
        """End the open rows of dead processes. They keep their maximum cost, because the calls may have been billed."""
        open_calls = db.execute("SELECT run, task, session, turn, call, owner FROM calls WHERE open = 1").fetchall()
        alive: dict[str, bool] = {}
        for *key, name, owner in open_calls:
            if owner == self._owner:
                lives = name in self._live
            else:
                lives = alive[owner] if owner in alive else alive.setdefault(owner, self._is_alive(owner))
            # The caller holds the lane's lock, so an earlier attempt of the same turn has ended.
            if not lives or tuple(key) == call.key[:4]:
                rows.close_call(db, (*key, name))

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
