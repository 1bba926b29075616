"""Directory walks by descriptors, to any depth: no recursion, at most eight descriptors, no long paths.

Commands may nest directories far deeper than a path can name (4,095 bytes) and than Python's own walks reach:
`shutil.rmtree`, `os.walk` and `LeftOutPath.rglob` call themselves for each level and fail after about a thousand.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags that open a directory and refuse a link to one."""

MAX_OPEN = 8
"""Descriptors that a walk keeps open; from deeper directories it returns by `..`."""


class DirectoryCursor:
    """A directory in a tree, and the way back to the one where the walk began. Links are not followed."""

    def __init__(self, directory: int) -> None:
        self._open = [os.dup(directory)]
        self._closed: list[tuple[int, int]] = []
        """Device and inode of the upper directories that are no longer open."""
        self.names: list[str] = []
        """The names of the directories on the way down."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.pop())

    @property
    def current_descriptor(self) -> int:
        """Descriptor of the current directory."""
        return self._open[-1]

    @property
    def relative_path(self) -> str:
        """Path from the first directory to the current one; empty at the first. Its length grows with the depth."""
        return "/".join(self.names)

    def enter_directory(self, name: str) -> None:
        """Go down into a directory. Raises OSError if it does not exist or cannot be read."""
        below = os.open(name, DIRECTORY, dir_fd=self.current_descriptor)
        self._open.append(below)
        self.names.append(name)
        if len(self._open) > MAX_OPEN:
            above = self._open.pop(0)
            self._closed.append(_file_identity(above))
            os.close(above)

    def leave_directory(self) -> str:
        """Go back up and return the name of the directory that was left.

        Raises OSError if that directory was moved meanwhile, because `..` then leads elsewhere.
        """
        if len(self._open) == 1:
            above = os.open("..", DIRECTORY, dir_fd=self.current_descriptor)
            if _file_identity(above) != self._closed[-1]:
                os.close(above)
                raise OSError(f"a directory was moved while it was read: {self.names[-1]!r}")
            self._closed.pop()
            self._open.insert(0, above)
        os.close(self._open.pop())
        return self.names.pop()

    def list_entries(self) -> list["os.DirEntry[str]"]:
        """Return the entries of the current directory; `entry.stat` works only until the directory is left."""
        with os.scandir(self.current_descriptor) as listing:
            return list(listing)


Unreadable = Callable[[str, OSError], None]
"""Called with the path of a directory that cannot be read, and the error."""


def walk_directories(
    directory: int, unreadable: Unreadable | None = None
) -> Iterator[tuple[DirectoryCursor, list["os.DirEntry[str]"]]]:
    """Iterate over a directory and those below it, upper ones first, each with its entries, as `os.walk` does.

    A directory that the caller removes from the list is not entered. A directory that cannot be read is reported to
    `unreadable` and skipped.
    """
    with DirectoryCursor(directory) as at:
        waiting: list[list[str]] = []
        while True:
            try:
                entries = at.list_entries()
            except OSError as error:
                entries = []
                if unreadable is not None:
                    unreadable(at.relative_path, error)
            yield at, entries
            waiting.append([entry.name for entry in entries if entry.is_dir(follow_symlinks=False)][::-1])
            while not _enter_next(at, waiting[-1], unreadable):
                waiting.pop()
                if not waiting:
                    return
                at.leave_directory()


def walk_files(directory: Path, unreadable: Unreadable | None = None) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Iterate over all entries below a directory except directories, by relative path; none if it does not exist."""
    try:
        top = os.open(directory, DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        for at, entries in walk_directories(top, unreadable):
            above = f"{at.relative_path}/" if at.names else ""
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    yield above + entry.name, entry
    finally:
        os.close(top)


def directories_below(directory: Path) -> list[str]:
    """Return the directories below a directory, by relative path; none if it does not exist."""
    try:
        top = os.open(directory, DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return [at.relative_path for at, _ in walk_directories(top) if at.names]
    finally:
        os.close(top)


def _enter_next(at: DirectoryCursor, names: list[str], unreadable: Unreadable | None) -> bool:
    while names:
        name = names.pop()
        try:
            at.enter_directory(name)
        except OSError as error:
            if unreadable is not None:
                unreadable("/".join([*at.names, name]), error)
            continue
        return True
    return False


def _file_identity(descriptor: int) -> tuple[int, int]:
    state = os.fstat(descriptor)
    return state.st_dev, state.st_ino
