"""The gate: the engine's own run of a project's tests on an exact commit, in a clean directory. The exit code decides.

What an agent says of the tests counts for nothing; what it left lying about in its workspace is not there.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from baton import policies
from baton.contracts import Evidence
from baton.redaction import Redactor
from workspaces.config import GateConfig
from workspaces.sandbox import Command, CommandResult, Sandbox
from workspaces.threads import in_thread

Checkout = Callable[[str, Path], Awaitable[None]]
"""Writes the tree of a commit into an empty directory."""

_PIECE = 1 << 20


async def run_gate(
    checkout: Checkout,
    commit: str,
    directory: Path,
    gate: GateConfig,
    sandbox: Sandbox,
    *,
    network: bool = False,
    redact: Redactor | None = None,
    read_only: Mapping[Path, str] | None = None,
) -> tuple[Evidence, Path]:
    """Check `commit` out below `directory`, run set-up and tests there, and say what was seen.

    `directory` is the gate's own: what a former attempt left in it is removed first, and the checkout at the end. The
    complete log stays, at the path that is given back. `read_only` are parts of the checkout that commands must not
    change. A failing set-up is the verdict: the tests are not run then.
    Raises SandboxUnavailable where commands cannot be run at all, DiskFull where the log has no room.
    """
    log = directory / "gate.log"
    if gate.test is None:
        await asyncio.to_thread(_begin, directory)
        await asyncio.to_thread(log.write_bytes, b"")
        return Evidence(commit=commit, command=None, sandboxed=sandbox.status.isolated), log
    sandbox.require()
    work = directory / "work"
    began = time.monotonic()
    await asyncio.to_thread(_begin, directory)
    try:
        await checkout(commit, work)
        steps: list[tuple[str, Path]] = []
        for name, text in (("setup", gate.setup), ("test", gate.test)):
            if text is None:
                continue
            part = directory / f"{name}.log"
            command = Command(
                argv=text,
                workspace=work,
                network=network,
                read_only=read_only or {},
                timeout=gate.timeout,
                output_limit=policies.LOG_TAIL_LIMIT,
            )
            result = await sandbox.run(command, log=part)
            steps.append((_heading(name, text, result, gate), part))
            if result.exit_code != 0:
                break
        digest, tail = await asyncio.to_thread(_join, steps, log)
    finally:
        await in_thread(remove_tree, work)
    return (
        Evidence(
            commit=commit,
            command=text,
            exit_code=result.exit_code,
            log_digest=digest,
            log_tail=(redact or Redactor())(tail)[-policies.LOG_TAIL_LIMIT :],
            seconds=round(time.monotonic() - began, 3),
            timed_out=result.timed_out,
            sandboxed=sandbox.status.isolated,
            binds=list(result.binds),
            not_shown=list(result.not_shown),
        ),
        log,
    )


def _heading(name: str, text: str, result: CommandResult, gate: GateConfig) -> str:
    end = f"exit code {result.exit_code}"
    if result.timed_out:
        end = f"killed after {gate.timeout.total_seconds():g} s, {end}"
    lines = [text, f"{end}, {result.output_bytes} bytes of output"]
    lines += [f"{path} was there, read-only" for path in result.binds]
    return "".join(f"[{name}] {line}\n" for line in [*lines, *result.not_shown])


def _join(steps: list[tuple[str, Path]], log: Path) -> tuple[str, str]:
    """One log of all steps: its digest and its end."""
    digest = hashlib.sha256()
    # A character is at most four bytes, and masking a secret needs what stands before it.
    keep = policies.LOG_TAIL_LIMIT * 8
    with log.open("wb") as whole:
        for heading, part in steps:
            whole.write(heading.encode())
            digest.update(heading.encode())
            with part.open("rb") as source:
                while piece := source.read(_PIECE):
                    whole.write(piece)
                    digest.update(piece)
            part.unlink()
    with log.open("rb") as whole:
        whole.seek(max(0, log.stat().st_size - keep))
        return "sha256:" + digest.hexdigest(), whole.read().decode(errors="replace")


def _begin(directory: Path) -> None:
    remove_tree(directory)
    (directory / "work").mkdir(parents=True)


def remove_tree(directory: Path) -> None:
    """Remove a directory that commands wrote into, whatever modes they left; a link is removed, never followed.

    What still cannot be removed stays: whoever needs the place finds out when making it new.
    """
    if directory.is_symlink():
        directory.unlink()
        return
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return
    except OSError:
        # A command took away its own right to look into a directory, or to change it.
        for place, names, _files in os.walk(directory):
            for name in ("", *names):
                path = os.path.join(place, name)
                with contextlib.suppress(OSError):
                    if stat.S_ISDIR(os.lstat(path).st_mode):
                        os.chmod(path, 0o700)
        shutil.rmtree(directory, ignore_errors=True)
