"""Repair of the files without which a store cannot be opened: HEAD, configuration, the name of its repository.

Each damaged file is moved to `<store>/damaged/<time>/`. Their contents are constants, except for the repository's name,
which is read from the runs in the store and used only if the store's directory has the key of that name.
"""

import os
import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pygit2

from baton import identifiers
from baton.errors import WorkspaceError
from baton.steps.store_paths import REQUEST, STATE
from system.file_lock import hold_lock
from system.fsync import write_durably
from system.uncancellable import run_in_thread
from workspaces.git.errors import translate_errors
from workspaces.git.findings import StoreFinding
from workspaces.git.inventory import ALTERNATES, PACKED_REF, StoreEntry, inspect_store
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.repositories import ATTRIBUTES, CONFIG
from workspaces.store.run_records import read_json
from workspaces.store.state_remote import OURS

HEAD = "ref: refs/heads/master\n"
"""As a new store has it. The engine reads it never, and git takes a directory without one for no repository."""

_FILES = {
    "HEAD": HEAD,
    "config": CONFIG,
    "info/attributes": ATTRIBUTES,
    "info/exclude": "",
    "objects/info/alternates": ALTERNATES,
}
_NO_NAME = (
    "No run in it says so either: write the absolute path or the URL of the repository into {}, and nothing else."
)


async def repair_frame(place: StoreEntry) -> tuple[StoreEntry, list[StoreFinding]]:
    """Repair a store that cannot be opened, as far as possible; returns its state then, and the faults that are
    gone.
    """
    if not any(finding.mendable for finding in place.faults):
        return place, []
    home = place.root.parent.parent
    with translate_errors("repairing the store"):
        async with hold_lock(place.root / "create.lock"):
            await run_in_thread(
                _repair_files, place.root, [home / finding.where for finding in place.faults if finding.mendable]
            )
    after = await run_in_thread(inspect_store, home, place.root) or replace(place, faults=())
    left = {finding.where for finding in after.faults}
    nameless = str((place.root / "repository").relative_to(home))
    faults = tuple(
        replace(finding, advice=_NO_NAME.format(place.root / "repository"), mendable=False)
        if finding.where == nameless
        else finding
        for finding in after.faults
    )
    return replace(after, faults=faults), [finding for finding in place.faults if finding.where not in left]


def _repair_files(root: Path, paths: list[Path]) -> None:
    aside = root / "damaged" / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    # Directories first: the files lie in them; the name last, for it is read from files that are repaired before.
    for path in sorted(paths, key=lambda each: (each.name != "objects", each.name == "repository")):
        below = str(path.relative_to(root).as_posix()).partition("/")[2]
        if below == "objects":
            _set_aside(root, path, aside)
            path.mkdir()
        elif below in _FILES:
            _set_aside(root, path, aside)
            write_durably(path, _FILES[below])
        elif below == "packed-refs":
            kept = [line for line in _read_lines(path) if PACKED_REF.fullmatch(line)]
            _set_aside(root, path, aside)
            write_durably(path, b"".join(line + b"\n" for line in kept).decode())
        elif path.name == "repository" and (said := _repository_by_runs(root)) is not None:
            _set_aside(root, path, aside)
            write_durably(path, f"{said}\n")
    if all((root / name).exists() for name in ("repository", "source.git/HEAD", "store.git/HEAD")):
        write_durably(root / "ready", "1\n")


def _set_aside(root: Path, path: Path, aside: Path) -> None:
    if os.path.lexists(path):
        target = aside / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def _read_lines(path: Path) -> list[bytes]:
    with suppress(OSError):
        return path.read_bytes().splitlines()
    return []


def _repository_by_runs(root: Path) -> str | None:
    """Return the repository that a run in the store was made for, if the store's directory has the key of its name."""
    with suppress(pygit2.GitError, OSError, ValueError, KeyError):
        objects = ObjectDatabase(root / "store.git")
        for ref in objects.repo.references:
            if re.fullmatch(re.escape(OURS) + "[^/]+/run/head", ref):
                for name in (REQUEST, STATE):
                    said = _repository_of(objects, ref, name)
                    if said is not None and identifiers.repo_key(said) == root.name:
                        return said
    return None


def _repository_of(objects: ObjectDatabase, ref: str, name: str) -> str | None:
    with suppress(pygit2.GitError, OSError, ValueError, KeyError, TypeError, WorkspaceError):
        head = str(objects.repo.references[ref].target)
        entry = objects.find_entry(objects.tree_of(head), name)
        said = read_json(objects.read_blob(entry.oid))["repo"] if entry else None
        return said if isinstance(said, str) and said and "\n" not in said else None
    return None
