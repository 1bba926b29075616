"""The command `gc`: give back the room that ended runs take in the stores of this home."""

import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from baton.errors import ExitCode, UsageError
from baton.naming import workflow_id_of
from interfaces.cli import options
from interfaces.cli.terminal.output import count, line, message, one_line, print_json
from interfaces.cli.terminal.runner import execute
from system.durations import parse_duration

if TYPE_CHECKING:
    from baton.settings.core import Settings
    from workers.temporal_service import TemporalService
    from workspaces.git.inventory import Place
    from workspaces.maintenance.gc import Holding
    from workspaces.store.store import Store

_YOUNGEST = timedelta(days=1)
"""Runs that ended since are kept, whatever is asked for: people still look at them."""
_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True)
class Ended:
    """A run that has ended, and what it takes."""

    run: str
    """Its name in refs and directories (`naming.run_key`)."""
    repo: str
    ended_at: datetime
    store: "Store"
    holding: "Holding"

    @property
    def id(self) -> str:
        """The id of the run, as the other commands show it."""
        return workflow_id_of(self.run)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog="Example: baton gc --older-than 14d --keep 2GB --dry-run")(gc)


def gc(
    older_than: Annotated[
        str, typer.Option(metavar="TIME", help="Runs that ended longer ago than this: 36h, 30d, 8w; a day at least.")
    ] = "30d",
    keep: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="And the oldest ones, until the rest takes no more than this: 500MB, 2GB."),
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Let go of state.json and decisions.json, too: `show` knows nothing then.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: options.Json = False,
) -> None:
    """Remove checkpoints and transcripts of ended runs.

    Published branches stay, and so does the state of each run. Nothing of a run that is open is touched, and a
    worker may be at work. What lies in a state remote stays there.
    Exit code: 1 when a store cannot be read; it is left alone, and the others are not.
    """
    settings = options.settings()
    execute(_gc(settings, _age(older_than), _size(keep), forget, dry_run, as_json))


def _age(text: str) -> timedelta:
    age = parse_duration(text)
    if age is None:
        raise UsageError(f"--older-than {text!r} does not fit: write a time such as 36h, 30d or 8w.")
    if age < _YOUNGEST:
        raise UsageError(
            f"--older-than {text!r} does not fit: what ended within a day is kept, so write a day or more."
        )
    return age


def _size(text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in _UNITS:
        raise UsageError(f"--keep {text!r} does not fit: write a size such as 500MB or 2GB.")
    return int(float(found[1]) * _UNITS[found[2]])


async def _gc(
    settings: "Settings", age: timedelta, keep: int | None, forget: bool, dry_run: bool, as_json: bool
) -> int:
    from baton.errors import WorkspaceError
    from interfaces.cli.runs.runtime import serving
    from interfaces.cli.runs.stored_run import open_stores
    from workspaces.maintenance import gc

    ended: list[Ended] = []
    open_runs: list[str] = []
    damaged: list[Place] = []
    async with serving(settings, worker=False) as service:
        async for store in open_stores(settings.home, damaged):
            try:
                ended += await _ended(service, store, forget, open_runs)
            except WorkspaceError as error:
                damaged.append(_damaged(store, error))
    going, staying = _choose(ended, age, keep)
    in_use: list[str] = []
    if not dry_run:
        for one in going[:]:
            try:
                gone = await gc.forget(one.store, one.run, one.holding.refs)
            except WorkspaceError as error:
                damaged.append(_damaged(one.store, error))
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
                freed += await gc.repack(store)
            except WorkspaceError as error:
                damaged.append(_damaged(store, error))
    code = ExitCode.FAILED if damaged else ExitCode.DONE
    for place in damaged:
        message(f"Left alone: {place.words}")
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
        line(f"{one.id}  ended {one.ended_at:%Y-%m-%d}  {_shown(one.holding.size)}  {one_line(one.repo, 80)}")
    for run in in_use:
        line(f"{run}  is left alone: somebody works in one of its workspaces")
    verb = "would go" if dry_run else "removed"
    message(
        f"{count(len(going), 'run')} {verb}, about {_shown(freed)}; {len(staying) + len(in_use)} ended and"
        f" {len(open_runs)} open ones stay."
    )
    return code


async def _ended(service: "TemporalService", store: "Store", forget: bool, open_runs: list[str]) -> list[Ended]:
    """The ended runs of a store; `open_runs` gets the others. Raises StoreDamaged where not all of it can be seen."""
    from baton.errors import StoreDamaged, WorkspaceError
    from system.uncancellable import in_thread
    from workspaces.maintenance import gc
    from workspaces.maintenance.verify import broken_refs

    if broken := await in_thread(broken_refs, store):
        # What such a ref led to would look as if nothing needed it.
        raise StoreDamaged(f"{broken[0].what} {broken[0].advice}")
    ended = []
    for run in gc.runs_of(store):
        try:
            when = await _ended_at(service, store, run)
        except WorkspaceError as error:
            message(f"The run {workflow_id_of(run)} stays: {error}")
            when = None
        if when is None:
            open_runs.append(workflow_id_of(run))
            continue
        found = await gc.holding(store, run, whole=forget)
        if found.refs:
            ended.append(Ended(run, store.repo, when, store, found))
    return ended


def _damaged(store: "Store", error: Exception) -> "Place":
    from interfaces.cli.runs.stored_run import with_fault
    from workspaces.git.inventory import Place

    return with_fault(Place(store.root, store.repo), error)


def _choose(ended: list[Ended], age: timedelta, keep: int | None) -> tuple[list[Ended], list[Ended]]:
    """Which ended runs go, and which stay."""
    now = datetime.now(UTC)
    going, staying = [], []
    left = sum(one.holding.size for one in ended)
    for one in sorted(ended, key=lambda each: each.ended_at):
        old = now - one.ended_at > age
        too_much = keep is not None and left > keep and now - one.ended_at > _YOUNGEST
        if old or too_much:
            going.append(one)
            left -= one.holding.size
        else:
            staying.append(one)
    return going, staying


async def _ended_at(service: "TemporalService", store: "Store", run: str) -> datetime | None:
    """When a run ended; None where it is open, or nobody knows that it has ended."""
    from baton.errors import UnknownRun
    from interfaces.cli.runs.snapshot import describe, is_closed
    from interfaces.cli.runs.stored_run import stored_document

    try:
        description = await describe(service.client, workflow_id_of(run))
    except UnknownRun:
        # A server forgets ended runs after a while; the store does not.
        document = await stored_document(store, run)
        return document.ended_at if document and document.status.is_final else None
    return description.close_time if is_closed(description) else None


def _shown(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
