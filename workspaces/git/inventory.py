"""The inventory of a home: its stores, and the faults that keep one from being opened.

Reads a few small files of each store, opens none and changes none, so that the fault of one store is a finding beside
all others and never the end of a command.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pygit2

from baton import identifiers
from workspaces.git.findings import StoreFinding
from workspaces.git.object_database import prepare_library

REPOSITORIES = ("source.git", "store.git")
ALTERNATES = "../../source.git/objects\n"
"""Where `store.git` finds the objects of `source.git`; relative, so that a home can be moved."""

_STORE = re.compile(r"[a-z0-9-]+-[0-9a-f]{10}")
_HEAD = re.compile(rb"(?:ref: refs/[!-~]+|[0-9a-f]{40})\n?")
_MAX_SMALL_FILE = 1 << 16
"""Bytes of a small file of a store; each of them is shorter by far."""

_MENDABLE = "`baton doctor --store --repair` repairs it."
_FROM_A_COPY = (
    "Put it back from a copy of this home. Without one, move the directory of the store out of BATON_HOME: the next run"
    " makes a new one, and what the runs in it did and did not publish is only in what you moved."
)


@dataclass(frozen=True)
class StoreEntry:
    """The directory of one store, with the faults that keep it from being opened."""

    root: Path
    repository: str | None
    """The target repository; None where the store does not say."""
    faults: tuple[StoreFinding, ...] = ()
    """The faults that keep it from being opened, the gravest first."""

    @property
    def first_fault(self) -> str:
        """The first fault in sentences: its meaning, and the remedy."""
        first = self.faults[0]
        return f"The store {self.root} cannot be used: {first.what} {first.advice}"

    def has_run(self, run: str) -> bool:
        """Whether a run has refs in this store, as far as that can be seen without git."""
        key = identifiers.run_key(run)
        return any(
            os.path.lexists(self.root / name / "refs/baton" / key)
            or f" refs/baton/{key}/".encode() in (_read_small(self.root / name / "packed-refs") or b"")
            for name in REPOSITORIES
        )


def list_stores(home: Path) -> list[StoreEntry]:
    """Return every store of a home, sorted by directory, without those that a crash left empty."""
    stores = home / "stores"
    try:
        names = sorted(os.listdir(stores))
    except FileNotFoundError:
        return []
    except OSError as error:
        return [StoreEntry(stores, None, (_unreadable_finding(home, stores, error),))]
    places = [inspect_store(home, stores / name) for name in names if _STORE.fullmatch(name)]
    return [place for place in places if place is not None]


def inspect_store(home: Path, root: Path, repository: str | None = None) -> StoreEntry | None:
    """Inspect the store at `root`, of a given repository or of the one that its file names; None for a store that is
    still empty.
    """
    faults = list(find_faults(home, root))
    if repository is None and not any(finding.where == _path_below(home, root) for finding in faults):
        repository = read_repository_name(root)
        if repository is None:
            if not (root / "ready").exists() and not _has_runs(root):
                return None
            faults.append(
                StoreFinding(
                    "store",
                    _path_below(home, root / "repository"),
                    "The file that says which repository it is of is lost or damaged.",
                    _MENDABLE,
                )
            )
    return StoreEntry(root, repository, tuple(faults))


def read_repository_name(root: Path) -> str | None:
    """Return the repository that a store's file names; None if it names none, or that of another directory."""
    try:
        said = (_read_small(root / "repository") or b"").decode().strip()
    except ValueError:
        return None
    return said if said and identifiers.repo_key(said) == root.name else None


def find_faults(home: Path, root: Path) -> Iterator[StoreFinding]:
    """Find the faults that keep the store at `root` from being opened; the repository it is of is not asked for."""
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            yield StoreFinding(
                "store",
                _path_below(home, root),
                "A file stands where the directory of a store should be.",
                f"Look at it, and move it out of {root.parent}.",
                mendable=False,
            )
            return
        os.listdir(root)
    except OSError as error:
        if os.path.lexists(root) or not isinstance(error, FileNotFoundError):
            yield _unreadable_finding(home, root, error)
        return
    if not (root / "ready").exists() and not _has_runs(root):
        return  # a crash came while it was made: the next one that opens it completes it
    for name in REPOSITORIES:
        yield from _faults_of_repository(home, root / name)
    if _is_directory(root / "store.git/objects"):
        borrowed = root / "store.git/objects/info/alternates"
        if _read_small(borrowed) != ALTERNATES.encode():
            yield _lost_finding(home, borrowed, "It does not say where the project's own objects are.")


def _faults_of_repository(home: Path, path: Path) -> Iterator[StoreFinding]:
    if not _is_directory(path):
        if os.path.lexists(path):
            what = f"A file stands where {path.name} should be."
        else:
            what = f"{path.name} is gone, and what was in it."
        yield StoreFinding("store", _path_below(home, path), what, _FROM_A_COPY, mendable=False)
        return
    try:
        os.listdir(path)
    except OSError as error:
        yield _unreadable_finding(home, path, error)
        return
    if not _is_directory(path / "refs"):
        what = f"{path.name} has no directory refs: which commits are the newest of its runs is lost."
        yield StoreFinding("store", _path_below(home, path / "refs"), what, _FROM_A_COPY, mendable=False)
    if not _is_directory(path / "objects"):
        yield _lost_finding(home, path / "objects", f"{path.name} has no directory objects.")
    for name in ("objects", "refs"):
        if _is_directory(path / name):
            try:
                os.listdir(path / name)
            except OSError as error:
                yield _unreadable_finding(home, path / name, error)
    if not _HEAD.fullmatch(_read_small(path / "HEAD") or b""):
        yield _lost_finding(
            home, path / "HEAD", f"{path.name} has no HEAD that git can read, so git takes it for none of its."
        )
    if not _is_configuration(path / "config"):
        yield _lost_finding(home, path / "config", f"The configuration of {path.name} is lost or damaged.")
    for name in ("info/attributes", "info/exclude"):
        if _read_small(path / name) is None:
            yield _lost_finding(home, path / name, f"The file {name} of {path.name} is lost.")
    if not _is_packed_refs(path / "packed-refs"):
        yield _lost_finding(
            home, path / "packed-refs", f"The list of refs that {path.name} keeps in one file is damaged."
        )


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _is_configuration(path: Path) -> bool:
    if _read_small(path) is None:
        return False
    prepare_library()
    try:
        return pygit2.Config(str(path)).get_bool("core.bare")
    except (pygit2.GitError, KeyError, ValueError, OSError):
        return False


def _is_packed_refs(path: Path) -> bool:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return all(PACKED_REF.fullmatch(line) for line in data.splitlines())


PACKED_REF = re.compile(rb"#.*|\^[0-9a-f]{40}|[0-9a-f]{40} refs/[^\x00-\x20\x7f]+")
"""A line of `packed-refs`: https://git-scm.com/docs/git-pack-refs."""


def _read_small(path: Path) -> bytes | None:
    """Return a small file, cut after 64 KiB; None if it cannot be read. `packed-refs` is returned whole."""
    try:
        with path.open("rb") as file:
            return file.read(None if path.name == "packed-refs" else _MAX_SMALL_FILE)
    except OSError:
        return None


def _has_runs(root: Path) -> bool:
    try:
        return bool(os.listdir(root / "store.git/refs/baton"))
    except OSError:
        return (root / "store.git/packed-refs").exists()


def _lost_finding(home: Path, path: Path, what: str) -> StoreFinding:
    return StoreFinding("store", _path_below(home, path), what, _MENDABLE)


def _unreadable_finding(home: Path, path: Path, error: OSError) -> StoreFinding:
    return StoreFinding(
        "store",
        _path_below(home, path),
        f"{path.name} cannot be read: {error.strerror or error}.",
        f"Give it back to this user, or put it right by hand: {path}.",
        mendable=False,
    )


def _path_below(home: Path, path: Path) -> str:
    return str(path.relative_to(home))
