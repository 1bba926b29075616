"""Walks through directories by descriptors, however deep they go: no recursion, a few descriptors, no long path.

Commands nest directories as deep as they like, far beyond what a path can name (4,095 bytes) and what Python's own
walks bear (`shutil.rmtree`, `os.walk` and `Path.rglob` call themselves for each level, and end after a thousand).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a directory is opened: never by a link."""

MAX_OPEN = 8
"""Descriptors that a walk keeps open; above these it goes back by `..`."""


class Descent:
    """A place in a tree of directories, and the way back to where it began. No link is followed."""

    def __init__(self, directory: int) -> None:
        self._open = [os.dup(directory)]
        self._closed: list[tuple[int, int]] = []
        """The upper directories by device and inode: those of them that are not open any more."""
        self.names: list[str] = []
        """The names on the way down."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.pop())

    @property
    def descriptor(self) -> int:
        """The directory at this place."""
        return self._open[-1]

    @property
    def path(self) -> str:
        """The way from the beginning; empty there. As long as the walk is deep: ask for it no more than needed."""
        return "/".join(self.names)

    def enter(self, name: str) -> None:
        """Go down into a directory; OSError where there is none, or one that may not be looked into."""
        below = os.open(name, DIRECTORY, dir_fd=self.descriptor)
        self._open.append(below)
        self.names.append(name)
        if len(self._open) > MAX_OPEN:
            above = self._open.pop(0)
            self._closed.append(_identity(above))
            os.close(above)

    def leave(self) -> str:
        """Go back up; gives the name of the directory that was left.

        Raises OSError where somebody has moved it meanwhile: then `..` would lead elsewhere.
        """
        if len(self._open) == 1:
            above = os.open("..", DIRECTORY, dir_fd=self.descriptor)
            if _identity(above) != self._closed[-1]:
                os.close(above)
                raise OSError(f"a directory was moved while it was looked through: {self.names[-1]!r}")
            self._closed.pop()
            self._open.insert(0, above)
        os.close(self._open.pop())
        return self.names.pop()

    def entries(self) -> list["os.DirEntry[str]"]:
        """All that is in the directory at this place; to be asked for their states before the place is left."""
        with os.scandir(self.descriptor) as listing:
            return list(listing)


Unreadable = Callable[[str, OSError], None]
"""Takes the way of a directory that cannot be looked into, and why."""


def walk(directory: int, unreadable: Unreadable | None = None) -> Iterator[tuple[Descent, list["os.DirEntry[str]"]]]:
    """A directory and all below it, each with what is in it, the upper ones first; as `os.walk` does it.

    A directory that the caller takes out of the list is not entered, and one that cannot be looked into is passed over,
    once it is said to `unreadable`.
    """
    with Descent(directory) as at:
        waiting: list[list[str]] = []
        while True:
            try:
                entries = at.entries()
            except OSError as error:
                entries = []
                if unreadable is not None:
                    unreadable(at.path, error)
            yield at, entries
            waiting.append([entry.name for entry in entries if entry.is_dir(follow_symlinks=False)][::-1])
            while not _enter_next(at, waiting[-1], unreadable):
                waiting.pop()
                if not waiting:
                    return
                at.leave()


def walk_files(directory: Path, unreadable: Unreadable | None = None) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """All below a directory that is no directory itself, by relative path; nothing where there is no directory."""
    try:
        top = os.open(directory, DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        for at, entries in walk(top, unreadable):
            above = f"{at.path}/" if at.names else ""
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    yield above + entry.name, entry
    finally:
        os.close(top)


def directories_below(directory: Path) -> list[str]:
    """The directories below one, by relative path; none where there is no directory."""
    try:
        top = os.open(directory, DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return [at.path for at, _ in walk(top) if at.names]
    finally:
        os.close(top)


def _enter_next(at: Descent, names: list[str], unreadable: Unreadable | None) -> bool:
    while names:
        name = names.pop()
        try:
            at.enter(name)
        except OSError as error:
            if unreadable is not None:
                unreadable("/".join([*at.names, name]), error)
            continue
        return True
    return False


def _identity(descriptor: int) -> tuple[int, int]:
    state = os.fstat(descriptor)
    return state.st_dev, state.st_ino
