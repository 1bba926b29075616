"""Files strictly beneath one directory, opened, written and removed without following a symbolic link on the way.

A planted link would otherwise make the engine read a secret into a checkpoint, or write outside the workspace. Each
part of a path is opened relative to the one before it with O_NOFOLLOW, as openat2(RESOLVE_NO_SYMLINKS) would.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from system.directory_walk import DIRECTORY, DirectoryCursor


def split_path(path: str) -> list[bytes]:
    """Split a path into names. Raises ValueError for one that could leave its directory or reach into a `.git`."""
    names = os.fsencode(path).split(b"/")
    if any(name in (b"", b".", b"..", b".git") or b"\0" in name for name in names):
        raise ValueError(f"not a path of a project: {path!r}")
    return names


def is_path(path: str) -> bool:
    """Whether a path stays within its directory and out of every `.git`."""
    try:
        split_path(path)
    except ValueError:
        return False
    return True


class SafeDirectory:
    """File access beneath one directory, by project-relative paths; a part that is no real directory is an OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def open_directory(self, path: str = "") -> Iterator[int]:
        """Open the directory at `path`; yields its descriptor."""
        descriptor = os.open(self.root, DIRECTORY)
        try:
            for name in split_path(path) if path else []:
                below = os.open(name, DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _open_parent(self, path: str) -> Iterator[tuple[int, bytes]]:
        name = split_path(path)[-1]
        with self.open_directory(path.rpartition("/")[0]) as descriptor:
            yield descriptor, name

    def stat(self, path: str) -> os.stat_result | None:
        """Return the state of the entry at `path` itself, a link included; None if there is no entry."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._open_parent(path) as (parent, name):
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        return None

    def read_file(self, path: str, limit: int | None = None) -> bytes:
        """Return the bytes of a regular file.

        Raises OSError for anything else (a pipe would hang, a device would not end), and for a file above the limit.
        """
        with self._open_parent(path) as (parent, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise OSError(f"not a regular file: {path!r}")
                data = file.read(-1 if limit is None else limit + 1)
                if limit is not None and len(data) > limit:
                    raise OSError(f"larger than {limit} bytes: {path!r}")
                return data

    def readlink(self, path: str) -> bytes:
        """Return the target of a symbolic link, which is not followed."""
        with self._open_parent(path) as (parent, name):
            return os.readlink(name, dir_fd=parent)

    def list_names(self, path: str = "") -> list[str]:
        """Return the names in a directory."""
        with self.open_directory(path) as descriptor:
            return os.listdir(descriptor)

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Make a directory and those above it; a file or link in the way is replaced."""
        descriptor = os.open(self.root, DIRECTORY)
        try:
            for name in split_path(path) if path else []:
                try:
                    there = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    there = None
                if there is None or not stat.S_ISDIR(there.st_mode):
                    if there is not None:
                        os.unlink(name, dir_fd=descriptor)
                    os.mkdir(name, mode, dir_fd=descriptor)
                    _set_mode(name, descriptor, mode)
                below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
        finally:
            os.close(descriptor)

    def write_file(self, path: str, data: bytes, mode: int) -> None:
        """Write a file; an entry that stands at the path is replaced."""
        self.make_directory(path.rpartition("/")[0])
        self.remove(path)
        with self._open_parent(path) as (parent, name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), mode)

    def make_link(self, path: str, target: bytes) -> None:
        """Make a symbolic link; an entry that stands at the path is replaced."""
        self.make_directory(path.rpartition("/")[0])
        self.remove(path)
        with self._open_parent(path) as (parent, name):
            os.symlink(target, name, dir_fd=parent)

    def remove(self, path: str) -> None:
        """Remove the entry at `path`, a directory with its contents; a no-op if there is none."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._open_parent(path) as (parent, name):
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                remove_tree(name, parent)
            else:
                os.unlink(name, dir_fd=parent)

    def remove_empty(self, path: str) -> bool:
        """Remove a directory if it is empty; returns whether it was."""
        try:
            with self._open_parent(path) as (parent, name):
                os.rmdir(name, dir_fd=parent)
        except OSError:
            return False
        return True

    def chmod(self, path: str, mode: int) -> None:
        """Set the permissions of a file or directory, never those of a link's target."""
        with self._open_parent(path) as (parent, name):
            _set_mode(name, parent, mode)


def _set_mode(name: bytes, parent: int, mode: int) -> None:
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
            # fchmod refuses O_PATH, and any other open needs a permission that may be missing.
            os.chmod(f"/proc/self/fd/{descriptor}", mode)
    finally:
        os.close(descriptor)


def remove_tree(name: bytes, parent: int) -> None:
    """Remove a directory with its contents at any depth, also if its permissions stand in the way.

    All that can be removed is removed; then the first error is raised.
    """
    faults: list[OSError] = []
    with DirectoryCursor(parent) as at:
        _enter_directory(at, os.fsdecode(name))
        waiting = [_remove_files(at, faults)]
        while waiting:
            if waiting[-1]:
                try:
                    _enter_directory(at, waiting[-1].pop())
                except OSError as error:
                    _keep_first(faults, error)
                else:
                    waiting.append(_remove_files(at, faults))
                continue
            waiting.pop()
            left = at.leave_directory()
            try:
                os.rmdir(left, dir_fd=at.current_descriptor)
            except OSError as error:
                _keep_first(faults, error)
    if faults:
        raise faults[0]


def remove_path(path: Path) -> None:
    """Remove the entry at a path: a directory with its contents, a link itself; a no-op if there is none."""
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(path.name, dir_fd=parent, follow_symlinks=False).st_mode):
                remove_tree(os.fsencode(path.name), parent)
            else:
                os.unlink(path.name, dir_fd=parent)
    finally:
        os.close(parent)


def clear_away(path: Path) -> None:
    """Remove the entry at a path as far as possible; no error is raised for parts that cannot be removed."""
    with contextlib.suppress(OSError):
        remove_path(path)


def copy_directory(source: Path, target: Path) -> None:
    """Copy a directory with its contents, at any depth, to a new place; links are copied as links."""
    os.mkdir(target)
    with contextlib.ExitStack() as stack:
        ends = []
        for place in (source, target):
            ends.append(os.open(place, DIRECTORY))
            stack.callback(os.close, ends[-1])
        there, here = (stack.enter_context(DirectoryCursor(end)) for end in ends)
        waiting = [_copy_files(there, here)]
        while waiting:
            if waiting[-1]:
                name = waiting[-1].pop()
                there.enter_directory(name)
                os.mkdir(name, dir_fd=here.current_descriptor)
                here.enter_directory(name)
                waiting.append(_copy_files(there, here))
                continue
            waiting.pop()
            if waiting:
                there.leave_directory()
                here.leave_directory()


def _copy_files(there: DirectoryCursor, here: DirectoryCursor) -> list[str]:
    """Copy the files of the directory at which the walk is; returns the names of its subdirectories."""
    directories = []
    for entry in there.list_entries():
        if entry.is_dir(follow_symlinks=False):
            directories.append(entry.name)
        elif entry.is_symlink():
            os.symlink(
                os.readlink(entry.name, dir_fd=there.current_descriptor), entry.name, dir_fd=here.current_descriptor
            )
        else:
            read = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            write = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with (
                os.fdopen(os.open(entry.name, read, dir_fd=there.current_descriptor), "rb") as old,
                os.fdopen(os.open(entry.name, write, 0o600, dir_fd=here.current_descriptor), "wb") as new,
            ):
                shutil.copyfileobj(old, new)
                os.fchmod(new.fileno(), stat.S_IMODE(os.fstat(old.fileno()).st_mode))
    os.fchmod(here.current_descriptor, stat.S_IMODE(os.fstat(there.current_descriptor).st_mode))
    return directories


def _remove_files(at: DirectoryCursor, faults: list[OSError]) -> list[str]:
    """Remove the files of the directory at which the walk is; returns the names of its subdirectories."""
    directories = []
    for entry in at.list_entries():
        if entry.is_dir(follow_symlinks=False):
            directories.append(entry.name)
            continue
        try:
            os.unlink(entry.name, dir_fd=at.current_descriptor)
        except OSError as error:
            _keep_first(faults, error)
    return directories


def _enter_directory(at: DirectoryCursor, name: str) -> None:
    """Enter a directory and give its owner all permissions in it."""
    try:
        at.enter_directory(name)
    except PermissionError:
        _set_mode(os.fsencode(name), at.current_descriptor, 0o700)
        at.enter_directory(name)
    if stat.S_IMODE(os.fstat(at.current_descriptor).st_mode) & 0o700 != 0o700:
        with contextlib.suppress(PermissionError):  # another user's: its contents may be removable all the same
            os.fchmod(at.current_descriptor, 0o700)


def _keep_first(faults: list[OSError], error: OSError) -> None:
    # A missing entry counts as removed, and the first reason is enough.
    if not faults and not isinstance(error, FileNotFoundError):
        faults.append(error)
