"""The disposable `.git` of a workspace: for the agent's eyes only, made by the engine and never read by it again.

It borrows the objects of source.git, which the sandbox shows read-only, so an agent can look at the project's history,
compare and even commit; nothing of that is taken over, and whatever is planted here runs in the sandbox or never.
"""

import contextlib
import os
import stat
from pathlib import Path

from workspaces.beneath import remove_tree

BRANCH = "refs/heads/work"

_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
\tcheckStat = minimal
[user]
\tname = Agent
\temail = agent@localhost
[gc]
\tauto = 0
[advice]
\tdetachedHead = false
"""

_UNWANTED = (
    "hooks",
    "info",
    "config.worktree",
    "commondir",
    "gitdir",
    "worktrees",
    "modules",
    "objects/info/http-alternates",
)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _fixed(objects: Path, commit: str) -> dict[str, bytes]:
    """The files that decide what git does and sees here."""
    return {
        "HEAD": f"ref: {BRANCH}\n".encode(),
        "config": _CONFIG.encode(),
        "objects/info/alternates": os.fsencode(objects) + b"\n",
        BRANCH: f"{commit}\n".encode(),
    }


def is_pristine(work: Path, objects: Path, commit: str) -> bool:
    """Whether the `.git` is as the engine made it for this commit, as far as a later session could be misled by it."""
    for name in _UNWANTED:
        if os.path.lexists(work / ".git" / name):
            return False
    return all(_read(work, name) == wanted for name, wanted in _fixed(objects, commit).items())


def make(work: Path, objects: Path, commit: str, index: Path) -> None:
    """Make the `.git` anew, in the place of whatever stands there; `index` is moved into it."""
    top = os.open(work, _DIRECTORY)
    try:
        _remove(top)
        os.mkdir(b".git", 0o755, dir_fd=top)
    finally:
        os.close(top)
    base = work / ".git"
    for directory in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (base / directory).mkdir(parents=True)
    for name, data in _fixed(objects, commit).items():
        (base / name).write_bytes(data)
    index.replace(base / "index")


def remove_git(work: Path, directory: str) -> None:
    """Remove the `.git` of a nested repository, by descriptors: a link on the way is not followed."""
    descriptor = os.open(work, _DIRECTORY)
    try:
        for name in os.fsencode(directory).split(b"/"):
            below = os.open(name, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        _remove(descriptor)
    finally:
        os.close(descriptor)


def _remove(parent: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(b".git", dir_fd=parent, follow_symlinks=False).st_mode):
            remove_tree(b".git", parent)
        else:
            os.unlink(b".git", dir_fd=parent)


def _read(work: Path, name: str) -> bytes | None:
    """A small file of the `.git`; None where it, or a directory on the way, is missing or not what it should be."""
    parts = [".git", *name.split("/")]
    descriptor = os.open(work, _DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
        try:
            return os.read(file, 4_096) if stat.S_ISREG(os.fstat(file).st_mode) else None
        finally:
            os.close(file)
    except OSError:
        return None
    finally:
        os.close(descriptor)
