"""The objects that an agent's own refs and stash need, as one pack: packed and unpacked by git in the sandbox only.

For the engine a pack is bytes in a checkpoint. The scratch repository in which it is made has the engine's
configuration, sees the workspace read-only and of the engine's stores only `source.git`, which the agent sees too: a
planted alternate or link leads to no more than the agent has.
"""

from datetime import timedelta
from pathlib import Path

from baton.errors import WorkspaceError
from system.safe_directory import SafeDirectory, clear_away
from system.uncancellable import run_in_thread
from workspaces.checkpoints.agent_refs import AgentRefs
from workspaces.checkpoints.sandboxed_git import Quarantine, run_git_script
from workspaces.git.errors import translate_errors
from workspaces.git.run import quote_alternate
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


class AgentObjectsRefused(WorkspaceError):
    """The error for objects of an agent's refs that cannot be kept; the message is the rest of a sentence."""


async def pack_objects(sandbox: Sandbox, work: Path, source: Path, quarantine: Quarantine, state: AgentRefs) -> bytes:
    """Pack the objects that the state's tips need besides the project's history; empty bytes if there are none.

    Raises NotKept if they are too large or cannot be read.
    """
    tips = [tip for tip in state.tips if tip != state.base]
    if not tips:
        return b""
    with translate_errors("keeping what an agent's git holds"):
        await run_in_thread(_prepare_quarantine, quarantine, state, b"")
    scratch = {
        "GIT_DIR": str(quarantine.path / "git"),
        "GIT_OBJECT_DIRECTORY": str(quarantine.objects),
        # The first is relative to the working directory, which is the workspace at any mount point.
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": f".git/objects:{quote_alternate(source)}",
        "MOST": str(MAX_PACK + 1),
    }
    try:
        ran = await run_git_script(
            sandbox, work, quarantine, _PACK, scratch, visible=source, writable=False, timeout=_TIMEOUT
        )
        files = SafeDirectory(quarantine.path)
        with translate_errors("keeping what an agent's git holds"):
            there = files.stat("pack")
            if there is not None and there.st_size > MAX_PACK:
                raise AgentObjectsRefused(f"take more than {MAX_PACK >> 20} MiB")
            if ran.exit_code != 0 or there is None or files.stat("failed") is not None:
                raise AgentObjectsRefused("cannot be read by git, or take too long")
            data = await run_in_thread(files.read_file, "pack")
    finally:
        await run_in_thread(_remove_quarantine, quarantine)
    return b"" if data.startswith(_NO_OBJECTS) else data


async def unpack_objects(
    sandbox: Sandbox, work: Path, source: Path, quarantine: Quarantine, state: AgentRefs, pack: bytes
) -> bool:
    """Unpack objects into a `.git` that the engine has just made with this state; returns whether all are there
    then.
    """
    with translate_errors("bringing back what an agent's git held"):
        await run_in_thread(_prepare_quarantine, quarantine, state, pack)
    own = {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "READ": "1" if state.commit not in (None, state.base) else ""}
    try:
        ran = await run_git_script(
            sandbox, work, quarantine, _UNPACK, own, visible=source, writable=True, timeout=_TIMEOUT
        )
        with translate_errors("bringing back what an agent's git held"):
            return ran.exit_code == 0 and SafeDirectory(quarantine.path).stat("whole") is not None
    finally:
        await run_in_thread(_remove_quarantine, quarantine)


def _remove_quarantine(quarantine: Quarantine) -> None:
    clear_away(quarantine.path)


def _prepare_quarantine(quarantine: Quarantine, state: AgentRefs, pack: bytes) -> None:
    quarantine.empty_with_index(None)
    git = quarantine.path / "git"
    for directory in ("objects", "refs"):
        (git / directory).mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/none\n")
    (quarantine.path / "tips").write_text("".join(f"{tip}\n" for tip in [*state.tips, f"^{state.base}"]))
    (quarantine.path / "pack").write_bytes(pack)
