"""The check of a home's workspaces: directories that lack a part, and those that belong to no run."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from workspaces.git.findings import StoreFinding, StoreReport
from workspaces.git.inventory import list_stores
from workspaces.maintenance import stale_files
from workspaces.store.state_remote import OURS, run_of_ref
from workspaces.store.store import Store


def check_workspaces(store: Store, report: StoreReport) -> None:
    """Add the faults of the workspaces of a store's runs, and of those that no store knows."""
    known, here = runs_of_home(store.home), runs_of(store)
    for directory in sorted((store.home / "workspaces").glob("*/*")):
        run = directory.parent.name
        if not directory.is_dir() or directory.is_symlink():
            continue
        if run not in known:
            if any(place.faults for place in list_stores(store.home)):
                continue  # it may belong to a run in a store that cannot be read
            report.findings.append(
                StoreFinding(
                    "stray",
                    str(directory.relative_to(store.home)),
                    f"No store knows the run {run} of this workspace, so it may be the only copy of what is in it.",
                    f"Look at {directory / 'work'}, and remove {directory} when nothing in it is needed.",
                    mendable=False,
                )
            )
        elif run in here:
            report.findings += _check_workspace(store, directory)


def _check_workspace(store: Store, directory: Path) -> Iterator[StoreFinding]:
    where = str(directory.relative_to(store.home))
    for path in stale_files.in_workspace(directory):
        yield leftover_finding(store, path)
    index, work, marker = directory / "index", directory / "work", directory / "clean"
    if not work.is_dir():
        if index.exists() or marker.exists():
            yield StoreFinding(
                "workspace", where, "The files of this workspace are gone; the next step makes them anew."
            )
    elif not index_is_whole(index):
        lost = "broken" if index.exists() else "lost"
        yield StoreFinding(
            "index", where, f"git's index of this workspace is {lost}; without it all files are read again."
        )


def index_is_whole(index: Path) -> bool:
    """Whether an index is there and ends with the digest of its contents."""
    try:
        data = index.read_bytes()
    except OSError:
        return False
    return data[:4] == b"DIRC" and hashlib.sha1(data[:-20], usedforsecurity=False).digest() == data[-20:]


def runs_of(store: Store) -> set[str]:
    """Return the runs that have a ref in a store, readable or not."""
    return {path.name for repository in (store.path, store.source_path) for path in (repository / OURS).glob("*")} | {
        run_of_ref(ref)
        for repository in (store.path, store.source_path)
        for ref in packed_refs(repository)
        if ref.startswith(OURS)
    }


def runs_of_home(home: Path) -> set[str]:
    """Return the runs that any store of a home knows."""
    found = {path.name for path in home.glob(f"stores/*/*.git/{OURS}*")}
    for repository in home.glob("stores/*/*.git"):
        found |= {run_of_ref(ref) for ref in packed_refs(repository) if ref.startswith(OURS)}
    return found


def packed_refs(repository: Path) -> dict[str, str]:
    """Return the refs that git has packed into one file."""
    try:
        lines = (repository / "packed-refs").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    pairs = [line.split(" ", 1) for line in lines if re.match(r"[0-9a-f]{40} ", line)]
    return {ref: oid for oid, ref in pairs}


def leftover_finding(store: Store, path: Path) -> StoreFinding:
    """Return the finding for a stale file."""
    return StoreFinding("leftover", str(path.relative_to(store.home)), "A crash left this; it is not in use.")
