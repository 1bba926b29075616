"""The ledger on a real database: parallel calls, dead processes, a lost or damaged file."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.budget.ledger import Ledger
from activities.budget.ledger_sql import LedgerEntry, ModelCall
from baton.budget.caps import Cap, CapReached
from baton.errors import WorkspaceError
from tests.workspaces.conftest import stopped_holder

DAY = "2026-11-01"


def call(name: str, **other: Any) -> ModelCall:
    fields = {"run": "r", "task": "t1", "session": "1-backend", "turn": 1, "day": DAY, "model": "m", **other}
    return ModelCall(id=name, **fields)


def run_cap(amount: float) -> list[Cap]:
    return [Cap("run", "usd", "", amount, amount)]


@pytest.fixture
async def ledger(tmp_path: Path) -> Any:
    opened = Ledger(tmp_path)
    yield opened
    await opened.close()


async def test_calls_in_flight_count_with_their_worst_case(ledger: Ledger) -> None:
    first, second = call("a", task="t1"), call("b", task="t2")
    assert await ledger.reserve_call(first, run_cap(1.0), 0.6) == "granted"
    # 1.20 would be too much; what the first one really costs decides.
    assert await ledger.reserve_call(second, run_cap(1.0), 0.6) == "wait"
    await ledger.end_call(first, 0.3, 0.3)
    assert await ledger.reserve_call(second, run_cap(1.0), 0.6) == "granted"
    await ledger.end_call(second, 0.5, 0.5)
    reached = await ledger.reserve_call(call("c", task="t2", turn=2), run_cap(1.0), 0.6)
    assert isinstance(reached, CapReached)
    assert (reached.spent, reached.cap, reached.worst) == (0.8, 1.0, 0.6)


async def test_many_at_once_in_two_processes_worth_of_ledgers_never_pass_the_cap(tmp_path: Path) -> None:
    ledgers = [Ledger(tmp_path) for _ in range(2)]

    async def work(number: int) -> int:
        mine, made = ledgers[number % 2], 0
        for turn in range(1, 30):
            this = call(f"{number}-{turn}", task=f"t{number}", turn=turn)
            while (verdict := await mine.reserve_call(this, run_cap(1.0), 0.1)) == "wait":
                await asyncio.sleep(0.001)
            if isinstance(verdict, CapReached):
                break
            await asyncio.sleep(0.001)
            await mine.end_call(this, 0.04, 0.04)
            made += 1
        return made

    try:
        made = sum(await asyncio.gather(*(work(number) for number in range(8))))
        (spent,) = {round(sum(cost.usd for cost in await each.read_costs("r")), 6) for each in ledgers}
    finally:
        for each in ledgers:
            await each.close()
    # As close to the cap as the worst case of a call allows.
    assert spent == pytest.approx(made * 0.04)
    assert 0.9 < spent <= 1.0


async def test_what_was_refused_costs_nothing_and_a_retry_is_no_new_turn(ledger: Ledger) -> None:
    turns = [Cap("task", "turns", "t1", 1, 1)]
    assert await ledger.reserve_call(call("a"), turns, 0.1) == "granted"
    await ledger.end_call(call("a"), 0.01, 0.1)
    assert await ledger.reserve_call(call("b"), turns, 0.1) == "granted"
    await ledger.release_call(call("b"))
    assert [(cost.usd, round(cost.unconfirmed, 6)) for cost in await ledger.read_costs("r")] == [(0.01, 0.09)]
    assert isinstance(await ledger.reserve_call(call("c", turn=2), turns, 0.1), CapReached)


async def test_the_call_of_a_killed_process_counts_on_but_nobody_waits_for_it(ledger: Ledger, tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from activities.budget.ledger import Ledger\nfrom activities.budget.ledger_sql import ModelCall\n"
        "async def main():\n"
        "    ledger = Ledger(Path(sys.argv[1]))\n"
        f"    call = ModelCall('r', 't1', '1-backend', 1, 'dead', {DAY!r}, 'm')\n"
        "    print(await ledger.reserve_call(call, [], 0.4), flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"granted\n"
        assert await ledger.reserve_call(call("b", task="t2"), run_cap(1.0), 0.7) == "wait"
        process.kill()
        process.wait()
    reached = await ledger.reserve_call(call("b", task="t2"), run_cap(1.0), 0.7)
    assert isinstance(reached, CapReached)
    assert (reached.spent, reached.unconfirmed) == (0.0, 0.4)
    assert await ledger.reserve_call(call("b", task="t2"), run_cap(1.0), 0.6) == "granted"
    costs = {cost.task: (cost.usd, cost.unconfirmed) for cost in await ledger.read_costs("r")}
    assert costs == {"t1": (0.0, 0.4), "t2": (0.0, 0.6)}
    # Its sign of life is cleared away; only our own is left.
    assert len([name for name in os.listdir(tmp_path / "ledger.alive") if name != "opening"]) == 1


async def test_entering_what_the_store_knows_again_changes_nothing(ledger: Ledger) -> None:
    known = [LedgerEntry(call("a"), 0.2, 0.2), LedgerEntry(call("x"), 0.0, 0.3)]
    assert await ledger.reserve_call(call("a"), [], 0.5) == "granted"
    for _ in range(2):
        await ledger.add_entries(known)
    (cost,) = await ledger.read_costs("r")
    assert (cost.role, cost.usd, cost.unconfirmed) == ("backend", 0.2, 0.3)
    # The second one came to nothing: it is no answer.
    assert await ledger.count_answers("r") == {("t1", "1-backend", 1): 1}


async def test_a_day_is_over_all_runs_and_ends(ledger: Ledger) -> None:
    day = [Cap("day", "usd", DAY, 1.0, 1.0)]
    await ledger.add_entries(
        [LedgerEntry(call("a", run="other"), 0.8, 0.8), LedgerEntry(call("b", run="old", day="2026-10-31"), 5.0, 5.0)]
    )
    assert isinstance(await ledger.reserve_call(call("c"), day, 0.3), CapReached)
    assert await ledger.reserve_call(call("c", day="2026-11-02"), day, 0.3) == "granted"


async def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").write_bytes(b"this is no database" * 1_000)
    ledger = Ledger(tmp_path)
    try:
        with pytest.raises(WorkspaceError, match="damaged"):
            await ledger.read_costs("r")
        assert await ledger.read_costs("r") == []
        assert list(tmp_path.glob("ledger.sqlite3.damaged-*"))
        assert (tmp_path / "ledger.sqlite3").stat().st_mode & 0o777 == 0o600
    finally:
        await ledger.close()


async def test_a_process_that_was_stopped_while_it_opened_the_ledger_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workspaces.git.errors.BRIEF_WAIT", timedelta(seconds=0.3))
    ledger = Ledger(tmp_path)
    async with stopped_holder(tmp_path / "ledger.alive/opening") as process:
        with pytest.raises(WorkspaceError, match=f"by process {process}, which is stopped, .* kill it"):
            await ledger.read_costs("r")
    assert await ledger.read_costs("r") == []
    await ledger.close()
