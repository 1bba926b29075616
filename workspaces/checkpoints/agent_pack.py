"""The objects that an agent's own refs and stash need, as one pack: packed and unpacked by git in the sandbox only.

For the engine a pack is bytes in a checkpoint. The scratch repository in which it is made has the engine's
configuration, sees the workspace read-only and of the engine's stores only `source.git`, which the agent sees too: a
planted alternate or link leads to no more than the agent has.
"""

from datetime import timedelta
from pathlib import Path

from baton.errors import WorkspaceError
from system.uncancellable import in_thread
from workspaces.checkpoints.agent_refs import GitState
from workspaces.checkpoints.sandboxed_git import Quarantine, run_git_script
from workspaces.git.errors import translated
from workspaces.git.run import alternate
from workspaces.git.safe_directory import Beneath, clear_away
from workspaces.sandbox.sandbox import Sandbox

MAX_PACK = 32 << 20
"""Bytes that are kept of one agent's refs and stash."""

_TIMEOUT = timedelta(minutes=2)
_NO_OBJECTS = b"PACK\0\0\0\2\0\0\0\0"

# Constant text: all that varies comes in by variables and files.
_PACK = """\
pack() { git pack-objects --revs --stdout -q --threads=1 --delta-base-offset < "$QUARANTINE/tips"; }
{ pack || echo failed > "$QUARANTINE/failed"; } | head -c "$MOST" > "$QUARANTINE/pack"
"""
_UNPACK = """\
set -e
if [ -s "$QUARANTINE/pack" ]; then git index-pack --stdin < "$QUARANTINE/pack" > "$QUARANTINE/name"; fi
git rev-list --objects --quiet --stdin < "$QUARANTINE/tips"
if [ -n "$READ" ]; then git read-tree --reset -i HEAD; git update-index -q --refresh || true; fi
echo whole > "$QUARANTINE/whole"
"""


class NotKept(WorkspaceError):
    """The error for objects of an agent's refs that cannot be kept; the message is the rest of a sentence."""


async def pack_objects(sandbox: Sandbox, work: Path, source: Path, quarantine: Quarantine, state: GitState) -> bytes:
    """Pack the objects that the state's tips need besides the project's history; empty bytes if there are none.

    Raises NotKept if they are too large or cannot be read.
    """
    tips = [tip for tip in state.tips if tip != state.base]
    if not tips:
        return b""
    with translated("keeping what an agent's git holds"):
        await in_thread(_prepare, quarantine, state, b"")
    scratch = {
        "GIT_DIR": str(quarantine.path / "git"),
        "GIT_OBJECT_DIRECTORY": str(quarantine.objects),
        # The first is relative to the working directory, which is the workspace at any mount point.
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": f".git/objects:{alternate(source)}",
        "MOST": str(MAX_PACK + 1),
    }
    try:
        ran = await run_git_script(
            sandbox, work, quarantine, _PACK, scratch, visible=source, writable=False, timeout=_TIMEOUT
        )
        files = Beneath(quarantine.path)
        with translated("keeping what an agent's git holds"):
            there = files.stat("pack")
            if there is not None and there.st_size > MAX_PACK:
                raise NotKept(f"take more than {MAX_PACK >> 20} MiB")
            if ran.exit_code != 0 or there is None or files.stat("failed") is not None:
                raise NotKept("cannot be read by git, or take too long")
            data = await in_thread(files.read, "pack")
    finally:
        await in_thread(_remove, quarantine)
    return b"" if data.startswith(_NO_OBJECTS) else data


async def unpack_objects(
    sandbox: Sandbox, work: Path, source: Path, quarantine: Quarantine, state: GitState, pack: bytes
) -> bool:
    """Unpack objects into a `.git` that the engine has just made with this state; returns whether all are there
    then.
    """
    with translated("bringing back what an agent's git held"):
        await in_thread(_prepare, quarantine, state, pack)
    own = {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "READ": "1" if state.commit not in (None, state.base) else ""}
    try:
        ran = await run_git_script(
            sandbox, work, quarantine, _UNPACK, own, visible=source, writable=True, timeout=_TIMEOUT
        )
        with translated("bringing back what an agent's git held"):
            return ran.exit_code == 0 and Beneath(quarantine.path).stat("whole") is not None
    finally:
        await in_thread(_remove, quarantine)


def _remove(quarantine: Quarantine) -> None:
    clear_away(quarantine.path)


def _prepare(quarantine: Quarantine, state: GitState, pack: bytes) -> None:
    quarantine.prepare(None)
    git = quarantine.path / "git"
    for directory in ("objects", "refs"):
        (git / directory).mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/none\n")
    (quarantine.path / "tips").write_text("".join(f"{tip}\n" for tip in [*state.tips, f"^{state.base}"]))
    (quarantine.path / "pack").write_bytes(pack)
