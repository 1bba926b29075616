"""Repair of the faults that `verify` found in a store: stale files are removed, lost objects are restored.

No file that holds work is deleted: damaged ones are moved to `<store>/damaged/<time>/`. An object is restored only
under its own id, the digest of its bytes, so its source need not be trusted.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pygit2

from baton.errors import StateRemoteAway, WorkspaceError
from baton.steps.store_paths import WORKSPACE
from system.file_lock import hold_lock
from system.uncancellable import run_in_thread
from workspaces.git.errors import translate_errors
from workspaces.git.findings import StoreFinding, StoreReport
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.repack import gc_lock
from workspaces.git.repositories import scratch_repository
from workspaces.git.run import call_git
from workspaces.git.tree_codec import TREE
from workspaces.maintenance import stale_files
from workspaces.maintenance.object_check import damaged_loose, find_missing, list_references
from workspaces.maintenance.object_sources import ObjectSources, open_sources
from workspaces.maintenance.ref_restore import lost_tip, restore_records
from workspaces.maintenance.verify import tips_of, verify_store
from workspaces.store.state_remote import OURS, run_of_ref
from workspaces.store.store import Store

_MAX_PACK = 1 << 30
"""Bytes of a damaged pack that is read through for what is whole in it."""

_GONE = (
    "It was searched for in both repositories, in the workspaces, in the target repository and in the state remote."
    " Runs that do not need it go on; stop a run that does (`baton stop`), and start it anew."
)

_NO_VERSION = (
    "No version of it in the run's history is whole. A run that is open writes its state anew at its next step"
    " (`baton watch`); of one that needs its other files: stop it (`baton stop`), and start it anew."
)


async def repair_store(store: Store, report: StoreReport) -> StoreReport:
    """Repair the findings of a report, and verify again: `findings` are those that are left, `mended` those that
    are gone.

    Call it while no worker uses the home; otherwise a step may fail and be retried.
    """
    with translate_errors("repairing the store"):
        for finding in report.of_kinds("leftover"):
            await run_in_thread(stale_files.remove_stale, store.home / finding.where)
        aside = store.root / "damaged" / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        unasked: list[str] = []
        async with hold_lock(gc_lock(store.path)):  # no repack and no garbage collection meanwhile
            for finding in report.of_kinds("pack"):
                await _repair_pack(store, store.home / finding.where, aside)
            if report.of_kinds("object", "pack", "missing", "checkpoint", "ref"):
                for repository in (store.source_path, store.path):
                    for path in await run_in_thread(damaged_loose, repository / "objects"):
                        await run_in_thread(_move_aside, store, path, aside)
                for finding in report.of_kinds("ref"):
                    await _repair_ref(store, finding.where, aside)
                unasked = await _bring_back(store)
        for finding in report.of_kinds("index", "workspace"):
            await _repair_workspace(store, finding)
        await restore_records(store)
    after = await verify_store(store)
    left = {(finding.kind, finding.where) for finding in after.findings}
    after.mended = [finding for finding in report.findings if (finding.kind, finding.where) not in left]
    advice = " ".join([*unasked, _GONE])
    after.findings = [
        replace(finding, advice=_NO_VERSION, mendable=False) if finding.kind == "record" else finding
        for finding in after.findings
    ]
    lost = ("object", "pack", "missing", "checkpoint", "ref")
    after.findings = [
        replace(finding, advice=advice, mendable=False) if finding.kind in lost else finding
        for finding in after.findings
    ]
    return after


def _move_aside(store: Store, path: Path, aside: Path) -> None:
    target = aside / path.relative_to(store.root)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)


async def _repair_pack(store: Store, pack: Path, aside: Path) -> None:
    """Make a pack's index anew if only that is damaged; else keep the pack's readable objects as loose ones."""
    if not await run_in_thread(pack.exists):  # a worker has repacked it, and so found it whole
        return
    repository = pack.parent.parent.parent
    for suffix in (".idx", ".rev", ".bitmap"):
        if pack.with_suffix(suffix).exists():
            await run_in_thread(_move_aside, store, pack.with_suffix(suffix), aside)
    made = await call_git(["index-pack", str(pack)], git_dir=repository, check=False)
    if made.code == 0:
        return
    pack.with_suffix(".idx").unlink(missing_ok=True)
    await run_in_thread(_move_aside, store, pack, aside)
    moved = aside / pack.relative_to(store.root)
    if moved.stat().st_size <= _MAX_PACK:
        data = await run_in_thread(moved.read_bytes)
        await call_git(["unpack-objects", "-r", "-q"], git_dir=repository, stdin=data, check=False)
    async with scratch_repository(store.root) as place:
        (place / "objects/info").mkdir(exist_ok=True)
        (place / "objects/info/alternates").write_text(f"{moved.parent.parent}\n")
        await run_in_thread(_copy_readable, ObjectDatabase(place), ObjectDatabase(repository))


def _copy_readable(source: ObjectDatabase, target: ObjectDatabase) -> None:
    for oid in source.repo:
        try:
            kind, data = source.read_object(str(oid))
        except (pygit2.GitError, KeyError, ValueError, OSError):
            continue
        if not target.has_object(str(oid)):
            target.write_object(kind, data)
    target.sync_objects()


async def _repair_ref(store: Store, ref: str, aside: Path) -> None:
    """Point an unreadable ref to its newest commit here, in the state remote, or as noted at the last push."""
    value = await _lost_tip(store, ref) or await _value_elsewhere(store, ref)
    if value is None and ref.startswith(OURS):
        return
    for repository in (store.source_path, store.path):
        if (repository / ref).is_file():
            await run_in_thread(_move_aside, store, repository / ref, aside)
    if value is not None:
        # Not by git, which would refuse a ref to a commit that is restored only later.
        path = Path(store.repository_of(ref).repo.path) / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")


async def _lost_tip(store: Store, ref: str) -> str | None:
    """Return the newest commit of a ref of the engine, by the commits here; it need not have been pushed."""
    if not ref.startswith(OURS):
        return None
    with suppress(WorkspaceError, KeyError, ValueError, pygit2.GitError):
        return await lost_tip(store, ref)
    return None


async def _value_elsewhere(store: Store, ref: str) -> str | None:
    """Return the commit of a ref in the state remote or in the note of the last push; None for a ref of the
    project's own.
    """
    if not ref.startswith(OURS):
        return None
    if store.remote is not None:
        with suppress(StateRemoteAway):
            offered = await store.remote.list_refs(store, run_of_ref(ref))
            if ref in offered:
                return offered[ref]
    with suppress(OSError, ValueError):
        return (store.root / "pushed" / ref.removeprefix(OURS)).read_text().strip() or None
    return None


async def _bring_back(store: Store) -> list[str]:
    """Restore lost objects with all that they need; returns the reasons for which a source could not be asked."""
    async with open_sources(store) as found:
        for repository, refs in (await run_in_thread(tips_of, store)).items():
            lost = await run_in_thread(find_missing, repository, list(refs.values()))
            if lost:
                await _restore_objects(repository, lost, found)
        return found.unreachable


async def _restore_objects(repository: Path, lost: list[str], found: ObjectSources) -> None:
    target = ObjectDatabase(repository)
    waiting, seen = list(lost), set(lost)
    while waiting:
        oid = waiting.pop()
        there = await found.find_object(oid)
        if there is None:
            continue
        target.write_object(*there)
        for needed, _ in list_references(*there, parents=True):
            if needed not in seen and not target.has_object(needed):
                seen.add(needed)
                waiting.append(needed)
    await run_in_thread(target.sync_objects)


async def _repair_workspace(store: Store, finding: StoreFinding) -> None:
    """Make an index again from the newest checkpoint; for lost files, remove the notes about them."""
    directory = store.home / finding.where
    run, task = directory.parts[-2:]
    with stale_files.hold_if_free(directory) as free:
        if not free:
            return
        (directory / "index.tree").unlink(missing_ok=True)
        if finding.kind == "workspace":
            for name in ("index", "clean"):
                (directory / name).unlink(missing_ok=True)
            return
        head = await store.read_head(f"{OURS}{run}/{task}/head")
        workspace = store.objects.find_entry(store.objects.tree_of(head), WORKSPACE) if head else None
        if workspace is None or workspace.mode != TREE:
            return
        made = directory / "index.new"
        await call_git(["read-tree", workspace.oid], git_dir=store.path, env={"GIT_INDEX_FILE": str(made)})
        made.replace(directory / "index")
