"""Layers beneath a workspace and HOME: read-only directories with files that a command sees as if they were its own.

An overlay of bubblewrap (0.11 and later) mounts them at once. Older versions have none, so the files are copied once.
"""

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from system.uncancellable import run_in_thread
from workspaces.sandbox.bwrap import Bwrap, scratch_of
from workspaces.sandbox.command import SandboxCommand


@asynccontextmanager
async def laid_layers(command: SandboxCommand, bwrap: Bwrap | None) -> AsyncIterator[SandboxCommand]:
    """Yield the command to run with its layers in place; the scratch directories of overlays are removed afterwards."""
    pairs = list(_layer_pairs(command))
    if not pairs:
        yield command
        return
    if bwrap is None or not bwrap.has_flag("--overlay"):
        for layer, upper in pairs:
            await run_in_thread(copy_layer, layer, upper)
        yield replace(command, layer=None, home_layer=None)
        return
    try:
        for _layer, upper in pairs:
            await run_in_thread(_make_scratch, upper)
        yield command
    finally:
        for _layer, upper in pairs:
            await run_in_thread(_clear_scratch, upper)


def copy_layer(layer: Path, upper: Path) -> None:
    """Copy the files of a layer that the directory above it lacks; a repeated call is a no-op."""
    done = upper.parent / f".copied-{upper.name}"
    if done.exists():
        return

    def ignore_present(directory: str, names: list[str]) -> list[str]:
        place = upper / Path(directory).relative_to(layer)
        return [name for name in names if (place / name).is_symlink() or (place / name).is_file()]

    shutil.copytree(layer, upper, symlinks=True, dirs_exist_ok=True, ignore=ignore_present)
    done.touch()


def _layer_pairs(command: SandboxCommand) -> Iterator[tuple[Path, Path]]:
    if command.layer is not None and command.workspace is not None:
        yield command.layer, command.workspace
    if command.home_layer is not None and command.home is not None:
        yield command.home_layer, command.home


def _make_scratch(upper: Path) -> None:
    _clear_scratch(upper)
    scratch_of(upper).mkdir(mode=0o700)


def _clear_scratch(upper: Path) -> None:
    """Remove the scratch directory of an overlay, in which the kernel leaves a directory that its owner cannot list."""
    with contextlib.suppress(OSError):
        (scratch_of(upper) / "work").chmod(0o700)
    shutil.rmtree(scratch_of(upper), ignore_errors=True)
