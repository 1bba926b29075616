"""The check of all objects of one repository of a store: damaged files, and objects that are missing.

It changes no file. An object that cannot be read counts as missing, for any reason.
"""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from baton.errors import WorkspaceError
from system.uncancellable import run_in_thread
from workspaces.checkpoints.sandboxed_git import check_object
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.run import call_git
from workspaces.git.tree_codec import GITLINK, TREE, parse_tree

FSCK_TIMEOUT = timedelta(minutes=30)
"""For all objects of a repository; about a minute for a gigabyte."""

_FANOUT = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{38}")
_OUTPUT = 1_000_000


@dataclass
class ObjectDamage:
    """The damaged and missing objects of a repository."""

    loose: list[Path] = field(default_factory=list)
    """Files of single objects that are not what their name says."""
    packs: list[Path] = field(default_factory=list)
    """`.pack` files that, or whose index, cannot be used."""
    missing: list[str] = field(default_factory=list)
    """Objects that some ref needs and that cannot be read."""

    def __bool__(self) -> bool:
        return bool(self.loose or self.packs or self.missing)


async def check_objects(repository: Path, tips: Collection[str]) -> ObjectDamage:
    """Check every object of a repository, and that all objects are there that the commits in `tips` need."""
    checked = await call_git(
        ["fsck", "--full", "--no-dangling", "--no-progress"],
        git_dir=repository,
        check=False,
        limit=_OUTPUT,
        timeout=FSCK_TIMEOUT,
    )
    if checked.code == 0 and not checked.cut:
        return ObjectDamage()
    # git also reports mere oddities, in a project's old commits for instance: faults that count are found one by one.
    return ObjectDamage(
        loose=await run_in_thread(damaged_loose, repository / "objects"),
        packs=await _damaged_packs(repository),
        missing=await run_in_thread(find_missing, repository, tips),
    )


def damaged_loose(objects: Path) -> list[Path]:
    """List the loose objects that do not match their names."""
    found = []
    for fanout in sorted(os.listdir(objects)):
        if not _FANOUT.fullmatch(fanout):
            continue
        for rest in sorted(os.listdir(objects / fanout)):
            if _REST.fullmatch(rest):
                try:
                    check_object(objects / fanout / rest, fanout + rest)
                except (WorkspaceError, OSError):
                    found.append(objects / fanout / rest)
    return found


async def _damaged_packs(repository: Path) -> list[Path]:
    found = []
    for pack in sorted((repository / "objects/pack").glob("*.pack")):
        index = pack.with_suffix(".idx")
        said = await call_git(["verify-pack", "--", str(index)], git_dir=repository, check=False, timeout=FSCK_TIMEOUT)
        if said.code != 0 and await run_in_thread(pack.exists):  # a worker may have repacked it meanwhile
            found.append(pack)
    return found


def find_missing(repository: Path, tips: Iterable[str], *, also: frozenset[str] = frozenset()) -> list[str]:
    """List the objects that these commits need and that cannot be read, without those that only missing ones lead
    to.

    `also` are objects known to be damaged: the contents of files are not read here. `git rev-list --missing=print`
    would do the same from git 2.45 on; older ones fail at a missing commit.
    """
    objects = ObjectDatabase(repository)
    shallow = _read_shallow(repository) | _read_shallow(repository.parent / "source.git")
    lost: list[str] = []
    seen: set[str] = set()
    waiting = list(tips)
    while waiting:
        oid = waiting.pop()
        if oid in seen:
            continue
        seen.add(oid)
        if oid in also:
            lost.append(oid)
            continue
        try:
            kind, data = objects.read_object(oid)
        except (pygit2.GitError, KeyError, ValueError, OSError):
            lost.append(oid)
            continue
        for needed, is_file in list_references(kind, data, parents=oid not in shallow):
            if not is_file:
                waiting.append(needed)
            elif needed not in seen and (needed in also or not objects.has_object(needed)):
                seen.add(needed)
                lost.append(needed)
    return lost


def list_references(kind: int, data: bytes, *, parents: bool) -> Iterable[tuple[str, bool]]:
    """Yield the objects that an object needs, each with whether it is a file, which need not be opened to follow it."""
    if kind == ObjectType.TREE:
        yield from ((entry.oid, entry.mode != TREE) for entry in parse_tree(data).values() if entry.mode != GITLINK)
    elif kind in (ObjectType.COMMIT, ObjectType.TAG):
        for line in data.split(b"\n\n", 1)[0].splitlines():
            name, _, value = line.partition(b" ")
            if name in (b"tree", b"object") or (name == b"parent" and parents):
                yield value.decode(), False


def _read_shallow(repository: Path) -> set[str]:
    """Return the commits at the ends of a shallow clone: their parents were never fetched."""
    try:
        return set((repository / "shallow").read_text().split())
    except FileNotFoundError:
        return set()
