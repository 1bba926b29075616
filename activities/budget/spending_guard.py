"""The spending guard between a turn and its model call: it checks the caps and keeps the ledger.

A call is made only after the ledger has it with its worst case. If only the worst cases of other calls in flight leave
too little of a cap, the turn waits for their end, because most calls cost far less than their worst case.
"""

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from activities.budget.ledger import Ledger
from activities.budget.ledger_sql import LedgerEntry, ModelCall
from activities.runtime.heartbeat import report_progress
from activities.runtime.step import step
from activities.runtime.stores import Stores, read_run_file, to_json, write_run_files
from activities.session.journal import AssistantEntry, LostCall
from activities.session.messages_api import CallMeter, ModelAnswer
from baton.budget.caps import CapReached, Caps, caps_for_call
from baton.budget.pricing import PriceList
from baton.errors import BatonError, DiskFull, StoreDamaged
from baton.logs import get_logger
from baton.settings.core import Settings
from baton.steps.session import SessionKey
from baton.steps.store_paths import FORKED, LIMITS, TRANSCRIPT, transcript_folder
from baton.steps.task import SetCapsInput
from system.uncancellable import run_in_thread
from workspaces.git.errors import translate_errors
from workspaces.git.inventory import list_stores
from workspaces.store.run_records import damaged_record, read_record
from workspaces.store.store import Store

_PAID = re.compile(rb"[0-9]{5}-(?:assistant|cut-[0-9]+)\.json")
_LANE = re.compile(r"refs/baton/(?P<run>[^/]+)/(?P<task>[^/]+)/head")
_POLL_INTERVAL = timedelta(milliseconds=100)
"""Time between two reads of the ledger while calls of others are in flight; a read takes less than a millisecond."""

_log = get_logger(__name__)


class SpendingGuard:
    """The guard that admits the calls that the caps allow, and enters their costs into the ledger."""

    def __init__(self, stores: Stores, ledger: Ledger, prices: PriceList, settings: Settings) -> None:
        self._stores = stores
        self._ledger = ledger
        self._prices = prices
        self._settings = settings

    async def reserve_call(self, key: SessionKey, turn: int, model: str, worst_usd: float) -> ModelCall | CapReached:
        """Enter a call into the ledger and return it, or return the cap that forbids it."""
        store = await self._stores.open_store(key.repo)
        caps = await read_caps(store, key.run)
        daily = any(cap is not None for cap in self._daily_caps(caps))
        await self._catch_up(store, key, turn, daily=daily)
        name = secrets.token_hex(6)
        while True:
            day = f"{datetime.now(UTC):%Y-%m-%d}"
            call = ModelCall(key.run, key.task, key.session_name, turn, name, day, model)
            usd, turns = self._daily_caps(caps)
            bounds = caps_for_call(
                caps, task=key.task, session=key.session_name, day=day, usd_per_day=usd, turns_per_day=turns
            )
            verdict = await self._ledger.reserve_call(call, bounds, worst_usd)
            if verdict == "granted":
                return call
            if isinstance(verdict, CapReached):
                return verdict
            report_progress(stage="budget")
            await asyncio.sleep(_POLL_INTERVAL.total_seconds())
            caps = await read_caps(store, key.run)

    def _daily_caps(self, caps: Caps) -> tuple[float | None, int | None]:
        """Return the caps of a day in USD and turns: the stricter of the run's and the settings'."""
        own, limits = self._settings, caps.limits
        return _minimum_of(own.usd_per_day, limits.usd_per_day), _minimum_of(own.turns_per_day, limits.turns_per_day)

    async def make_call(
        self, call: ModelCall, max_output: int, make: Callable[[CallMeter], Awaitable[ModelAnswer]]
    ) -> tuple[ModelAnswer, list[LostCall]]:
        """Make the call and enter its cost, also if it ends without an answer.

        Return the answer and the other ended calls of the turn; those without an answer are stored with this one.
        """
        meter = CallMeter()
        try:
            answer = await make(meter)
        # Also a cancellation: a call that has begun is billed.
        except BaseException:
            await self._end_without_answer(call, max_output, meter)
            raise
        cost = self._prices.cost_usd(answer.model, answer.usage)
        ended: list[LedgerEntry] = []
        try:
            ended = await self._ledger.end_call(call, cost, cost)
        except BatonError as error:
            # The answer counts for more than the entry: the call stays in the ledger with its worst case.
            _log.warning("a call could not be entered", error=str(error))
        return answer, [
            LostCall(call=entry.call.id, day=entry.call.day, usd=round(entry.usd, 9), most=round(entry.most, 9))
            for entry in ended
            if entry.call.id != call.id
        ]

    async def _end_without_answer(self, call: ModelCall, max_output: int, meter: CallMeter) -> None:
        try:
            if meter.free:
                await self._ledger.release_call(call)
            elif meter.begun is not None:
                usd = self._prices.cost_usd(meter.model, meter.begun)
                longest = meter.begun.model_copy(update={"output_tokens": max(max_output, meter.begun.output_tokens)})
                await self._ledger.end_call(call, usd, self._prices.cost_usd(meter.model, longest))
            else:
                await self._ledger.abandon_call(call)
        except BatonError as error:
            # The error of the call itself is raised; without an end the call counts with its worst case.
            _log.warning("a call could not be entered", error=str(error))

    async def _catch_up(self, store: Store, key: SessionKey, turn: int, *, daily: bool) -> None:
        """Enter the calls that are in the store and not in the ledger: those of another host, or all of a lost ledger.

        `daily`: a cap of the day holds, so the spending of today in every store of the home must be known.
        """
        if not await self._ledger.has_read("stores"):
            unread = await self._read_today()
            if unread and daily:
                raise StoreDamaged(
                    "A cap of the day holds, and a store that may know of money spent today cannot be read:"
                    f" {unread[0]}"
                )
            for reason in unread:
                _log.warning("a store is left out of today's spending", error=reason)
            if not unread:
                await self._ledger.mark_read("stores")
        # A host that has just taken over lacks the turn before. A session's first turn has none, so it always reads.
        if turn == 1 or not await self._ledger.has_turn(key.run, key.task, key.session_name, turn - 1):
            await self._read_run(store, key.run, (await run_in_thread(_lane_heads, store)).get(key.run, []))

    async def _read_today(self) -> list[str]:
        """Enter the calls that all runs of this home made today; needed if the ledger is newer than the home.

        Return a sentence for each store that cannot be read.
        """
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        unread = []
        for place in await run_in_thread(list_stores, self._stores.home):
            if place.faults or place.repository is None:
                unread.append(place.first_fault)
                continue
            try:
                with translate_errors(f"reading what was spent in {place.root}"):
                    store = await self._stores.open_store(place.repository)
                    for run, lanes in (await run_in_thread(_lane_heads, store)).items():
                        if any(store.objects.commit_object(head).commit_time >= midnight for _, head in lanes):
                            await self._read_run(store, run, lanes)
            except DiskFull:
                raise
            except (BatonError, RecursionError) as error:
                unread.append(f"{error} `baton doctor --store --repair` repairs it as far as possible.")
        return unread

    async def _read_run(self, store: Store, run: str, lanes: list[tuple[str, str]]) -> None:
        """Enter the calls that are in a run's lanes and not in the ledger, in one transaction."""
        known = await self._ledger.count_answers(run)
        inherited = await _inherited_turns(store, run)
        entries: list[LedgerEntry] = []
        for task, head in lanes:
            for (session, turn), names in (await run_in_thread(_answer_files, store, head)).items():
                if known.get((task, session, turn), 0) >= len(names) or (task, session, turn) in inherited:
                    continue
                for name in names:
                    data = await store.read_file(head, f"{transcript_folder(session)}/{name}")
                    assert data is not None
                    entries += _entries_of_answer(run, task, session, AssistantEntry.model_validate_json(data))
        if entries:
            await self._ledger.add_entries(entries)


class SpendingActivities:
    """The activity `set_caps`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @step("set_caps")
    async def set_caps(self, change: SetCapsInput) -> None:
        """Write the current caps into the store, where every turn reads them before its model call."""
        store = await self._stores.open_store(change.repo)
        await write_run_files(
            store, change.run, {LIMITS: to_json(change.caps.model_dump(mode="json"))}, "caps", change.at
        )


async def read_caps(store: Store, run: str) -> Caps:
    """Return the caps of a run. Raises WorkElsewhere if they are missing: without caps no call is allowed."""
    data = await read_run_file(store, run, LIMITS)
    if data is None:
        raise store.work_elsewhere(run, LIMITS)
    try:
        caps: Caps = read_record(LIMITS, data)
    except ValueError as error:
        raise damaged_record(LIMITS, run, error) from error
    return caps


Amount = TypeVar("Amount", int, float)


def _minimum_of(one: Amount | None, other: Amount | None) -> Amount | None:
    return min((amount for amount in (one, other) if amount is not None), default=None)


def _lane_heads(store: Store) -> dict[str, list[tuple[str, str]]]:
    """Return task and newest checkpoint of every lane, by run."""
    lanes: dict[str, list[tuple[str, str]]] = {}
    references = store.objects.repo.references
    for name in references:
        found = _LANE.fullmatch(name)
        if found and found["task"] != "run":
            lanes.setdefault(found["run"], []).append((found["task"], str(references[name].target)))
    return lanes


def _answer_files(store: Store, head: str) -> dict[tuple[str, int], list[str]]:
    """Return the file names of all answers in a lane's checkpoint, by session and turn."""
    objects = store.objects
    transcript = objects.find_entry(objects.tree_of(head), TRANSCRIPT)
    sessions = objects.list_entries(transcript.oid) if transcript else {}
    found: dict[tuple[str, int], list[str]] = {}
    for session, entry in sessions.items():
        for name in objects.list_entries(entry.oid):
            if _PAID.fullmatch(name):
                found.setdefault((session.decode(), int(name[:5])), []).append(name.decode())
    return found


async def _inherited_turns(store: Store, run: str) -> set[tuple[str, str, int]]:
    """Return the turns that a forked run took over: they count for the run that made them."""
    data = await read_run_file(store, run, FORKED)
    if data is None:
        return set()
    forked = json.loads(data)
    answers = await run_in_thread(_answer_files, store, str(forked["checkpoint"]))
    return {(str(forked["task"]), session, turn) for session, turn in answers}


def _entries_of_answer(run: str, task: str, session: str, kept: AssistantEntry) -> list[LedgerEntry]:
    def call(name: str, day: str) -> ModelCall:
        return ModelCall(run, task, session, kept.turn, name, day, kept.model)

    own = LedgerEntry(call(kept.call, kept.day), kept.cost_usd, kept.cost_usd)
    return [own, *(LedgerEntry(call(lost.call, lost.day), lost.usd, lost.most) for lost in kept.lost)]
