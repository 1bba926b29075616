"""The disposable `.git` of a workspace, made by the engine for the agent alone; no git of the engine reads it.

It borrows the objects of source.git, which the sandbox shows read-only, so an agent can read the project's history,
compare, commit and stash; programs that are planted here run in the sandbox or never. Its HEAD, refs and stash come
back in a new one (`agent_git`); all else, its index, settings and hooks among it, does not.
"""

import contextlib
import os
import stat
from pathlib import Path

from system.safe_directory import SafeDirectory, remove_tree
from workspaces.checkpoints.agent_refs import BRANCH, AgentRefs, packed_refs, stash_log

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
_MAX_FILE = 4_096


def _fixed_files(objects: Path) -> dict[str, bytes]:
    """Return the files that decide how git works in the `.git`."""
    return {"config": _CONFIG.encode(), "objects/info/alternates": os.fsencode(objects) + b"\n"}


def find_planted(work: Path, objects: Path) -> list[str]:
    """List the paths in the `.git`, apart from HEAD and refs, that are not as the engine made them and could
    mislead a later session.
    """
    found = [name for name in _UNWANTED if os.path.lexists(work / ".git" / name)]
    return found + [name for name, wanted in _fixed_files(objects).items() if _read_file(work, name) != wanted]


def make_git_dir(work: Path, objects: Path, state: AgentRefs, index: Path) -> None:
    """Make the `.git` anew; an entry of that name is replaced, and `index` is moved into it."""
    with SafeDirectory(work).open_directory() as top:
        _remove_git_entry(top)
        os.mkdir(b".git", 0o755, dir_fd=top)
    base = work / ".git"
    for directory in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (base / directory).mkdir(parents=True)
    files = {
        **_fixed_files(objects),
        "HEAD": f"{'ref: ' if state.head.startswith('refs/') else ''}{state.head}\n".encode(),
    }
    if BRANCH in state.refs:
        files[BRANCH] = f"{state.refs[BRANCH]}\n".encode()
    if more := packed_refs(state):
        files["packed-refs"] = more
    if state.stash:
        (base / "logs/refs").mkdir(parents=True)
        files["logs/refs/stash"] = stash_log(state)
    for name, data in files.items():
        (base / name).write_bytes(data)
    index.replace(base / "index")


def remove_git(work: Path, directory: str) -> None:
    """Remove the `.git` of a nested repository, by descriptors: a link on the way is not followed."""
    with SafeDirectory(work).open_directory(directory) as descriptor:
        _remove_git_entry(descriptor)


def _remove_git_entry(parent: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(b".git", dir_fd=parent, follow_symlinks=False).st_mode):
            remove_tree(b".git", parent)
        else:
            os.unlink(b".git", dir_fd=parent)


def _read_file(work: Path, name: str) -> bytes | None:
    """Return a small file of the `.git`; None if it, or a directory on the way, is missing or of another kind."""
    try:
        return SafeDirectory(work / ".git").read_file(name, _MAX_FILE)
    except OSError:
        return None
