"""The stores that a worker has open, one per target repository, and where a run's own files lie in them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from activities.runtime.superseded import still_wanted
from baton import naming
from baton.errors import StaleAttempt, WorkspaceError
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.workspace import exclusive
from workspaces.git.credentials import Credentials
from workspaces.project.baton_toml import ProjectConfig
from workspaces.store.run_records import damaged, read_json
from workspaces.store.state_remote import StateRemote
from workspaces.store.store import Store

REQUEST = "request.json"
CONFIG = "config.json"
TECHNOLOGY = "technology.json"
MODELS = "models.json"
LIMITS = "limits.json"
FORKED = "forked.json"
"""In a run that was forked: the task, and the checkpoint that it took over."""
STATE = "state.json"
DECISIONS = "decisions.json"
SAVED = "saved.json"
"""The moment of the state that the two files above are of."""

_MOST_RACES = 20


def role_file(role: str) -> str:
    """Where a run keeps the bytes that a role was pinned to."""
    return f"agents/{role}.md"


def task_file(task: str) -> str:
    """Where a run keeps a task of the plan, with instructions and acceptance."""
    return f"tasks/{task}.json"


def gate_file(round_number: int) -> str:
    """Return where a task's checkpoint keeps the result of a round's gate."""
    return f"gates/{round_number}.json"


def report_file(number: int) -> str:
    """Where a run keeps the report of an agent that was stuck, by the round of the orchestrator's answer to it."""
    return f"stuck/{number}.json"


class Stores:
    """Opens each store once per worker."""

    def __init__(
        self,
        home: Path,
        remote: StateRemote | None = None,
        credentials: Credentials | None = None,
        *,
        hooks: bool = False,
    ) -> None:
        """`hooks`: whether target repositories at a path may run their own (`BATON_TARGET_HOOKS`)."""
        self.home = home
        self._hooks = hooks
        self._remote = remote
        self._credentials = credentials
        self._open: dict[str, Store] = {}
        self._lock = asyncio.Lock()

    async def get(self, repo: str) -> Store:
        """The store of a target repository, made where it does not exist yet."""
        if repo not in self._open:
            async with self._lock:
                if repo not in self._open:
                    self._open[repo] = await Store.open(
                        self.home, repo, self._remote, self._credentials, hooks=self._hooks
                    )
        return self._open[repo]

    def has(self, repo: str) -> bool:
        """Whether this home has a store of a target repository."""
        return (self.home / "stores" / naming.repo_key(repo)).is_dir()

    async def checkpoints(self, repo: str) -> Checkpoints:
        """The checkpoints in the store of a target repository."""
        return Checkpoints(await self.get(repo))


@asynccontextmanager
async def holding(store: Store, run: str, task: str, *needed: str) -> AsyncIterator[Checkpoints]:
    """Hold a task's lane for a step that reads or writes it, with all of it here that any host has written.

    Raises WorkElsewhere where one of the commits that the step needs is not to be had.
    """
    lane = Lane(run, task)
    async with exclusive(store, lane):
        checkpoints = Checkpoints(store)
        await checkpoints.claim(lane, still_wanted)
        store.require(run, *needed)
        yield checkpoints


async def run_file(store: Store, run: str, path: str) -> bytes | None:
    """One of the run's own files, as it stands now."""
    head = await store.head(naming.run_ref(run))
    return await store.read(head, path) if head else None


async def run_json(store: Store, run: str, path: str) -> Any:
    """One of the run's own JSON files; raises WorkElsewhere where it is missing."""
    data = await run_file(store, run, path)
    if data is None:
        raise store.elsewhere(run, path)
    try:
        return read_json(data)
    except ValueError as error:
        raise damaged(path, run, error) from error


async def run_base(store: Store, run: str) -> str:
    """Return the base commit of a run, as it was pinned at its start; raises as `run_json` does."""
    pinned = (await run_json(store, run, REQUEST)).get("base_commit")
    if not isinstance(pinned, str):
        raise damaged(REQUEST, run, ValueError("it names no base_commit"))
    return pinned


async def run_config(store: Store, run: str) -> ProjectConfig:
    """The project's configuration as it was at the base commit."""
    return ProjectConfig.model_validate(await run_json(store, run, CONFIG))


async def write_run_files(
    store: Store,
    run: str,
    files: Mapping[str, bytes],
    message: str,
    at: datetime,
    *,
    begins: bool = False,
    alone: str | None = None,
    state_of: datetime | None = None,
) -> str:
    """Commit some of the run's own files; writers of other files at the same moment lose nothing.

    Only `begins` may write the first ones: WorkElsewhere where there are none otherwise. `alone` is a file that nobody
    else should write meanwhile; StaleAttempt where somebody does, for one of the two attempts was given up. `state_of`
    is the moment of the state that is written; StaleAttempt where that of a later one is kept already.
    """
    ref = naming.run_ref(run)
    head = await store.head(ref)
    if head is None and not begins:
        await store.catch_up(run)
        head = await store.head(ref)
        if head is None:
            raise store.elsewhere(run, "file")
    seen = await store.read(head, alone) if head and alone else None
    for _ in range(_MOST_RACES):
        if head and state_of and await _is_later(store, head, state_of):
            raise StaleAttempt(f"A later state of run {run} is kept already: this attempt was given up, and ends.")
        try:
            return await store.commit_files(ref, expected=head, files=files, message=message, at=at)
        except StaleAttempt:
            head = await store.head(ref)
            if head and alone and await store.read(head, alone) != seen:
                raise
    raise WorkspaceError(f"The files of run {run} kept being written by others; try again.")


async def _is_later(store: Store, head: str, moment: datetime) -> bool:
    """Whether the state that is kept is of a later moment: a worker that slept may wake up with an old one."""
    data = await store.read(head, SAVED)
    try:
        return data is not None and datetime.fromisoformat(read_json(data)["at"]) > moment
    except (ValueError, KeyError, TypeError):
        return False  # damaged: the state that is written now is the first thing to be whole again


def to_json(value: Any) -> bytes:
    """JSON as it is kept in the store: stable, readable, one value a line."""
    return (json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
