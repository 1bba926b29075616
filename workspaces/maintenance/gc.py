"""Garbage collection of a store: the hidden refs of ended runs are removed, then the objects that no other ref
needs.

A run's own small files (`state.json`, decisions, request) stay unless their removal is asked for, so that `show` still
knows the run. Objects in `source.git` are packed and never dropped: checkpoints of other runs borrow from it.
"""

import re
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from baton import identifiers
from system.directory_walk import directories_below, walk_files
from system.file_lock import hold_lock
from system.safe_directory import clear_away
from system.uncancellable import run_in_thread
from workspaces.git.errors import translate_errors
from workspaces.git.repack import gc_lock
from workspaces.git.run import call_git
from workspaces.maintenance import stale_files
from workspaces.store.state_remote import OURS
from workspaces.store.store import Store

GRACE = timedelta(hours=3)
"""Objects that were written since are never dropped: a step may be about to name them. No step takes as long."""

_RUN = re.compile(re.escape(OURS) + r"(?P<run>[^/]+)/run/head")


@dataclass(frozen=True)
class RunUsage:
    """The disk space that a run takes in a store."""

    refs: list[str]
    """The refs that would go."""
    size: int
    """Bytes of objects that only these refs lead to; compressed, as they lie on the disk."""


def list_runs(store: Store) -> list[str]:
    """List the runs that a store knows."""
    return sorted(found["run"] for ref in store.objects.repo.references if (found := _RUN.fullmatch(ref)))


async def measure_run(store: Store, run: str, *, whole: bool) -> RunUsage:
    """Measure the refs of a run (without `whole` all but that of its own files), and the objects that only they
    need.
    """
    with translate_errors(f"looking at the run {run}"):
        every = await run_in_thread(_list_tips, store)
    own = identifiers.run_ref(run)
    going = [ref for ref in store.list_refs(run) if whole or ref != own]
    staying = {commit for ref, commit in every.items() if ref not in going}
    size = 0
    if wanted := {every[ref] for ref in going if ref in every} - staying:
        lines = [*sorted(wanted), *(f"^{commit}" for commit in sorted(staying))]
        told = await call_git(
            ["rev-list", "--disk-usage", "--objects", "--stdin"], git_dir=store.path, stdin=_join_lines(lines)
        )
        size = int(told.text or 0)
    return RunUsage(going, size)


async def forget_run(store: Store, run: str, refs: Iterable[str]) -> bool:
    """Remove refs of an ended run, and its workspaces; returns False, without any change, if a step holds one of
    them.
    """
    with translate_errors(f"clearing the run {run}"):
        return await run_in_thread(_remove_run, store, run, list(refs))


async def repack_store(store: Store) -> int:
    """Pack reachable objects and drop the others; returns the bytes that this freed. A worker may run meanwhile."""
    before = await run_in_thread(_measure_directory, store.root)
    async with hold_lock(gc_lock(store.path)):
        await call_git(["repack", "-a", "-d", "-k", "-l", "-q"], git_dir=store.source_path)
        limit = f"{int(GRACE.total_seconds())}.seconds.ago"
        await call_git(["repack", "-A", "-d", "-l", "-q", f"--unpack-unreachable={limit}"], git_dir=store.path)
        await call_git(["prune", f"--expire={limit}"], git_dir=store.path)
    return max(0, before - await run_in_thread(_measure_directory, store.root))


def _list_tips(store: Store) -> dict[str, str]:
    found = {}
    for objects in (store.source, store.objects):
        for name in objects.repo.references:
            found[name] = str(objects.repo.references[name].resolve().target)
    return found


def _remove_run(store: Store, run: str, refs: list[str]) -> bool:
    workspaces = store.home / "workspaces" / run
    tasks = sorted(path for path in workspaces.iterdir() if path.is_dir()) if workspaces.is_dir() else []
    with ExitStack() as holds:
        free = [holds.enter_context(stale_files.hold_if_free(task)) for task in tasks]
        if not all(free):
            return False
        for ref in refs:
            store.set_ref(ref, None)
            (store.root / "pushed" / ref.removeprefix(OURS)).unlink(missing_ok=True)
        for task in tasks:
            stale_files.remove_stale(task)
        clear_away(workspaces)
        clear_away(store.home / "gates" / run)
        _remove_empty(Path(store.objects.repo.path) / OURS / run)
        _remove_empty(Path(store.source.repo.path) / OURS / run)
    return True


def _measure_directory(directory: Path) -> int:
    """Return the bytes of all files below a directory, without those that are removed meanwhile."""
    total = 0
    for _, entry in walk_files(directory):
        with suppress(FileNotFoundError):
            total += entry.stat(follow_symlinks=False).st_size if entry.is_file() else 0
    return total


def _remove_empty(directory: Path) -> None:
    """Remove directories of refs that are empty."""
    for path in [*sorted(directories_below(directory), reverse=True), ""]:
        with suppress(OSError):
            (directory / path).rmdir()


def _join_lines(entries: list[str]) -> bytes:
    return "".join(f"{entry}\n" for entry in entries).encode()
