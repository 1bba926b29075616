"""The places of submodules: each is a directory that the engine alone fills, and a gitlink in every commit.

A project's gitlinks stand in the metadata of its checkpoints and never in a tree that git scans. Every change of an
agent at such a place, or at a directory above it, is undone before a snapshot is taken, and reported; and a commit of
the project gets its gitlinks unchanged.
"""

import contextlib
import stat
from collections.abc import Iterable, Iterator, Mapping

from system.safe_directory import SafeDirectory
from workspaces.checkpoints.walk import is_deep
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.tree_codec import GITLINK, TreeEntry

_MAX_NAMED = 200
"""Paths below one submodule that are named; the place itself stands for more."""


def is_within(path: str, gitlinks: Iterable[str]) -> bool:
    """Whether a path is the place of a submodule, or lies below it."""
    return any(path == place or path.startswith(f"{place}/") for place in gitlinks)


def clear_places(files: SafeDirectory, gitlinks: Iterable[str], filled: Iterable[str] = ()) -> list[str]:
    """Make each place an empty directory again, except those that are `filled`; returns the paths that were
    changed.

    No link is followed on the way: one that stands in for a directory above is removed like any other file.
    """
    found: list[str] = []
    kept = set(filled)
    for place in sorted(gitlinks):
        if (at := _in_the_way(files, place)) is not None:
            found.append(at)
            files.remove(at)
        if files.stat(place) is None:
            if at is None:
                found.append(place)
            files.make_directory(place)
        elif place not in kept:
            intruders = _list_below(files, place)
            if intruders:
                found += intruders
                files.remove(place)
                files.make_directory(place)
    return sorted(set(found))


def gitlinks_of(objects: ObjectDatabase, tree: str) -> dict[str, str]:
    """Return the gitlinks of a tree, by path."""
    return {path: entry.oid for path, entry in objects.list_leaves(tree) if entry.mode == GITLINK}


def with_gitlinks(objects: ObjectDatabase, tree: str, gitlinks: Mapping[str, str]) -> str:
    """Return a tree with these gitlinks in it; entries at their paths, or files above, are replaced."""
    return objects.edit_tree(tree, {path: TreeEntry(GITLINK, oid) for path, oid in gitlinks.items()})


def without_gitlinks(objects: ObjectDatabase, tree: str, gitlinks: Iterable[str]) -> str:
    """Return a tree without entries at these places, and without files at the paths of the directories above."""
    changes: dict[str, TreeEntry | None] = {}
    for place in gitlinks:
        for above in _path_prefixes(place):
            entry = objects.find_entry(tree, above)
            if entry is None:
                break
            if above == place or entry.mode != 0o040000:
                changes[above] = None
                break
    return objects.edit_tree(tree, changes) if changes else tree


def _in_the_way(files: SafeDirectory, place: str) -> str | None:
    """Return the path of a file or link at the place of a submodule or of a directory above it; None if there is
    none.
    """
    for at in _path_prefixes(place):
        state = files.stat(at)
        if state is None:
            return None
        if not stat.S_ISDIR(state.st_mode):
            return at
    return None


def _list_below(files: SafeDirectory, place: str) -> list[str]:
    found: list[str] = []
    for path in _walk_directory(files, place):
        if len(found) >= _MAX_NAMED:
            return [f"{place}/"]
        found.append(path)
    return found


def _walk_directory(files: SafeDirectory, directory: str) -> Iterator[str]:
    """Yield the paths in a directory: files, and directories that are empty or too deep."""
    waiting = [directory]
    while waiting:
        at = waiting.pop()
        names: list[str] = []
        with contextlib.suppress(OSError):
            files.chmod(at, 0o755)
            names = files.list_names(at)
        if at != directory and (not names or is_deep(f"{at}/")):
            yield f"{at}/"
            continue
        for name in names:
            path = f"{at}/{name}"
            if name == ".git":
                yield f"{path}/"  # of any kind: no path of a project
                continue
            state = files.stat(path)
            if state is not None and stat.S_ISDIR(state.st_mode):
                waiting.append(path)
            elif state is not None:
                yield path


def _path_prefixes(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:count]) for count in range(1, len(names) + 1)]
