"""Git on a workspace that an agent may have changed: in a sandbox of its own, without secrets and without network.

For a scan the workspace and the store are read-only; new objects and the new index go into a quarantine directory, and
the engine moves the objects into the store after checking each. For a restore the workspace is writable. No
configuration but the engine's counts, and no gitlink is ever in the index.
"""

import contextlib
import hashlib
import os
import re
import shutil
import stat
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from baton.errors import WorkspaceError
from system.safe_directory import clear_away
from system.uncancellable import run_in_thread
from workspaces.git.errors import clean_text, disk_full, is_disk_full, translate_errors
from workspaces.git.run import CONFIG, quote_alternate
from workspaces.sandbox.command import CommandResult, SandboxCommand
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store

_TIMEOUT = timedelta(minutes=10)

# Constant text: all that varies comes in by variables and files, so no name can become a command. git ends with 1
# when it left out a file that it refuses; those are listed for the agent, as are ignored paths.
_SCAN = """\
set -e
if [ -n "$SEED" ]; then git read-tree --reset -i "$SEED"; fi
if [ -n "$FRESH" ]; then git update-index -q --refresh --force-write-index || true; fi
refused=0
git add -A --ignore-errors --pathspec-from-file="$QUARANTINE/paths" --pathspec-file-nul || refused=$?
[ "$refused" -le 1 ]
git write-tree > "$QUARANTINE/tree"
git ls-files -z --others --ignored --exclude-standard --directory > "$QUARANTINE/ignored"
if [ "$refused" = 1 ]; then git ls-files -z --others --exclude-standard > "$QUARANTINE/others"; fi
"""
_RESTORE = """\
set -e
git read-tree --reset -u "$SEED"
git clean -ffdq
git update-index --refresh
git write-tree > "$QUARANTINE/tree"
"""

# `git add` also ends with 1 when it could not write an object, and the file would keep its old contents in the tree.
_NOT_KEPT = ("insert into database", "unable to index file", "unable to create temporary file", "unable to write")

_FANOUT = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{38}")
_PIECE = 1 << 18
_MAX_LIST = 64 << 20
"""Bytes that are read of a list of paths."""


def _is_above(path: str, other: str) -> bool:
    return path.endswith("/") and other != path and other.startswith(path)


@dataclass(frozen=True)
class Quarantine:
    """A directory that sandboxed git may write to, with the index that it makes."""

    path: Path

    @property
    def index(self) -> Path:
        """The index that git works on."""
        return self.path / "index"

    @property
    def objects(self) -> Path:
        """The directory of git's new objects."""
        return self.path / "objects"

    def empty_with_index(self, index: Path | None) -> None:
        """Empty the quarantine, and copy an index into it if there is one."""
        clear_away(self.path)
        self.objects.mkdir(parents=True)
        self.path.chmod(0o700)
        if index is not None:
            with contextlib.suppress(FileNotFoundError):
                # With its time: some versions of git compare seconds only, and read files as young as the index again.
                shutil.copy2(index, self.index)

    def read_tree(self) -> str:
        """Return the tree that git wrote."""
        return (self.path / "tree").read_text().strip()

    def list_ignored(self) -> list[str]:
        """List the paths that a `.gitignore` left out, a whole directory once, with a `/` at its end."""
        listed = self._read_names("ignored")
        # A directory that only holds ignored files is listed together with them.
        return [path for path, after in pairwise([*listed, ""]) if not _is_above(path, after)]

    def list_others(self) -> list[str]:
        """List the paths that git refused, and those that it was told to leave out."""
        return self._read_names("others")

    def _read_names(self, name: str) -> list[str]:
        try:
            with (self.path / name).open("rb") as file:
                data = file.read(_MAX_LIST)
        except FileNotFoundError:
            return []
        return sorted(os.fsdecode(path) for path in data.split(b"\0") if path)


async def add_all(
    sandbox: Sandbox,
    store: Store,
    work: Path,
    quarantine: Quarantine,
    *,
    seed: str,
    fresh: bool,
    leave_out: Sequence[str],
) -> str:
    """Add all files of a workspace to the quarantined index and move the new objects into the store; returns the
    tree.

    `seed` is the tree that the index must start from, empty if it does. `fresh` means that the files were written right
    before their index: git would add them all once more, unless it is made to compare them first. Paths in `leave_out`
    stay as in the seed.
    """
    paths = [":(top)", *(f":(top,exclude,literal){path}" for path in leave_out)]
    await run_in_thread((quarantine.path / "paths").write_bytes, b"\0".join(os.fsencode(path) for path in paths))
    await _run_script(sandbox, store, work, quarantine, _SCAN, writable=False, SEED=seed, FRESH="1" if fresh else "")
    with translate_errors("keeping a snapshot"):
        for oid in await run_in_thread(adopt_objects, quarantine.objects, store.path / "objects"):
            store.objects.note_unsynced(oid)
        return quarantine.read_tree()


async def reset_workspace(sandbox: Sandbox, store: Store, work: Path, quarantine: Quarantine, tree: str) -> str:
    """Make the files of a workspace those of a tree; ignored files stay. Returns the tree that git read back."""
    await _run_script(sandbox, store, work, quarantine, _RESTORE, writable=True, SEED=tree)
    with translate_errors("restoring a workspace"):
        return quarantine.read_tree()


async def _run_script(
    sandbox: Sandbox, store: Store, work: Path, quarantine: Quarantine, script: str, *, writable: bool, **variables: str
) -> None:
    where = {
        "GIT_DIR": str(store.path),
        "GIT_WORK_TREE": ".",
        "GIT_INDEX_FILE": str(quarantine.index),
        "GIT_OBJECT_DIRECTORY": str(quarantine.objects),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": quote_alternate(store.path / "objects"),
    }
    result = await run_git_script(
        sandbox,
        work,
        quarantine,
        script,
        {**where, **variables},
        visible=store.root,
        writable=writable,
        timeout=_TIMEOUT,
    )
    if result.timed_out:
        raise WorkspaceError(f"git took longer than {_TIMEOUT} for the workspace {work} and was ended.")
    if result.exceeded:
        raise WorkspaceError(f"git was stopped in the workspace {work}: {result.exceeded}.")
    if result.exit_code != 0 or any(words in result.output for words in _NOT_KEPT):
        raise WorkspaceError(f"git failed in the workspace {work}: {clean_text(result.output)}")


async def run_git_script(
    sandbox: Sandbox,
    work: Path,
    quarantine: Quarantine,
    script: str,
    variables: Mapping[str, str],
    *,
    visible: Path,
    writable: bool,
    timeout: timedelta,
) -> CommandResult:
    """Run a constant shell script of git commands beside a workspace, with the engine's configuration and no network.

    It sees `visible` read-only, and writes to the quarantine and, with `writable`, to the workspace. Raises DiskFull.
    """
    # Nothing is synced here: the commit that needs an object syncs it.
    settings = {**dict(entry.split("=", 1) for entry in CONFIG), "core.fsync": "none"}
    env = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_COUNT": str(len(settings)),
        "QUARANTINE": str(quarantine.path),
        "LC_ALL": "C",
        **variables,
    }
    for number, (name, value) in enumerate(settings.items()):
        env[f"GIT_CONFIG_KEY_{number}"] = name
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    command = SandboxCommand(
        argv=["sh", "-c", f"umask 022\n{script}"],
        workspace=work,
        writable=writable,
        bare=True,
        # At their own paths, so that it also works where nothing can be mounted (BATON_SANDBOX=none).
        read_only={visible: str(visible)},
        read_write={quarantine.path: str(quarantine.path)},
        env=env,
        timeout=timeout,
        output_limit=4_000,
    )
    result = await sandbox.run_command(command)
    if is_disk_full(result.output):
        raise disk_full("git looked through a workspace")
    return result


def adopt_objects(quarantine: Path, objects: Path) -> list[str]:
    """Move loose objects into a store, each checked against its name; returns their ids, for a commit to sync.

    Raises WorkspaceError for an object that does not match its name: no ref leads to those that were moved before it.
    """
    adopted = []
    for fanout in sorted(os.listdir(quarantine)):
        if not _FANOUT.fullmatch(fanout):
            continue
        target = objects / fanout
        target.mkdir(exist_ok=True)
        for rest in os.listdir(quarantine / fanout):
            if not _REST.fullmatch(rest):
                continue  # tmp_obj_*: git did not finish it, and no tree names it
            path = quarantine / fanout / rest
            check_object(path, fanout + rest)
            if not _is_whole(target / rest, fanout + rest):
                path.rename(target / rest)
            adopted.append(fanout + rest)
    return adopted


def _is_whole(path: Path, oid: str) -> bool:
    """Whether a store has a loose object already, made as young as a new one.

    It stays: a ref may lead to it, and a file that is not on the disk yet must not take its place.
    """
    try:
        os.utime(path)  # garbage collection spares young files
        check_object(path, oid)
    except (FileNotFoundError, WorkspaceError):
        return False
    return True


def check_object(path: Path, oid: str) -> None:
    """Raise WorkspaceError if a loose object does not match its name: cut short, damaged, or another one."""
    digest = hashlib.sha1(usedforsecurity=False)
    unpacker = zlib.decompressobj()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise WorkspaceError(f"The object {oid} in the quarantine is no file.")
        try:
            while piece := file.read(_PIECE):
                while piece:
                    digest.update(unpacker.decompress(piece, _PIECE))
                    piece = unpacker.unconsumed_tail
            digest.update(unpacker.flush())
        except zlib.error as error:
            raise WorkspaceError(f"The object {oid} in the quarantine is damaged.") from error
    if not unpacker.eof or digest.hexdigest() != oid:
        raise WorkspaceError(f"The object {oid} in the quarantine is not what its name says.")
