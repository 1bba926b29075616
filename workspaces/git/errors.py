"""Errors of git, libgit2 and the file system as errors of `baton.errors`; a full disk above all."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pygit2

from baton.errors import DiskFull, WorkspaceError
from baton.policies import BRIEF_WAIT
from baton.text.redaction import Redactor
from system.file_lock import LockHeld, held_briefly

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("no space left on device", "disk quota exceeded")
_FULL_MESSAGE = "The disk is full while {doing}: what was committed is kept; free some space, and the run goes on."


class GitFailed(WorkspaceError):
    """The error for a git that ended with an exit code; `stderr` is its message, bounded and without credentials."""

    def __init__(self, message: str, *, stderr: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.stderr = stderr
        self.code = code


def is_disk_full(text: str) -> bool:
    """Whether a program's message means that the disk is full."""
    lowered = text.lower()
    return any(words in lowered for words in _FULL_WORDS)


def disk_full(doing: str) -> DiskFull:
    """Return the error for a full disk, in one sentence."""
    return DiskFull(_FULL_MESSAGE.format(doing=doing))


def clean_text(text: str, limit: int = 600) -> str:
    """Return a foreign program's message as one line: printable, bounded, without credentials."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    flat = " ".join(line for line in lines if line and not line.startswith("hint:"))
    printable = "".join(char if char.isprintable() else "?" for char in flat)
    return Redactor()(printable)[:limit]


def require_free_space(directory: Path, size: int) -> None:
    """Raise OSError (ENOSPC, EDQUOT) if the disk has no space for a file of `size` bytes: libgit2 loses the reason of a
    failure.
    """
    with tempfile.TemporaryFile(dir=directory) as file:
        os.posix_fallocate(file.fileno(), 0, max(size, 1))


@contextmanager
def hold_brief_lock(path: Path, name: str) -> Iterator[None]:
    """Hold a lock for work of milliseconds. Raises WorkspaceError, with the process that holds it, after BRIEF_WAIT.

    Such a process was stopped in the middle of its work, which cannot be told from one that is about to go on.
    """
    try:
        with held_briefly(path, BRIEF_WAIT):
            yield
    except LockHeld as held:
        raise WorkspaceError(
            f"{name} has been held for {BRIEF_WAIT.total_seconds():g} s by {held.holder}, where milliseconds are"
            " enough. Let that process go on, or kill it, and try again."
        ) from held


@contextmanager
def translate_errors(doing: str) -> Iterator[None]:
    """Raise DiskFull or WorkspaceError in place of errors of libgit2 and the system; `doing` is the middle of the
    message.
    """
    try:
        yield
    except OSError as error:
        # pygit2 raises OSError without errno for some faults of libgit2, with the reason in its text.
        if error.errno in _FULL or is_disk_full(str(error)):
            raise disk_full(doing) from error
        raise WorkspaceError(f"Failed while {doing}: {clean_text(str(error))}.") from error
    except (pygit2.GitError, KeyError, ValueError) as error:
        if is_disk_full(str(error)):
            raise disk_full(doing) from error
        raise WorkspaceError(f"Failed while {doing}: {clean_text(str(error))}.") from error
