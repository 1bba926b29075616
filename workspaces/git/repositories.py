"""The two bare repositories of a store, and scratch repositories: the engine's configuration, no templates."""

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pygit2

from baton.text.redaction import strip_url_credentials
from system.fsync import sync_tree, write_durably
from system.safe_directory import clear_away, remove_path
from system.uncancellable import run_in_thread
from workspaces.git.inventory import ALTERNATES, REPOSITORIES
from workspaces.git.object_database import prepare_library

CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tlogAllRefUpdates = false
\tfsync = all
\thooksPath = /dev/null
\tfsmonitor = false
[gc]
\tauto = 0
\tpruneExpire = never
\treflogExpire = never
[maintenance]
\tauto = false
[protocol "ext"]
\tallow = never
[uploadpack]
\tallowAnySHA1InWant = true
"""

_ABANDONED = timedelta(days=1)
"""The age at which a temporary file counts as left by a crash."""

ATTRIBUTES = "* -text -eol -ident -filter -working-tree-encoding\n"
"""Bytes go in and out as they are. Not `binary`: that would make every merge a conflict."""


def create_repositories(root: Path, repo: str) -> None:
    """Make `source.git` and `store.git` under `root`, and complete those that a crash left half made."""
    prepare_library()
    for name in REPOSITORIES:
        path = root / name
        pygit2.init_repository(str(path), bare=True)
        write_durably(path / "config", CONFIG)
        write_durably(path / "info/attributes", ATTRIBUTES)
        write_durably(path / "info/exclude", "")
    write_durably(root / "store.git/objects/info/alternates", ALTERNATES)
    write_durably(root / "repository", strip_url_credentials(repo) + "\n")
    sync_tree(root)  # libgit2's files, too: git takes a directory without a HEAD for no repository
    write_durably(root / "ready", "1\n")


def remove_abandoned(root: Path) -> None:
    """Remove scratch directories and half-written objects that crashes left, once they are a day old and so in no one's
    use.
    """
    limit = time.time() - _ABANDONED.total_seconds()
    left = [
        *root.glob("scratch/*"),
        *root.glob("submodules/tmp*"),
        *root.glob("*.git/objects/tmp_obj*"),
        *root.glob("*.git/objects/pack/tmp_*"),
    ]
    for path in left:
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < limit:
                remove_path(path)


@asynccontextmanager
async def scratch_repository(root: Path, attributes: str = ATTRIBUTES) -> AsyncIterator[Path]:
    """Make a git directory for one piece of work, with an index, refs and attributes of its own; it is removed at the
    end.
    """
    place = await run_in_thread(_make_scratch, root, attributes)
    try:
        yield place
    finally:
        await run_in_thread(clear_away, place)


def _make_scratch(root: Path, attributes: str) -> Path:
    (root / "scratch").mkdir(exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=root / "scratch"))
    for directory in ("objects", "refs/heads", "info"):
        (place / directory).mkdir(parents=True)
    (place / "HEAD").write_text("ref: refs/heads/none\n")
    (place / "config").write_text(CONFIG)
    (place / "info/attributes").write_text(attributes)
    return place
