"""Verification of a store and of the workspaces that belong to it; `repair` repairs its findings.

It only reads, and a worker may run meanwhile. Each finding says what it means and what to do.
"""

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from baton import naming
from baton.errors import WorkspaceError
from baton.steps.store_paths import (
    BASE,
    CONFLICTS,
    GATES,
    META,
    REPORTS,
    TRANSCRIPT,
    TURN_FILE,
    WORKSPACE,
)
from system.directory_walk import walk_files
from system.uncancellable import in_thread
from workspaces.checkpoints.file_metadata import parse_meta
from workspaces.git.errors import translated
from workspaces.git.findings import Finding, StoreReport
from workspaces.git.object_database import Objects
from workspaces.git.tree_codec import TREE
from workspaces.maintenance import stale_files
from workspaces.maintenance.object_check import Damage, damage_of, damaged_loose, missing
from workspaces.maintenance.verify_workspaces import leftover, look_at_workspaces, packed_refs
from workspaces.store.run_records import fault_of, read_json
from workspaces.store.state_remote import OURS, run_of_ref
from workspaces.store.store import Store

__all__ = ["Finding", "StoreReport", "verify"]

_MAX_REFS_NAMED = 200
"""Of refs that a damage touches; each is walked to its end."""


async def verify(store: Store) -> StoreReport:
    """Check objects, refs, checkpoints, transcripts, workspaces and stale files of a store, without any change."""
    report = StoreReport(store.repo, store.root)
    tips = await in_thread(_tips, store, report)
    report.refs = sum(len(found) for found in tips.values())
    for repository, refs in tips.items():
        damage = await damage_of(repository, refs.values())
        await in_thread(_say_damage, store, report, repository, damage)
        if damage:
            await in_thread(_say_touched, store, report, repository, refs)
    await in_thread(_read_all, store, report, {**tips[store.source_path], **tips[store.path]})
    await in_thread(look_at_workspaces, store, report)
    for path in await in_thread(stale_files.in_store, store.root):
        report.findings.append(leftover(store, path))
    return report


def tips_of(store: Store) -> dict[Path, dict[str, str]]:
    """Return the refs of both repositories that can be read, with their commits."""
    return _tips(store, StoreReport(store.repo, store.root))


def broken_refs(store: Store) -> list[Finding]:
    """Return the findings for refs of both repositories that cannot be read."""
    report = StoreReport(store.repo, store.root)
    _tips(store, report)
    return report.findings


def _tips(store: Store, report: StoreReport) -> dict[Path, dict[str, str]]:
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
                    Finding(
                        "ref",
                        ref,
                        f"The ref {ref} holds no commit: {_meaning(ref)}.",
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
        report.findings.append(Finding("ref", where, what, "Give it back to this user.", mendable=False))

    found = [path for path, _ in walk_files(refs, unreadable)]
    return sorted(path for path in found if not path.endswith(".lock") and _may_be_read(refs / path))


def _may_be_read(path: Path) -> bool:
    """Whether a path is a regular file, as far as can be seen: a pipe would block a reader."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _say_damage(store: Store, report: StoreReport, repository: Path, damage: Damage) -> None:
    for path in damage.loose:
        oid = path.parent.name + path.name
        report.findings.append(Finding("object", _below(store, path), f"The object {oid} is damaged or cut short."))
    for path in damage.packs:
        report.findings.append(Finding("pack", _below(store, path), f"The pack {path.name} cannot be read as a whole."))
    for oid in damage.missing:
        where = _below(store, repository)
        report.findings.append(Finding("missing", oid, f"An object that some ref needs is missing in {where}."))


def _say_touched(store: Store, report: StoreReport, repository: Path, refs: dict[str, str]) -> None:
    """Add a finding for each ref that lacks objects, so that the report names the runs that a damage blocks."""
    bad = frozenset(
        path.parent.name + path.name
        for objects in (store.source_path / "objects", store.path / "objects")
        for path in damaged_loose(objects)
    )
    for ref, tip in sorted(refs.items())[:_MAX_REFS_NAMED]:
        if lost := missing(repository, [tip], also=bad):
            report.findings.append(
                Finding(
                    "checkpoint" if ref.startswith(OURS) else "ref",
                    ref,
                    f"{ref} lacks {len(lost)} object{'s' if len(lost) > 1 else ''}: {_meaning(ref)}.",
                    "Try `baton doctor --store --repair` with BATON_STATE_REMOTE set as it was for the run.",
                )
            )


def _meaning(ref: str) -> str:
    """Return the consequence of a ref that cannot be read."""
    run, _, rest = ref.removeprefix(OURS).partition("/")
    if not ref.startswith(OURS):
        return "a part of the project's history cannot be read; the next run fetches it again"
    if rest == "run/head":
        return f"the run {run} cannot go on, and its state.json and decisions.json cannot be shown"
    if rest == "integration/head":
        return f"the finished tasks of the run {run} cannot be published"
    if naming.is_contents_ref(ref):
        return f"files that the run {run} has put behind Git LFS cannot be uploaded"
    kind = rest.split("/", 2)[1] if "/" in rest else ""
    if kind == "candidate":
        return f"a result of a task of the run {run} cannot be integrated before its gate ran again"
    if kind == "landing":
        return f"a finished task of the run {run} cannot be taken over by a fork"
    return f"the task {rest.partition('/')[0]} of the run {run} cannot go on from its newest checkpoint"


def _read_all(store: Store, report: StoreReport, refs: dict[str, str]) -> None:
    """Read all files that the engine would read of every run with complete refs: a fault then was written that way."""
    objects = Objects(store.path)
    known = {finding.where for finding in report.of("checkpoint", "ref")}
    for ref, tip in sorted(refs.items()):
        if not ref.startswith(OURS) or ref in known:
            continue
        try:
            with translated(f"reading {ref}"):
                if ref == naming.run_ref(run_of_ref(ref)):
                    report.findings += _read_records(objects, ref, tip)
                elif naming.is_contents_ref(ref):
                    for name, leaf in objects.leaves(objects.tree_of(tip)):
                        if not objects.has(leaf.oid):
                            raise WorkspaceError(f"the content {name[:12]} is missing")
                elif store.keeper(ref) is store.objects:
                    report.findings += _read_lane(objects, ref, tip)
        except (WorkspaceError, ValueError) as error:
            report.findings.append(
                Finding("checkpoint", ref, f"{ref} is not complete ({error}): {_meaning(ref)}.", mendable=False)
            )


def _read_records(objects: Objects, ref: str, tip: str) -> Iterator[Finding]:
    for name, leaf in objects.leaves(objects.tree_of(tip)):
        if name.endswith(".json") and (reason := fault_of(name, objects.data(leaf.oid))) is not None:
            yield Finding(
                "record",
                f"{ref}:{name}",
                f"{name} of the run {run_of_ref(ref)} is damaged ({reason[:200]}).",
                "`baton doctor --store --repair` brings back the last one of the run that was whole.",
            )


def _read_lane(objects: Objects, ref: str, tip: str) -> Iterator[Finding]:
    tree = objects.tree_of(tip)
    workspace = objects.entry(tree, WORKSPACE)
    if workspace is not None and workspace.mode != TREE:
        raise WorkspaceError("it has no workspace")
    parse_meta(_data(objects, tip, META))
    for oid in _data(objects, tip, BASE).decode().split():
        if not objects.has(oid):
            raise WorkspaceError(f"the commit {oid[:12]} that it began from is missing")
    turns: dict[str, dict[str, set[int]]] = {}
    ended: dict[str, set[int]] = {}
    for directory in (TRANSCRIPT, REPORTS, GATES, CONFLICTS):
        entry = objects.entry(tree, directory)
        for name, leaf in objects.leaves(entry.oid, f"{directory}/".encode()) if entry else ():
            if not name.endswith(".json"):
                continue
            try:
                content = read_json(objects.data(leaf.oid))
            except ValueError:
                content = None
            if not isinstance(content, dict):
                yield Finding("transcript", f"{ref}:{name}", f"{name} is no JSON object: {_meaning(ref)}.", "", False)
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
            yield Finding("transcript", f"{ref}:{session}", f"The transcript {session} lacks turns.", "", False)


def _data(objects: Objects, commit: str, path: str) -> bytes:
    entry = objects.entry(objects.tree_of(commit), path)
    if entry is None:
        raise WorkspaceError(f"it has no {path}")
    return objects.data(entry.oid)


def _below(store: Store, path: Path) -> str:
    return str(path.relative_to(store.home))
