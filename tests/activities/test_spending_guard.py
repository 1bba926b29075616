"""What a host reads from the store before it spends: other hosts' turns, turns it lost itself, all runs of today."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.budget.ledger import Ledger
from activities.budget.ledger_sql import ModelCall
from activities.budget.spending_guard import SpendingGuard
from activities.runtime.stores import Stores, to_json, write_run_files
from activities.session.journal import AssistantEntry, LostCall
from baton.budget.caps import CapReached, Caps
from baton.budget.pricing import shipped_prices
from baton.errors import StoreDamaged, WorkspaceError
from baton.records.run import RunLimits
from baton.settings.core import Settings
from baton.steps.session import SessionKey
from baton.steps.store_paths import LIMITS
from tests.support.repositories import make_repository
from workspaces.checkpoints.checkpoints import Checkpoints, Lane

TODAY = f"{datetime.now(UTC):%Y-%m-%d}"


class Scene:
    """A home with a store, in which runs have left answers."""

    def __init__(self, settings: Settings, repo: Path) -> None:
        self.settings = settings
        self.repo = str(repo)
        self.stores = Stores(settings.home)
        self.ledger = Ledger(settings.home)

    def purse(self, **more: Any) -> SpendingGuard:
        return SpendingGuard(self.stores, self.ledger, shipped_prices(), self.settings.model_copy(update=more))

    def key(self, run: str, task: str = "t1") -> SessionKey:
        return SessionKey(run=run, repo=self.repo, task=task, round=1, role="backend")

    async def begin(self, run: str, **limits: Any) -> None:
        store = await self.stores.open_store(self.repo)
        base = await store.fetch_base(None)
        caps = Caps(limits=RunLimits(**limits))
        now = datetime.now(UTC)
        await write_run_files(store, run, {LIMITS: to_json(caps.model_dump(mode="json"))}, "begin", now, begins=True)
        for task in ("t1", "t2"):
            await Checkpoints(store).begin_lane(Lane(run, task), base.commit, at=now)

    async def answered(
        self, run: str, task: str, turn: int, usd: float, *, name: str = "assistant", ago: int = 0, **entry: Any
    ) -> None:
        """An answer as some host left it in the store."""
        checkpoints = Checkpoints(await self.stores.open_store(self.repo))
        lane = Lane(run, task)
        head = await checkpoints.read_head(lane)
        assert head is not None
        at = datetime.now(UTC) - timedelta(days=ago)
        kept = AssistantEntry(
            turn=turn,
            message={"role": "assistant", "content": []},
            stop_reason="tool_use",
            model="m",
            cost_usd=usd,
            call=f"{run}-{task}-{turn}-{name}",
            day=f"{at:%Y-%m-%d}",
            **entry,
        )
        path = f"transcript/1-backend/{turn:05d}-{name}.json"
        data = kept.model_dump_json(exclude_defaults=True).encode()
        await checkpoints.record_checkpoint(
            lane, expected=head, files={path: data}, workspace=None, summary="answer", at=at
        )


@pytest.fixture
async def scene(settings: Settings, tmp_path: Path) -> Any:
    opened = Scene(settings, make_repository(tmp_path / "shop"))
    yield opened
    await opened.ledger.close()


async def test_all_tasks_of_a_run_are_read_with_cuts_and_lost_calls(scene: Scene) -> None:
    await scene.begin("r", usd=1.0)
    await scene.answered("r", "t1", 1, 0.1, name="cut-1")
    await scene.answered("r", "t1", 1, 0.2, lost=[LostCall(call="x", day=TODAY, usd=0.01, most=0.25)])
    await scene.answered("r", "t2", 1, 0.3)
    # 0.61 is known, 0.24 more may have been billed: 0.15 is left.
    reached = await scene.purse().reserve_call(scene.key("r"), 2, "m", 0.16)
    assert isinstance(reached, CapReached)
    assert (reached.spent, reached.unconfirmed) == (0.61, 0.24)
    assert isinstance(await scene.purse().reserve_call(scene.key("r"), 2, "m", 0.14), ModelCall)


async def test_a_host_that_comes_back_learns_what_another_one_did_meanwhile(scene: Scene) -> None:
    await scene.begin("r", usd=1.0)
    mine = await scene.purse().reserve_call(scene.key("r"), 1, "m", 0.2)
    assert isinstance(mine, ModelCall)
    await scene.ledger.abandon_call(mine)
    # Another host asked again, and went on.
    await scene.answered("r", "t1", 1, 0.3)
    await scene.answered("r", "t1", 2, 0.1)
    reached = await scene.purse().reserve_call(scene.key("r"), 3, "m", 0.5)
    assert isinstance(reached, CapReached)
    assert (reached.spent, reached.unconfirmed) == (0.4, 0.2)


async def test_a_new_ledger_counts_today_over_all_runs_and_no_other_day(scene: Scene) -> None:
    for run in ("a", "b", "c"):
        await scene.begin(run)
    await scene.answered("a", "t1", 1, 0.4)
    await scene.answered("b", "t2", 1, 5.0, ago=2)
    await scene.answered("b", "t2", 2, 0.3)
    reached = await scene.purse(usd_per_day=1.0).reserve_call(scene.key("c"), 1, "m", 0.4)
    assert isinstance(reached, CapReached)
    assert (reached.scope, reached.name, reached.spent) == ("day", TODAY, 0.7)
    turns = await scene.purse(turns_per_day=2).reserve_call(scene.key("c"), 1, "m", 0.4)
    assert isinstance(turns, CapReached)
    assert turns.unit == "turns"


async def test_without_its_caps_a_run_may_spend_nothing(scene: Scene) -> None:
    with pytest.raises(WorkspaceError, match=r"limits\.json"):
        await scene.purse().reserve_call(scene.key("unheard-of"), 1, "m", 0.1)


async def test_caps_are_kept_as_plain_json(scene: Scene) -> None:
    await scene.begin("r", usd=2.5)
    store = await scene.stores.open_store(scene.repo)
    head = await store.read_head("refs/baton/r/run/head")
    assert head is not None
    kept = json.loads(await store.read_file(head, LIMITS) or b"")
    assert kept["limits"]["usd"] == 2.5
    assert kept["raised"] == {}


@pytest.mark.parametrize("damage", ["no HEAD", "no repository", "no transcript"])
async def test_a_damaged_store_of_others_holds_up_only_what_a_cap_of_the_day_needs(
    scene: Scene, tmp_path: Path, damage: str
) -> None:
    await scene.begin("mine", usd=5.0)
    other = Scene(scene.settings, make_repository(tmp_path / "other"))
    await other.begin("theirs")
    await other.answered("theirs", "t1", 1, 0.4)
    store = await other.stores.open_store(other.repo)
    lost, kept = store.root / "repository", store.root / "aside"
    if damage == "no HEAD":
        lost = store.path / "HEAD"
    if damage == "no transcript":
        head = await Checkpoints(store).read_head(Lane("theirs", "t1"))
        files = {"transcript/1-backend/00002-assistant.json": b"{"}
        await Checkpoints(store).record_checkpoint(
            Lane("theirs", "t1"), expected=str(head), files=files, workspace=None, summary="x", at=datetime.now(UTC)
        )
    else:
        lost.rename(kept)
    with pytest.raises(StoreDamaged, match=r"A cap of the day holds.*doctor --store --repair"):
        await scene.purse(usd_per_day=1.0).reserve_call(scene.key("mine"), 1, "m", 0.1)
    call = await scene.purse().reserve_call(scene.key("mine"), 1, "m", 0.1)
    assert isinstance(call, ModelCall)
    await scene.ledger.release_call(call)
    if damage != "no transcript":
        kept.rename(lost)
        # It is looked at again: what was spent there counts now.
        reached = await scene.purse(usd_per_day=1.0).reserve_call(scene.key("mine"), 1, "m", 0.65)
        assert isinstance(reached, CapReached)
        assert reached.spent == 0.4
    await other.ledger.close()


async def test_damaged_caps_let_no_call_through_and_say_what_to_do(scene: Scene) -> None:
    await scene.begin("r")
    store = await scene.stores.open_store(scene.repo)
    for data in (b"{", b"[]", b"[" * 100_000, b'{"limits": {"usd": "much"}}'):
        await write_run_files(store, "r", {LIMITS: data}, "x", datetime.now(UTC))
        with pytest.raises(StoreDamaged, match=r"limits\.json of the run r is damaged .*doctor --store --repair"):
            await scene.purse().reserve_call(scene.key("r"), 1, "m", 0.1)
