"""The objects that an agent's own refs and stash need, as one pack: made, and unpacked again, by git in the sandbox.

To the engine a pack is bytes, which it stores and hands back. The scratch repository in which it is made has the
engine's configuration, sees the workspace read-only and of the engine's stores only `source.git`, which the agent sees
too: an alternate or a link that was planted leads to no more than the agent has.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from baton.errors import WorkspaceError
from system.uncancellable import in_thread
from workspaces.checkpoints.agent_refs import GitState
from workspaces.checkpoints.sandboxed_git import Quarantine
from workspaces.git.errors import disk_full, is_disk_full, translated
from workspaces.git.run import CONFIG, alternate
from workspaces.git.safe_directory import Beneath, clear_away
from workspaces.sandbox.sandbox import Command, Sandbox

MAX_PACK = 32 << 20
"""Bytes that are kept of one agent's refs and stash."""

_TIMEOUT = timedelta(minutes=2)
_NO_OBJECTS = b"PACK\0\0\0\2\0\0\0\0"

# Constant text: whatever differs comes in by variables and files.
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
    """Objects of an agent's refs that cannot be kept; the message is the rest of a sentence."""


async def pack_objects(sandbox: Sandbox, work: Path, source: Path, quarantine: Quarantine, state: GitState) -> bytes:
    """What the state's tips need besides the project's history, as a pack; empty where that is nothing.

    Raises NotKept where it is too much or cannot be read.
    """
    tips = [tip for tip in state.tips if tip != state.base]
    if not tips:
        return b""
    with translated("keeping what an agent's git holds"):
        await in_thread(_prepare, quarantine, state, b"")
    scratch = {
        "GIT_DIR": str(quarantine.path / "git"),
        "GIT_OBJECT_DIRECTORY": str(quarantine.objects),
        # The first by its place in the working directory, which is the workspace wherever that is mounted.
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": f".git/objects:{alternate(source)}",
        "MOST": str(MAX_PACK + 1),
    }
    try:
        failed = await _run(sandbox, work, source, quarantine, _PACK, scratch, writable=False)
        files = Beneath(quarantine.path)
        with translated("keeping what an agent's git holds"):
            there = files.stat("pack")
            if there is not None and there.st_size > MAX_PACK:
                raise NotKept(f"take more than {MAX_PACK >> 20} MiB")
            if failed or there is None or files.stat("failed") is not None:
                raise NotKept("cannot be read by git, or take too long")
            data = await in_thread(files.read, "pack")
    finally:
        await in_thread(_remove, quarantine)
    return b"" if data.startswith(_NO_OBJECTS) else data


async def unpack_objects(
    sandbox: Sandbox, work: Path, source: Path, quarantine: Quarantine, state: GitState, pack: bytes
) -> bool:
    """Put a pack into a `.git` that the engine has just made with this state; whether all is there then."""
    with translated("bringing back what an agent's git held"):
        await in_thread(_prepare, quarantine, state, pack)
    own = {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "READ": "1" if state.commit not in (None, state.base) else ""}
    try:
        failed = await _run(sandbox, work, source, quarantine, _UNPACK, own, writable=True)
        with translated("bringing back what an agent's git held"):
            return not failed and Beneath(quarantine.path).stat("whole") is not None
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


async def _run(
    sandbox: Sandbox,
    work: Path,
    source: Path,
    quarantine: Quarantine,
    script: str,
    variables: Mapping[str, str],
    *,
    writable: bool,
) -> bool:
    """Run a script; whether it failed."""
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
    command = Command(
        argv=["sh", "-c", f"umask 022\n{script}"],
        workspace=work,
        writable=writable,
        bare=True,
        read_only={source: str(source)},
        read_write={quarantine.path: str(quarantine.path)},
        env=env,
        timeout=_TIMEOUT,
        output_limit=4_000,
    )
    result = await sandbox.run(command)
    if is_disk_full(result.output):
        raise disk_full("git looked at what an agent's git holds")
    return result.exit_code != 0
