"""What the git stores of this home know of a run, without any server: its documents and its transcripts."""

import os
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from baton import naming
from baton.errors import StoreDamaged, UnknownRun, WorkspaceError
from baton.records.run import Evidence, RunDocument
from baton.steps.store_paths import GATES, REPORTS, REQUEST, STATE, TRANSCRIPT, TURN_FILE
from baton.steps.task import GateResult
from interfaces.cli.terminal.output import message
from workspaces.git.errors import translated
from workspaces.git.findings import Finding
from workspaces.git.inventory import Place, stock
from workspaces.store.run_records import damaged, read_json, read_record
from workspaces.store.state_remote import OURS
from workspaces.store.store import Store

_SIDES = {"ref": 0, "use": 1, "cut": 2, "ass": 3}


@dataclass(frozen=True)
class Part:
    """One message of a session's transcript."""

    session: str
    """`<round>-<role>`."""
    number: int
    side: str
    """`user` (what the model was given), `assistant` (what it answered), `cut-K` (an answer that was cut off), or
    `refused-K` (what it was to be given when the conversation could not go on)."""
    content: Any
    """The message as JSON."""


@dataclass(frozen=True)
class Archive:
    """A run's part of a store."""

    run: str
    store: Store
    head: str
    """The newest commit of the run's own files."""

    async def document(self) -> RunDocument:
        """`state.json`, as it was last saved."""
        document: RunDocument = await self._record(STATE)
        return document

    async def request(self) -> dict[str, Any]:
        """`request.json`: the run's request, and the commit that it began from."""
        await self._record(REQUEST)
        request: dict[str, Any] = read_json(await self.store.read(self.head, REQUEST) or b"{}")
        return request

    async def _record(self, name: str) -> Any:
        data = await self.store.read(self.head, name)
        if data is None:
            raise WorkspaceError(f"The store {self.store.root} has no {name} of the run {self.run}.")
        try:
            return read_record(name, data)
        except ValueError as error:
            raise damaged(name, self.run, error) from error

    async def tasks(self) -> list[str]:
        """The tasks of the plan in its order, the plan first; those that have begun where state.json cannot be read."""
        try:
            return [naming.PLAN_TASK, *(entry.id for entry in (await self.document()).tasks)]
        except WorkspaceError as error:
            message(f"{error} Until then the tasks are taken from the store.")
        lane = re.compile(re.escape(f"{OURS}{naming.run_key(self.run)}/") + "(?P<task>[^/]+)/head")
        found = [match["task"] for ref in self.store.refs(naming.run_key(self.run)) if (match := lane.fullmatch(ref))]
        engine = ("run", "integration", naming.PLAN_TASK)
        return [naming.PLAN_TASK, *(task for task in found if task not in engine)]

    async def base_commit(self) -> str | None:
        """The commit that the run began from, by whichever of its files can be read."""
        try:
            return (await self.document()).base_commit
        except WorkspaceError as error:
            message(str(error))
            return str((await self.request())["base_commit"])

    async def result(self) -> str | None:
        """The commit that the finished tasks were merged into; None before the first one was."""
        return await self.store.head(naming.integration_ref(self.run))

    async def task_head(self, task: str) -> str | None:
        """The newest checkpoint of a task; None before it began."""
        return await self.store.head(naming.task_ref(self.run, task))

    async def gates(self, task: str) -> list[Evidence]:
        """What the gate said in each round of a task."""
        head = await self.task_head(task)
        found = []
        for path in await self.store.paths(head, GATES) if head else []:
            if path.endswith(".json") and (data := await self.store.read(head or "", path)) is not None:
                with translated(f"reading {path}"):
                    found.append((path, GateResult.model_validate_json(data).evidence))
        # By number, for 10.json comes before 2.json.
        return [evidence for _, evidence in sorted(found, key=lambda entry: (len(entry[0]), entry[0]))]

    async def reviews(self, task: str) -> list[str]:
        """The reviewer's verdict in each round of a task that came so far."""
        head = await self.task_head(task)
        verdicts = []
        for path in await self.store.paths(head, REPORTS) if head else []:
            if path.endswith("-reviewer.json") and (data := await self.store.read(head or "", path)) is not None:
                report = read_json(data)
                verdicts.append((len(path), path, str(report.get("verdict", "")) if isinstance(report, dict) else ""))
        return [verdict for _, _, verdict in sorted(verdicts)]

    async def transcript(self, task: str) -> list[Part]:
        """All messages of a task's sessions, in their order."""
        head = await self.task_head(task)
        if head is None:
            return []
        parts = []
        for path in await self.store.paths(head, TRANSCRIPT):
            found = TURN_FILE.fullmatch(path)
            data = await self.store.read(head, path) if found else None
            if found and data is not None:
                try:
                    content = read_json(data)
                except ValueError as error:
                    message(f"{path} of the task {task} is left out, for it is damaged: {error}.")
                    continue
                parts.append(Part(found["session"], int(found["number"]), found["side"], content))
        return sorted(
            parts, key=lambda part: (_order(part.session), part.number, _SIDES.get(part.side[:3], 1), part.side)
        )


async def open_stores(home: Path, damaged_ones: list[Place]) -> AsyncIterator[Store]:
    """The stores of this home that can be used; the others are added to `damaged_ones`."""
    for place in stock(home):
        if place.faults:
            damaged_ones.append(place)
            continue
        assert place.repository is not None, "a store that does not say its repository has a fault"
        try:
            store = await Store.open(home, place.repository)
        except WorkspaceError as error:
            damaged_ones.append(with_fault(place, error))
        else:
            yield store


def with_fault(place: Place, error: Exception) -> Place:
    """A store with the fault that was met when it was read."""
    where = str(place.root.relative_to(place.root.parent.parent))
    fault = Finding("store", where, str(error), "`baton doctor --store` says what is wrong with it.")
    return replace(place, faults=(*place.faults, fault))


async def find_run(home: Path, run: str) -> Archive:
    """Look for a run in all stores of this home; raises UnknownRun, and StoreDamaged where it may be in one of those.

    Stores that cannot be used are told of beside, and stop nothing.
    """
    found: Archive | None = None
    damaged_ones: list[Place] = []
    async for store in open_stores(home, damaged_ones):
        try:
            head = await store.head(naming.run_ref(run))
        except WorkspaceError as error:
            raise StoreDamaged(
                f"The newest state of the run {run} cannot be found in {store.root} ({error}):"
                " `baton doctor --store --repair` may bring it back."
            ) from error
        if head is not None:
            found = Archive(run, store, head)
            break
    if found is not None:
        tell_damage(stock(home))
        return found
    for place in damaged_ones:
        if place.holds(run):
            raise StoreDamaged(f"The run {run} cannot be read. {place.words}")
    tell_damage(damaged_ones)
    if damaged_ones:
        raise StoreDamaged(
            f"No store under {home} that can be read knows the run {run}, and it may be in one that cannot:"
            " `baton doctor --store --repair` mends what can be mended."
        )
    raise UnknownRun(
        f"No store under {home} knows the run {run}: `baton list` shows the runs, and BATON_HOME says where stores are."
    )


_told: set[str] = set()


def tell_damage(places: Iterable[Place]) -> None:
    """Say, once in a command, which stores cannot be used and how to mend them."""
    for place in places:
        if place.faults and place.words not in _told:
            _told.add(place.words)
            message(place.words)


class Shelf:
    """The stores of a home as a listing of runs needs them: each is opened once, and only when a run of it is shown."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._open: dict[str, Store | WorkspaceError] = {}

    async def document(self, repository: str, run: str) -> RunDocument | None:
        """A run's document as the store has it, None where it has none; StoreDamaged where it cannot be read."""
        key = naming.repo_key(repository) if repository else ""
        if not naming.is_workflow_id(run) or not key or not _is_there(self._home / "stores" / key):
            return None
        if key not in self._open:
            try:
                self._open[key] = await Store.open(self._home, repository)
            except WorkspaceError as error:
                self._open[key] = error
        store = self._open[key]
        if isinstance(store, WorkspaceError):
            raise store
        return await stored_document(store, run)


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


async def stored_document(store: Store, run: str) -> RunDocument | None:
    """A run's document as a store has it; None where it has none."""
    head = await store.head(naming.run_ref(run))
    if head is None or await store.read(head, STATE) is None:
        return None
    return await Archive(run, store, head).document()


def _order(session: str) -> tuple[int, int]:
    """Rounds in their order, and within a round maker, tester, reviewer."""
    round_number, _, role = session.partition("-")
    return int(round_number), {"tester": 1, "reviewer": 2}.get(role, 0)
