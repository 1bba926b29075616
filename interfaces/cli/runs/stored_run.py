"""A run's documents and transcripts, read from the git stores of this home without a server."""

import os
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from baton import identifiers
from baton.errors import StoreDamaged, UnknownRun, WorkspaceError
from baton.records.run import Evidence, RunDocument
from baton.steps.store_paths import GATES, REPORTS, REQUEST, STATE, TRANSCRIPT, TURN_FILE
from baton.steps.task import GateResult
from interfaces.cli.terminal.output import write_message
from workspaces.git.errors import translate_errors
from workspaces.git.findings import StoreFinding
from workspaces.git.inventory import StoreEntry, list_stores
from workspaces.store.run_records import damaged_record, read_json, read_record
from workspaces.store.state_remote import OURS
from workspaces.store.store import Store

_SIDES = {"ref": 0, "use": 1, "cut": 2, "ass": 3}


@dataclass(frozen=True)
class TranscriptMessage:
    """One message of a session's transcript."""

    session: str
    """`<round>-<role>`."""
    number: int
    side: str
    """`user` (input of the model), `assistant` (its answer), `cut-K` (an answer that was cut off), or `refused-K` (an
    input with which the conversation could not go on)."""
    content: Any
    """The message as JSON."""


@dataclass(frozen=True)
class StoredRun:
    """A run's part of a store."""

    run: str
    store: Store
    head: str
    """The newest commit of the run's own files."""

    async def read_document(self) -> RunDocument:
        """Return `state.json`, as it was last saved; raises WorkspaceError if it is missing or damaged."""
        document: RunDocument = await self._read_record(STATE)
        return document

    async def read_request(self) -> dict[str, Any]:
        """Return `request.json`: the run's request, and the commit that it began from."""
        await self._read_record(REQUEST)
        request: dict[str, Any] = read_json(await self.store.read_file(self.head, REQUEST) or b"{}")
        return request

    async def _read_record(self, name: str) -> Any:
        data = await self.store.read_file(self.head, name)
        if data is None:
            raise WorkspaceError(f"The store {self.store.root} has no {name} of the run {self.run}.")
        try:
            return read_record(name, data)
        except ValueError as error:
            raise damaged_record(name, self.run, error) from error

    async def list_tasks(self) -> list[str]:
        """Return the tasks of the plan, the plan first; if state.json cannot be read, the tasks that have begun."""
        try:
            return [identifiers.PLAN_TASK, *(entry.id for entry in (await self.read_document()).tasks)]
        except WorkspaceError as error:
            write_message(f"{error} Until then the tasks are taken from the store.", always=True)
        lane = re.compile(re.escape(f"{OURS}{identifiers.run_key(self.run)}/") + "(?P<task>[^/]+)/head")
        found = [
            match["task"]
            for ref in self.store.list_refs(identifiers.run_key(self.run))
            if (match := lane.fullmatch(ref))
        ]
        engine = ("run", "integration", identifiers.PLAN_TASK)
        return [identifiers.PLAN_TASK, *(task for task in found if task not in engine)]

    async def read_base_commit(self) -> str | None:
        """Return the commit that the run began from, by `state.json`, or by `request.json` if that is damaged."""
        try:
            return (await self.read_document()).base_commit
        except WorkspaceError as error:
            write_message(str(error), always=True)
            return str((await self.read_request())["base_commit"])

    async def read_result(self) -> str | None:
        """Return the commit that the finished tasks were merged into; None before the first merge."""
        return await self.store.read_head(identifiers.integration_ref(self.run))

    async def read_task_head(self, task: str) -> str | None:
        """Return the newest checkpoint of a task; None before it began."""
        return await self.store.read_head(identifiers.task_ref(self.run, task))

    async def read_gates(self, task: str) -> list[Evidence]:
        """Return the evidence of the gate in each round of a task."""
        head = await self.read_task_head(task)
        found = []
        for path in await self.store.list_paths(head, GATES) if head else []:
            if path.endswith(".json") and (data := await self.store.read_file(head or "", path)) is not None:
                with translate_errors(f"reading {path}"):
                    found.append((path, GateResult.model_validate_json(data).evidence))
        # By number: as text 10.json comes before 2.json.
        return [evidence for _, evidence in sorted(found, key=lambda entry: (len(entry[0]), entry[0]))]

    async def read_reviews(self, task: str) -> list[str]:
        """Return the reviewer's verdict in each round of a task that was reviewed."""
        head = await self.read_task_head(task)
        verdicts = []
        for path in await self.store.list_paths(head, REPORTS) if head else []:
            if path.endswith("-reviewer.json") and (data := await self.store.read_file(head or "", path)) is not None:
                report = read_json(data)
                verdicts.append((len(path), path, str(report.get("verdict", "")) if isinstance(report, dict) else ""))
        return [verdict for _, _, verdict in sorted(verdicts)]

    async def read_transcript(self, task: str) -> list[TranscriptMessage]:
        """Return all messages of a task's sessions, in their order."""
        head = await self.read_task_head(task)
        if head is None:
            return []
        parts = []
        for path in await self.store.list_paths(head, TRANSCRIPT):
            found = TURN_FILE.fullmatch(path)
            data = await self.store.read_file(head, path) if found else None
            if found and data is not None:
                try:
                    content = read_json(data)
                except ValueError as error:
                    write_message(f"{path} of the task {task} is left out, for it is damaged: {error}.", always=True)
                    continue
                parts.append(TranscriptMessage(found["session"], int(found["number"]), found["side"], content))
        return sorted(
            parts, key=lambda part: (_session_order(part.session), part.number, _SIDES.get(part.side[:3], 1), part.side)
        )


async def open_stores(home: Path, damaged_ones: list[StoreEntry]) -> AsyncIterator[Store]:
    """Yield the usable stores of this home, and add the others to `damaged_ones`."""
    for place in list_stores(home):
        if place.faults:
            damaged_ones.append(place)
            continue
        assert place.repository is not None, "a store that does not say its repository has a fault"
        try:
            store = await Store.open(home, place.repository)
        except WorkspaceError as error:
            damaged_ones.append(add_fault(place, error))
        else:
            yield store


def add_fault(place: StoreEntry, error: Exception) -> StoreEntry:
    """Return a store with the fault that was met when it was read."""
    where = str(place.root.relative_to(place.root.parent.parent))
    fault = StoreFinding("store", where, str(error), "`baton store check` shows the damage.")
    return replace(place, faults=(*place.faults, fault))


async def find_run(home: Path, run: str) -> StoredRun:
    """Find a run in the stores of this home; raises UnknownRun, or StoreDamaged if a damaged store may hold it.

    Damaged stores are reported on stderr, and stop no command.
    """
    found: StoredRun | None = None
    damaged_ones: list[StoreEntry] = []
    async for store in open_stores(home, damaged_ones):
        try:
            head = await store.read_head(identifiers.run_ref(run))
        except WorkspaceError as error:
            raise StoreDamaged(
                f"The newest state of the run {run} cannot be found in {store.root} ({error}):"
                " `baton store repair` may bring it back."
            ) from error
        if head is not None:
            found = StoredRun(run, store, head)
            break
    if found is not None:
        report_damage(list_stores(home))
        return found
    for place in damaged_ones:
        if place.has_run(run):
            raise StoreDamaged(f"The run {run} cannot be read. {place.first_fault}")
    report_damage(damaged_ones)
    if damaged_ones:
        raise StoreDamaged(
            f"No store under {home} that can be read knows the run {run}, and it may be in one that cannot:"
            " `baton store repair` repairs what can be repaired."
        )
    raise UnknownRun(
        f"No store under {home} knows the run {run}: `baton list` shows the runs, and BATON_HOME says where stores are."
    )


_told: set[str] = set()


def report_damage(places: Iterable[StoreEntry]) -> None:
    """Report each damaged store with its remedy, once in a process."""
    for place in places:
        if place.faults and place.first_fault not in _told:
            _told.add(place.first_fault)
            write_message(place.first_fault, always=True)


class OpenStores:
    """The stores of a home for a list of runs: each is opened once, when a run of it is shown."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._open: dict[str, Store | WorkspaceError] = {}

    async def read_document(self, repository: str, run: str) -> RunDocument | None:
        """Return a run's document, None if the store has none; raises StoreDamaged if it cannot be read."""
        key = identifiers.repo_key(repository) if repository else ""
        if not identifiers.is_workflow_id(run) or not key or not _is_there(self._home / "stores" / key):
            return None
        if key not in self._open:
            try:
                self._open[key] = await Store.open(self._home, repository)
            except WorkspaceError as error:
                self._open[key] = error
        store = self._open[key]
        if isinstance(store, WorkspaceError):
            raise store
        return await find_document(store, run)


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


async def find_document(store: Store, run: str) -> RunDocument | None:
    """Return a run's document; None if the store has none."""
    head = await store.read_head(identifiers.run_ref(run))
    if head is None or await store.read_file(head, STATE) is None:
        return None
    return await StoredRun(run, store, head).read_document()


def _session_order(session: str) -> tuple[int, int]:
    """Return the sort key of a session: by round, and within a round maker, tester, reviewer."""
    round_number, _, role = session.partition("-")
    return int(round_number), {"tester": 1, "reviewer": 2}.get(role, 0)
