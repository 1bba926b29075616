"""Verification of a store and of the workspaces that belong to it; `repair` repairs its findings.

It only reads, and a worker may run meanwhile. Each finding says what it means and what to do.
"""

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from baton import identifiers
from baton.errors import WorkspaceError
from baton.steps.store_paths import BASE, CONFLICTS, GATES, META, REPORTS, TRANSCRIPT, TURN_FILE, WORKSPACE
from system.directory_walk import walk_files
from system.uncancellable import run_in_thread
from workspaces.checkpoints.file_metadata import parse_metadata
from workspaces.git.errors import translate_errors
from workspaces.git.findings import StoreFinding, StoreReport
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.tree_codec import TREE
from workspaces.maintenance import stale_files
from workspaces.maintenance.object_check import ObjectDamage, check_objects, damaged_loose, find_missing
from workspaces.maintenance.verify_workspaces import check_workspaces, leftover_finding, packed_refs
from workspaces.store.run_records import find_fault, read_json
from workspaces.store.state_remote import OURS, run_of_ref
from workspaces.store.store import Store

__all__ = ["StoreFinding", "StoreReport", "verify_store"]

_MAX_REFS_NAMED = 200
"""Of refs that a damage touches; each is walked to its end."""


async def verify_store(store: Store) -> StoreReport:
    """Check objects, refs, checkpoints, transcripts, workspaces and stale files of a store, without any change."""
    report = StoreReport(store.repo, store.root)
    tips = await run_in_thread(_list_tips, store, report)
    report.refs = sum(len(found) for found in tips.values())
    for repository, refs in tips.items():
        damage = await check_objects(repository, refs.values())
        await run_in_thread(_say_damage, store, report, repository, damage)
        if damage:
            await run_in_thread(_say_touched, store, report, repository, refs)
    await run_in_thread(_read_all, store, report, {**tips[store.source_path], **tips[store.path]})
    await run_in_thread(check_workspaces, store, report)
    for path in await run_in_thread(stale_files.in_store, store.root):
        report.findings.append(leftover_finding(store, path))
    return report


def tips_of(store: Store) -> dict[Path, dict[str, str]]:
    """Return the refs of both repositories that can be read, with their commits."""
    return _list_tips(store, StoreReport(store.repo, store.root))


def broken_refs(store: Store) -> list[StoreFinding]:
    """Return the findings for refs of both repositories that cannot be read."""
    report = StoreReport(store.repo, store.root)
    _list_tips(store, report)
    return report.findings


def _list_tips(store: Store, report: StoreReport) -> dict[Path, dict[str, str]]:
    found: dict[Path, dict[str, str]] = {}
    for repository in (store.source_path, store.path):
        found[repository] = packed_refs(repository)
        for name in _ref_names(repository / "refs", report, store.home):
            ref = f"refs/{name}"
            try:
                value = (repository / ref).read_text(errors="replace").strip()
            except OSError:
                value = ""
            if re.fullmatch(r"[0-9a-f]{40}", value):
                found[repository][ref] = value
            elif not value.startswith("ref: "):
                found[repository].pop(ref, None)
                report.findings.append(
                    StoreFinding(
                        "ref",
                        ref,
                        f"The ref {ref} holds no commit: {_explain_ref(ref)}.",
                        "`baton doctor --store --repair` searches the state remote and the commits here for it.",
                    )
                )
    return found


def _ref_names(refs: Path, report: StoreReport, home: Path) -> list[str]:
    """List the files below `refs/`; a directory of them that cannot be read becomes a finding."""

    def unreadable(path: str, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            return  # Another process has just taken it away.
        where = str((refs / path).relative_to(home))
        what = f"A directory of refs cannot be read ({error.strerror}): which runs have refs in it is not known."
        report.findings.append(StoreFinding("ref", where, what, "Give it back to this user.", mendable=False))

    found = [path for path, _ in walk_files(refs, unreadable)]
    return sorted(path for path in found if not path.endswith(".lock") and _may_be_read(refs / path))


def _may_be_read(path: Path) -> bool:
    """Whether a path is a regular file, as far as can be seen: a pipe would block a reader."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _say_damage(store: Store, report: StoreReport, repository: Path, damage: ObjectDamage) -> None:
    for path in damage.loose:
        oid = path.parent.name + path.name
        report.findings.append(
            StoreFinding("object", _path_below(store, path), f"The object {oid} is damaged or cut short.")
        )
    for path in damage.packs:
        report.findings.append(
            StoreFinding("pack", _path_below(store, path), f"The pack {path.name} cannot be read as a whole.")
        )
    for oid in damage.missing:
        where = _path_below(store, repository)
        report.findings.append(StoreFinding("missing", oid, f"An object that some ref needs is missing in {where}."))


def _say_touched(store: Store, report: StoreReport, repository: Path, refs: dict[str, str]) -> None:
    """Add a finding for each ref that lacks objects, so that the report names the runs that a damage blocks."""
    bad = frozenset(
        path.parent.name + path.name
        for objects in (store.source_path / "objects", store.path / "objects")
        for path in damaged_loose(objects)
    )
    for ref, tip in sorted(refs.items())[:_MAX_REFS_NAMED]:
        if lost := find_missing(repository, [tip], also=bad):
            report.findings.append(
                StoreFinding(
                    "checkpoint" if ref.startswith(OURS) else "ref",
                    ref,
                    f"{ref} lacks {len(lost)} object{'s' if len(lost) > 1 else ''}: {_explain_ref(ref)}.",
                    "Try `baton doctor --store --repair` with BATON_STATE_REMOTE set as it was for the run.",
                )
            )


def _explain_ref(ref: str) -> str:
    """Return the consequence of a ref that cannot be read."""
    run, _, rest = ref.removeprefix(OURS).partition("/")
    if not ref.startswith(OURS):
        return "a part of the project's history cannot be read; the next run fetches it again"
    if rest == "run/head":
        return f"the run {run} cannot go on, and its state.json and decisions.json cannot be shown"
    if rest == "integration/head":
        return f"the finished tasks of the run {run} cannot be published"
    if identifiers.is_contents_ref(ref):
        return f"files that the run {run} has put behind Git LFS cannot be uploaded"
    kind = rest.split("/", 2)[1] if "/" in rest else ""
    if kind == "candidate":
        return f"a result of a task of the run {run} cannot be integrated before its gate ran again"
    if kind == "landing":
        return f"a finished task of the run {run} cannot be taken over by a fork"
    return f"the task {rest.partition('/')[0]} of the run {run} cannot go on from its newest checkpoint"


def _read_all(store: Store, report: StoreReport, refs: dict[str, str]) -> None:
    """Read all files that the engine would read of every run with complete refs: a fault then was written that way."""
    objects = ObjectDatabase(store.path)
    known = {finding.where for finding in report.of_kinds("checkpoint", "ref")}
    for ref, tip in sorted(refs.items()):
        if not ref.startswith(OURS) or ref in known:
            continue
        try:
            with translate_errors(f"reading {ref}"):
                if ref == identifiers.run_ref(run_of_ref(ref)):
                    report.findings += _read_records(objects, ref, tip)
                elif identifiers.is_contents_ref(ref):
                    for name, leaf in objects.list_leaves(objects.tree_of(tip)):
                        if not objects.has_object(leaf.oid):
                            raise WorkspaceError(f"the content {name[:12]} is missing")
                elif store.repository_of(ref) is store.objects:
                    report.findings += _read_lane(objects, ref, tip)
        except (WorkspaceError, ValueError) as error:
            report.findings.append(
                StoreFinding(
                    "checkpoint", ref, f"{ref} is not complete ({error}): {_explain_ref(ref)}.", mendable=False
                )
            )


def _read_records(objects: ObjectDatabase, ref: str, tip: str) -> Iterator[StoreFinding]:
    for name, leaf in objects.list_leaves(objects.tree_of(tip)):
        if name.endswith(".json") and (reason := find_fault(name, objects.read_blob(leaf.oid))) is not None:
            yield StoreFinding(
                "record",
                f"{ref}:{name}",
                f"{name} of the run {run_of_ref(ref)} is damaged ({reason[:200]}).",
                "`baton doctor --store --repair` brings back the last one of the run that was whole.",
            )


def _read_lane(objects: ObjectDatabase, ref: str, tip: str) -> Iterator[StoreFinding]:
    tree = objects.tree_of(tip)
    workspace = objects.find_entry(tree, WORKSPACE)
    if workspace is not None and workspace.mode != TREE:
        raise WorkspaceError("it has no workspace")
    parse_metadata(_read_data(objects, tip, META))
    for oid in _read_data(objects, tip, BASE).decode().split():
        if not objects.has_object(oid):
            raise WorkspaceError(f"the commit {oid[:12]} that it began from is missing")
    turns: dict[str, dict[str, set[int]]] = {}
    ended: dict[str, set[int]] = {}
    for directory in (TRANSCRIPT, REPORTS, GATES, CONFLICTS):
        entry = objects.find_entry(tree, directory)
        for name, leaf in objects.list_leaves(entry.oid, f"{directory}/".encode()) if entry else ():
            if not name.endswith(".json"):
                continue
            try:
                content = read_json(objects.read_blob(leaf.oid))
            except ValueError:
                content = None
            if not isinstance(content, dict):
                yield StoreFinding(
                    "transcript", f"{ref}:{name}", f"{name} is no JSON object: {_explain_ref(ref)}.", "", False
                )
            elif (found := TURN_FILE.fullmatch(name)) and found["side"] in ("user", "assistant"):
                sides = turns.setdefault(found["session"], {"user": set(), "assistant": set()})
                sides[found["side"]].add(int(found["number"]))
                if found["side"] == "user" and content.get("result"):
                    ended.setdefault(found["session"], set()).add(int(found["number"]))
    for session, sides in turns.items():
        known = range(1, max(sides["user"], default=0) + 1)
        # A turn that took in a hand-off beside other calls has no answer; the session may have gone on all the same.
        answered = sides["assistant"] | ended.get(session, set())
        if sides["user"] != set(known) or not set(known[:-1]) <= answered <= set(known):
            yield StoreFinding("transcript", f"{ref}:{session}", f"The transcript {session} lacks turns.", "", False)


def _read_data(objects: ObjectDatabase, commit: str, path: str) -> bytes:
    entry = objects.find_entry(objects.tree_of(commit), path)
    if entry is None:
        raise WorkspaceError(f"it has no {path}")
    return objects.read_blob(entry.oid)


def _path_below(store: Store, path: Path) -> str:
    return str(path.relative_to(store.home))
