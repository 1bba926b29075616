"""Permissions of BATON_HOME: only its owner may enter stores, workspaces and logs.

A file that a command of a root worker makes is root's, with any permissions. So no other user may reach it.
"""

import contextlib
import os
import stat
from pathlib import Path

PRIVATE = 0o700
_PARTS = ("stores", "workspaces", "gates", "server", "demo")
"""Directories of a home that are closed even where the home itself is shared with other things."""


def close_home(home: Path) -> list[str]:
    """Make a home if it is missing, and revoke the permissions of other users on one that exists.

    Returns a sentence for each directory with permissions that were changed, or should have been; each is logged, too.
    Raises OSError if the home cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=PRIVATE)
    said = [_close_directory(home, "left open" if _is_shared(home) else "")]
    said += [
        _close_directory(home / name, "")
        for name in _PARTS
        if (home / name).is_dir() and not (home / name).is_symlink()
    ]
    changed = [sentence for sentence in said if sentence]
    if changed:
        # Imported late: the supervisor of the embedded server calls this, and starts without the libraries of the log.
        from baton.logs import get_logger

        for sentence in changed:
            get_logger(__name__).warning("home", said=sentence)
    return changed


def make_private(directory: Path) -> None:
    """Make a directory of a home that only its owner may enter; a no-op if it exists."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=PRIVATE)


def _close_directory(directory: Path, keep: str) -> str:
    state = directory.stat()
    mode = stat.S_IMODE(state.st_mode)
    if not mode & 0o077:
        return ""
    if keep:
        return f"{directory} ({mode:04o}) is open to others, and holds more than Baton's: set BATON_HOME elsewhere."
    if state.st_uid != os.geteuid():
        return f"{directory} ({mode:04o}) is open to others, and belongs to user {state.st_uid}: chmod 700 it."
    directory.chmod(PRIVATE)
    return f"{directory} was open to others ({mode:04o}) and now is not (0700)."


def _is_shared(home: Path) -> bool:
    """Whether a directory is by its nature not Baton's alone: a home directory, one above it, or one like /tmp."""
    if home.stat().st_mode & stat.S_ISVTX:
        return True
    with contextlib.suppress(RuntimeError, OSError):
        return Path.home().resolve().is_relative_to(home.resolve())
    return False
