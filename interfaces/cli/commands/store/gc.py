"""The command `store gc`: removes the data of ended runs from the stores of this home."""

import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from baton.errors import ExitCode, StoreDamaged, UnknownRun, UsageError, WorkspaceError
from baton.identifiers import workflow_id_of
from baton.settings.core import Settings
from interfaces.cli.arguments import load_settings, read_duration
from interfaces.cli.runs.runtime import use_service
from interfaces.cli.runs.snapshot import describe_run, is_closed
from interfaces.cli.runs.stored_run import add_fault, find_document, open_stores
from interfaces.cli.terminal.output import count_noun, one_line, print_json, write_line, write_message
from interfaces.cli.terminal.runner import run_body
from system.uncancellable import run_in_thread
from workers.temporal_service import TemporalService
from workspaces.git.inventory import StoreEntry
from workspaces.maintenance import gc as collector
from workspaces.maintenance.gc import RunUsage
from workspaces.maintenance.verify import broken_refs
from workspaces.store.store import Store

_MIN_AGE = timedelta(days=1)
"""Runs that ended more recently are always kept: people still read them."""
_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended, and the data that it holds."""

    run: str
    """Its name in refs and directories (`identifiers.run_key`)."""
    repo: str
    ended_at: datetime
    store: Store
    holding: RunUsage

    @property
    def id(self) -> str:
        """The id of the run, as the other commands show it."""
        return workflow_id_of(self.run)


def gc(older_than: str, keep: str | None, forget: bool, dry_run: bool, as_json: bool) -> None:
    """Remove ended runs; raises UsageError for an invalid duration or size, exits with 1 if a store cannot be read."""
    age, size = _read_age(older_than), _read_size(keep)
    run_body(_collect_runs(load_settings(), age, size, forget, dry_run, as_json))


def _read_age(text: str) -> timedelta:
    age = read_duration("--older-than", text)
    if age < _MIN_AGE:
        raise UsageError(
            f"--older-than {text!r} is invalid: runs that ended within a day are kept, so write a day or more."
        )
    return age


def _read_size(text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in _UNITS:
        raise UsageError(f"--keep {text!r} is invalid: write a size such as 500MB or 2GB.")
    return int(float(found[1]) * _UNITS[found[2]])


async def _collect_runs(
    settings: Settings, age: timedelta, keep: int | None, forget: bool, dry_run: bool, as_json: bool
) -> int:
    ended: list[EndedRun] = []
    open_runs: list[str] = []
    damaged: list[StoreEntry] = []
    async with use_service(settings, worker=False) as service:
        async for store in open_stores(settings.home, damaged):
            try:
                ended += await _find_ended(service, store, forget, open_runs)
            except WorkspaceError as error:
                damaged.append(_damaged_place(store, error))
    going, staying = _choose_runs(ended, age, keep)
    in_use: list[str] = []
    if not dry_run:
        for one in going[:]:
            try:
                gone = await collector.forget_run(one.store, one.run, one.holding.refs)
            except WorkspaceError as error:
                damaged.append(_damaged_place(one.store, error))
                going.remove(one)
                continue
            if not gone:
                in_use.append(one.id)
                going.remove(one)
    stores = {one.store.root: one.store for one in going}
    freed = sum(one.holding.size for one in going)
    if not dry_run:
        freed = 0
        for store in stores.values():
            try:
                freed += await collector.repack_store(store)
            except WorkspaceError as error:
                damaged.append(_damaged_place(store, error))
    code = ExitCode.FAILED if damaged else ExitCode.DONE
    for place in damaged:
        write_message(f"Left alone: {place.first_fault}", always=True)
    if as_json:
        removed = [
            {"run": one.id, "repo": one.repo, "ended_at": one.ended_at.isoformat(), "bytes": one.holding.size}
            for one in going
        ]
        kept = {"ended": [one.id for one in staying], "open": open_runs, "in_use": in_use}
        broken = [
            {"path": str(place.root), "repository": place.repository, "findings": [asdict(one) for one in place.faults]}
            for place in damaged
        ]
        print_json({"dry_run": dry_run, "removed": removed, "kept": kept, "freed_bytes": freed, "damaged": broken})
        return code
    for one in going:
        write_line(
            f"{one.id}  ended {one.ended_at:%Y-%m-%d}  {_format_size(one.holding.size)}  {one_line(one.repo, 80)}"
        )
    for run in in_use:
        write_line(f"{run}  is left alone: a worker works in one of its workspaces")
    verb = "would go" if dry_run else "removed"
    write_message(
        f"{count_noun(len(going), 'run')} {verb}, about {_format_size(freed)}; {len(staying) + len(in_use)} ended and"
        f" {len(open_runs)} open ones stay."
    )
    return code


async def _find_ended(service: TemporalService, store: Store, forget: bool, open_runs: list[str]) -> list[EndedRun]:
    """Return the ended runs of a store, and add the others to `open_runs`; raises StoreDamaged if a ref is broken."""
    if broken := await run_in_thread(broken_refs, store):
        # The objects behind such a ref would look unreferenced.
        raise StoreDamaged(f"{broken[0].what} {broken[0].advice}")
    ended = []
    for run in collector.list_runs(store):
        try:
            when = await _read_end(service, store, run)
        except WorkspaceError as error:
            write_message(f"The run {workflow_id_of(run)} stays: {error}", always=True)
            when = None
        if when is None:
            open_runs.append(workflow_id_of(run))
            continue
        found = await collector.measure_run(store, run, whole=forget)
        if found.refs:
            ended.append(EndedRun(run, store.repo, when, store, found))
    return ended


def _damaged_place(store: Store, error: Exception) -> StoreEntry:
    return add_fault(StoreEntry(store.root, store.repo), error)


def _choose_runs(ended: list[EndedRun], age: timedelta, keep: int | None) -> tuple[list[EndedRun], list[EndedRun]]:
    """Divide ended runs into those to remove and those to keep."""
    now = datetime.now(UTC)
    going, staying = [], []
    left = sum(one.holding.size for one in ended)
    for one in sorted(ended, key=lambda each: each.ended_at):
        old = now - one.ended_at > age
        too_much = keep is not None and left > keep and now - one.ended_at > _MIN_AGE
        if old or too_much:
            going.append(one)
            left -= one.holding.size
        else:
            staying.append(one)
    return going, staying


async def _read_end(service: TemporalService, store: Store, run: str) -> datetime | None:
    """Return the time when a run ended; None if it is open, or if neither server nor store says that it has ended."""
    try:
        description = await describe_run(service.client, workflow_id_of(run))
    except UnknownRun:
        # A server forgets ended runs after a while; the store does not.
        document = await find_document(store, run)
        return document.ended_at if document and document.status.is_final else None
    return description.close_time if is_closed(description) else None


def _format_size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
