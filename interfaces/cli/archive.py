"""What the git stores of this home know of a run, without any server: its documents and its transcripts."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton import naming
from baton.contracts import Evidence, RunDocument
from baton.errors import UnknownRun, WorkspaceError
from baton.steps import GateResult
from workspaces.store import Store

_TURN_FILE = re.compile(
    r"transcript/(?P<session>[0-9]+-[a-z]+)/(?P<number>[0-9]+)-(?P<side>refused-[0-9]+|user|cut-[0-9]+|assistant)\.json"
)
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
        data = await self.store.read(self.head, "state.json")
        if data is None:
            raise WorkspaceError(f"The store {self.store.root} has no state.json of the run {self.run}.")
        return RunDocument.model_validate_json(data)

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
        for path in await self.store.paths(head, "gates") if head else []:
            if path.endswith(".json") and (data := await self.store.read(head or "", path)) is not None:
                found.append((path, GateResult.model_validate_json(data).evidence))
        # By number, for 10.json comes before 2.json.
        return [evidence for _, evidence in sorted(found, key=lambda entry: (len(entry[0]), entry[0]))]

    async def reviews(self, task: str) -> list[str]:
        """The reviewer's verdict in each round of a task that came so far."""
        head = await self.task_head(task)
        verdicts = []
        for path in await self.store.paths(head, "reports") if head else []:
            if path.endswith("-reviewer.json") and (data := await self.store.read(head or "", path)) is not None:
                verdicts.append((len(path), path, str(json.loads(data).get("verdict", ""))))
        return [verdict for _, _, verdict in sorted(verdicts)]

    async def transcript(self, task: str) -> list[Part]:
        """All messages of a task's sessions, in their order."""
        head = await self.task_head(task)
        if head is None:
            return []
        parts = []
        for path in await self.store.paths(head, "transcript"):
            found = _TURN_FILE.fullmatch(path)
            data = await self.store.read(head, path) if found else None
            if found and data is not None:
                parts.append(Part(found["session"], int(found["number"]), found["side"], json.loads(data)))
        return sorted(
            parts, key=lambda part: (_order(part.session), part.number, _SIDES.get(part.side[:3], 1), part.side)
        )


async def find_run(home: Path, run: str) -> Archive:
    """Look for a run in all stores of this home; raises UnknownRun."""
    for repository in repositories(home):
        store = await Store.open(home, repository)
        head = await store.head(naming.run_ref(run))
        if head is not None:
            return Archive(run, store, head)
    raise UnknownRun(
        f"No store under {home} knows the run {run}: `baton list` shows the runs, and BATON_HOME says where stores are."
    )


async def kept_document(home: Path, repository: str, run: str) -> RunDocument | None:
    """A run's document as this home's store of the repository has it; None where it has none."""
    if not (home / "stores" / naming.repo_key(repository) / "repository").exists():
        return None
    store = await Store.open(home, repository)
    head = await store.head(naming.run_ref(run)) if naming.is_workflow_id(run) else None
    data = await store.read(head, "state.json") if head else None
    return RunDocument.model_validate_json(data) if data else None


def repositories(home: Path) -> Iterator[str]:
    """The target repositories that this home has a store of."""
    for file in sorted((home / "stores").glob("*/repository")):
        repository = file.read_text().strip()
        # A store whose name does not fit its repository would be opened, and made, somewhere else.
        if naming.repo_key(repository) == file.parent.name:
            yield repository


def _order(session: str) -> tuple[int, int]:
    """Rounds in their order, and within a round maker, tester, reviewer."""
    round_number, _, role = session.partition("-")
    return int(round_number), {"tester": 1, "reviewer": 2}.get(role, 0)
