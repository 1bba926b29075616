"""The open stores of a worker, one for each target repository, and the reads and writes of a run's own files."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from activities.runtime.superseded import ensure_not_superseded
from baton import identifiers
from baton.errors import StaleAttempt, WorkspaceError
from baton.steps.store_paths import CONFIG, REQUEST, SAVED
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.workspace import hold_workspace
from workspaces.git.credentials import Credentials
from workspaces.project.baton_toml import ProjectConfig
from workspaces.store.run_records import damaged_record, read_json
from workspaces.store.state_remote import StateRemote
from workspaces.store.store import Store

_MAX_RACES = 20


class Stores:
    """The stores of one home; each is opened once per worker."""

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

    async def open_store(self, repo: str) -> Store:
        """Return the store of a target repository; create it where there is none."""
        if repo not in self._open:
            async with self._lock:
                if repo not in self._open:
                    self._open[repo] = await Store.open(
                        self.home, repo, self._remote, self._credentials, hooks=self._hooks
                    )
        return self._open[repo]

    def has_store(self, repo: str) -> bool:
        """Whether this home has a store of a target repository."""
        return (self.home / "stores" / identifiers.repo_key(repo)).is_dir()

    async def open_checkpoints(self, repo: str) -> Checkpoints:
        """Return the checkpoints in the store of a target repository."""
        return Checkpoints(await self.open_store(repo))


@asynccontextmanager
async def hold_lane(store: Store, run: str, task: str, *needed: str) -> AsyncIterator[Checkpoints]:
    """Lock a task's lane for a step that reads or writes it, after fetching the commits that other hosts wrote.

    Raises WorkElsewhere if one of the commits `needed` is on no host that can be reached.
    """
    lane = Lane(run, task)
    async with hold_workspace(store, lane):
        checkpoints = Checkpoints(store)
        await checkpoints.claim_lane(lane, ensure_not_superseded)
        store.require_commits(run, *needed)
        yield checkpoints


async def read_run_file(store: Store, run: str, path: str) -> bytes | None:
    """Return the current content of one of the run's own files; None if there is no such file."""
    head = await store.read_head(identifiers.run_ref(run))
    return await store.read_file(head, path) if head else None


async def read_run_json(store: Store, run: str, path: str) -> Any:
    """Return the value of one of the run's own JSON files.

    Raises WorkElsewhere if it is missing, StoreDamaged if it is no JSON.
    """
    data = await read_run_file(store, run, path)
    if data is None:
        raise store.work_elsewhere(run, path)
    try:
        return read_json(data)
    except ValueError as error:
        raise damaged_record(path, run, error) from error


async def read_run_base(store: Store, run: str) -> str:
    """Return the base commit of a run, as it was pinned at its start; raises as `read_run_json` does."""
    pinned = (await read_run_json(store, run, REQUEST)).get("base_commit")
    if not isinstance(pinned, str):
        raise damaged_record(REQUEST, run, ValueError("it names no base_commit"))
    return pinned


async def read_run_config(store: Store, run: str) -> ProjectConfig:
    """Return the project's configuration as it was granted at the base commit."""
    return ProjectConfig.model_validate(await read_run_json(store, run, CONFIG))


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
    """Commit some of the run's own files; concurrent writers of other files lose no update.

    Raises WorkElsewhere if the run has no files yet, unless `begins` is set. Raises StaleAttempt if another attempt
    writes the file `alone` at the same time, or if a state later than `state_of` is committed already: one of the two
    attempts was given up.
    """
    ref = identifiers.run_ref(run)
    head = await store.read_head(ref)
    if head is None and not begins:
        await store.catch_up(run)
        head = await store.read_head(ref)
        if head is None:
            raise store.work_elsewhere(run, "file")
    seen = await store.read_file(head, alone) if head and alone else None
    for _ in range(_MAX_RACES):
        if head and state_of and await _is_later(store, head, state_of):
            raise StaleAttempt(f"A later state of run {run} is stored already: this attempt was given up, and ends.")
        try:
            return await store.commit_files(ref, expected=head, files=files, message=message, at=at)
        except StaleAttempt:
            head = await store.read_head(ref)
            if head and alone and await store.read_file(head, alone) != seen:
                raise
    raise WorkspaceError(f"The files of run {run} kept being written by others; try again.")


async def _is_later(store: Store, head: str, moment: datetime) -> bool:
    """Whether the stored state is later than `moment`: a worker that was suspended may resume with an old state."""
    data = await store.read_file(head, SAVED)
    try:
        return data is not None and datetime.fromisoformat(read_json(data)["at"]) > moment
    except (ValueError, KeyError, TypeError):
        return False  # Damaged: the state that is written now repairs it.


def to_json(value: Any) -> bytes:
    """Return a value as the JSON of the store: sorted keys, one value a line."""
    return (json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
