"""What stands between a turn and its model call: the caps, the ledger, and what the store knows of money spent.

A call is made only once the ledger has it with its worst case. Where calls of other sessions hold what is left, a turn
waits for their end, for most cost far less than their worst case.
"""

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from temporalio import activity

from activities.budget.ledger import Ledger
from activities.budget.ledger_sql import Call, Entry
from activities.runtime.failures import with_posture
from activities.runtime.heartbeat import doing, heartbeating
from activities.runtime.stores import FORKED, LIMITS, Stores, run_file, to_json, write_run_files
from activities.session.journal import AssistantEntry, LostCall
from activities.session.messages_api import Answer, Meter
from baton.budget.caps import Caps, Reached, caps_of
from baton.budget.pricing import PriceList
from baton.errors import BatonError, DiskFull, StoreDamaged
from baton.logs import get_logger
from baton.settings.core import Settings
from baton.steps.session import SessionKey
from baton.steps.task import SetCapsInput
from system.uncancellable import in_thread
from workspaces.checkpoints.checkpoint_files import TRANSCRIPT, session_folder
from workspaces.git.errors import translated
from workspaces.git.inventory import stock
from workspaces.store.run_records import damaged, read_record
from workspaces.store.store import Store

_PAID = re.compile(rb"[0-9]{5}-(?:assistant|cut-[0-9]+)\.json")
_LANE = re.compile(r"refs/baton/(?P<run>[^/]+)/(?P<task>[^/]+)/head")
_POLL = 0.1
"""Seconds between two looks at calls in flight; each look takes less than a millisecond."""

_log = get_logger(__name__)


class Purse:
    """Lets calls through that the caps allow, and keeps the accounts of those that were made."""

    def __init__(self, stores: Stores, ledger: Ledger, prices: PriceList, settings: Settings) -> None:
        self._stores = stores
        self._ledger = ledger
        self._prices = prices
        self._settings = settings

    async def reserve(self, key: SessionKey, turn: int, model: str, worst_usd: float) -> Call | Reached:
        """Enter a call, or say which cap does not allow it."""
        store = await self._stores.get(key.repo)
        caps = await read_caps(store, key.run)
        own, limits = self._settings, caps.limits
        daily = (own.usd_per_day, own.turns_per_day, limits.usd_per_day, limits.turns_per_day)
        await self._catch_up(store, key, turn, daily=any(cap is not None for cap in daily))
        name = secrets.token_hex(6)
        while True:
            day = f"{datetime.now(UTC):%Y-%m-%d}"
            call = Call(key.run, key.task, key.session, turn, name, day, model)
            bounds = caps_of(
                caps,
                task=key.task,
                session=key.session,
                day=day,
                usd_per_day=_least(self._settings.usd_per_day, caps.limits.usd_per_day),
                turns_per_day=_least(self._settings.turns_per_day, caps.limits.turns_per_day),
            )
            verdict = await self._ledger.reserve(call, bounds, worst_usd)
            if verdict == "granted":
                return call
            if isinstance(verdict, Reached):
                return verdict
            doing(stage="budget")
            await asyncio.sleep(_POLL)
            caps = await read_caps(store, key.run)

    async def pay(
        self, call: Call, room: int, make: Callable[[Meter], Awaitable[Answer]]
    ) -> tuple[Answer, list[LostCall]]:
        """Make the call, and enter what it cost, also where no answer came of it.

        Gives the answer and all other calls of the turn that have ended, to be kept with it where they came to nothing.
        """
        meter = Meter()
        try:
            answer = await make(meter)
        # Whatever ended it, a cancellation too: what was begun is billed.
        except BaseException:
            await self._end_without_answer(call, room, meter)
            raise
        cost = self._prices.cost_usd(answer.model, answer.usage)
        ended: list[Entry] = []
        try:
            ended = await self._ledger.end(call, cost, cost)
        except BatonError as error:
            # The answer is worth more than the entry: the call stays counted with its worst case.
            _log.warning("a call could not be entered", error=str(error))
        return answer, [
            LostCall(call=entry.call.id, day=entry.call.day, usd=round(entry.usd, 9), most=round(entry.most, 9))
            for entry in ended
            if entry.call.id != call.id
        ]

    async def _end_without_answer(self, call: Call, room: int, meter: Meter) -> None:
        try:
            if meter.free:
                await self._ledger.release(call)
            elif meter.begun is not None:
                usd = self._prices.cost_usd(meter.model, meter.begun)
                longest = meter.begun.model_copy(update={"output_tokens": max(room, meter.begun.output_tokens)})
                await self._ledger.end(call, usd, self._prices.cost_usd(meter.model, longest))
            else:
                await self._ledger.abandon(call)
        except BatonError as error:
            # The error of the call itself says more; without an end the call counts with its worst case.
            _log.warning("a call could not be entered", error=str(error))

    async def _catch_up(self, store: Store, key: SessionKey, turn: int, *, daily: bool) -> None:
        """Enter what the store knows and the ledger does not: another host's turns, or all, where it was lost.

        `daily`: a cap of the day holds, so that what every store knows of today has to be known.
        """
        if not await self._ledger.knows("stores"):
            unread = await self._read_today()
            if unread and daily:
                raise StoreDamaged(
                    "A cap of the day holds, and a store that may know of money spent today cannot be read:"
                    f" {unread[0]}"
                )
            for words in unread:
                _log.warning("a store is left out of today's spending", error=words)
            if not unread:
                await self._ledger.learnt("stores")
        # A host that has just taken over, or comes back, lacks the turn before; a session's first turn tells nothing.
        if turn == 1 or not await self._ledger.has_turn(key.run, key.task, key.session, turn - 1):
            await self._read_run(store, key.run, (await in_thread(_lanes, store)).get(key.run, []))

    async def _read_today(self) -> list[str]:
        """Enter what all runs of this home spent today; needed where the ledger is new and the home is not.

        Gives a sentence for each store that cannot be read.
        """
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        unread = []
        for place in await in_thread(stock, self._stores.home):
            if place.faults or place.repository is None:
                unread.append(place.words)
                continue
            try:
                with translated(f"reading what was spent in {place.root}"):
                    store = await self._stores.get(place.repository)
                    for run, lanes in (await in_thread(_lanes, store)).items():
                        if any(store.objects.commit_object(head).commit_time >= midnight for _, head in lanes):
                            await self._read_run(store, run, lanes)
            except DiskFull:
                raise
            except (BatonError, RecursionError) as error:
                unread.append(f"{error} `baton doctor --store --repair` mends what can be mended.")
        return unread

    async def _read_run(self, store: Store, run: str, lanes: list[tuple[str, str]]) -> None:
        """Enter what the lanes of a run know and the ledger does not; all at once, so that nobody sees a part of it."""
        known = await self._ledger.answers(run)
        inherited = await _inherited(store, run)
        entries: list[Entry] = []
        for task, head in lanes:
            for (session, turn), names in (await in_thread(_answers, store, head)).items():
                if known.get((task, session, turn), 0) >= len(names) or (task, session, turn) in inherited:
                    continue
                for name in names:
                    data = await store.read(head, f"{session_folder(session)}/{name}")
                    assert data is not None
                    entries += _entries(run, task, session, AssistantEntry.model_validate_json(data))
        if entries:
            await self._ledger.add(entries)


class SpendingActivities:
    """The activity `set_caps`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @activity.defn(name="set_caps")
    @with_posture
    @heartbeating
    async def set_caps(self, change: SetCapsInput) -> None:
        """Keep the caps as they are now; every turn reads them before it asks the model."""
        store = await self._stores.get(change.repo)
        await write_run_files(
            store, change.run, {LIMITS: to_json(change.caps.model_dump(mode="json"))}, "caps", change.at
        )


async def read_caps(store: Store, run: str) -> Caps:
    """The caps of a run; WorkElsewhere where they are missing, for then nothing may be spent."""
    data = await run_file(store, run, LIMITS)
    if data is None:
        raise store.elsewhere(run, LIMITS)
    try:
        caps: Caps = read_record(LIMITS, data)
    except ValueError as error:
        raise damaged(LIMITS, run, error) from error
    return caps


Amount = TypeVar("Amount", int, float)


def _least(one: Amount | None, other: Amount | None) -> Amount | None:
    return min((amount for amount in (one, other) if amount is not None), default=None)


def _lanes(store: Store) -> dict[str, list[tuple[str, str]]]:
    """Task and newest checkpoint of every lane, by run."""
    lanes: dict[str, list[tuple[str, str]]] = {}
    references = store.objects.repo.references
    for name in references:
        found = _LANE.fullmatch(name)
        if found and found["task"] != "run":
            lanes.setdefault(found["run"], []).append((found["task"], str(references[name].target)))
    return lanes


def _answers(store: Store, head: str) -> dict[tuple[str, int], list[str]]:
    """The files of all answers in a lane's checkpoint, by session and turn."""
    objects = store.objects
    transcript = objects.entry(objects.tree_of(head), TRANSCRIPT)
    sessions = objects.entries(transcript.oid) if transcript else {}
    found: dict[tuple[str, int], list[str]] = {}
    for session, entry in sessions.items():
        for name in objects.entries(entry.oid):
            if _PAID.fullmatch(name):
                found.setdefault((session.decode(), int(name[:5])), []).append(name.decode())
    return found


async def _inherited(store: Store, run: str) -> set[tuple[str, str, int]]:
    """The turns that a forked run took over: the run they were made in has paid for them."""
    data = await run_file(store, run, FORKED)
    if data is None:
        return set()
    forked = json.loads(data)
    answers = await in_thread(_answers, store, str(forked["checkpoint"]))
    return {(str(forked["task"]), session, turn) for session, turn in answers}


def _entries(run: str, task: str, session: str, kept: AssistantEntry) -> list[Entry]:
    def call(name: str, day: str) -> Call:
        return Call(run, task, session, kept.turn, name, day, kept.model)

    own = Entry(call(kept.call, kept.day), kept.cost_usd, kept.cost_usd)
    return [own, *(Entry(call(lost.call, lost.day), lost.usd, lost.most) for lost in kept.lost)]
