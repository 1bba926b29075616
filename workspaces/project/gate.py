"""The gate: the engine's own run of a project's tests on an exact commit, in a clean directory. The exit code decides.

The reports of agents play no part, and files that an agent left in its workspace are not there.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from baton import policies
from baton.errors import DiskFull
from baton.records.run import Evidence
from baton.text.redaction import Redactor
from system.safe_directory import clear_away
from system.uncancellable import run_in_thread
from workspaces.project.baton_toml import GateConfig
from workspaces.sandbox.sandbox import CommandResult, Sandbox, SandboxCommand

Checkout = Callable[[str, Path], Awaitable[None]]
"""Writes the tree of a commit into an empty directory."""

_PIECE = 1 << 20
_MAX_NETWORK_LINES = 12
_MAX_LINE = 400


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
    """Check `commit` out below `directory`, run set-up and tests there, and return the evidence and the log's path.

    `directory` belongs to the gate: files of an earlier attempt are removed first, and the checkout at the end; the
    complete log stays. `read_only` are parts of the checkout that commands must not change. A set-up that fails is the
    verdict, and the tests do not run. Raises SandboxUnavailable if commands cannot run, DiskFull if the disk is full.
    """
    log = directory / "gate.log"
    if gate.test is None:
        await asyncio.to_thread(_prepare_directory, directory)
        await asyncio.to_thread(log.write_bytes, b"")
        return Evidence(commit=commit, command=None, sandboxed=sandbox.status.is_isolated), log
    sandbox.require_available()
    work = directory / "work"
    began = time.monotonic()
    await asyncio.to_thread(_prepare_directory, directory)
    try:
        await checkout(commit, work)
        exceeded = ""
        used: list[str] = []
        for name, text in (("setup", gate.setup), ("test", gate.test)):
            if text is None:
                continue
            start = await asyncio.to_thread(_reserve_outcome, log, name, text, gate)
            command = SandboxCommand(
                argv=text,
                workspace=work,
                network=network,
                read_only=read_only or {},
                timeout=gate.timeout,
                output_limit=policies.MAX_LOG_TAIL,
            )
            result = await sandbox.run_command(command, log=log)
            if result.disk_full:
                raise DiskFull(f"The gate was stopped before it reached a verdict: {result.exceeded}.")
            exceeded = exceeded or result.exceeded
            used += result.network.describe_use() if result.network else []
            await asyncio.to_thread(_enter_outcome, log, start, name, result, gate)
            if result.exit_code != 0:
                break
        digest, tail = await asyncio.to_thread(_sum_up, log)
    finally:
        await run_in_thread(clear_away, work)
    return (
        Evidence(
            commit=commit,
            command=text,
            exit_code=result.exit_code,
            log_digest=digest,
            log_tail=(redact or Redactor())(tail)[-policies.MAX_LOG_TAIL :],
            seconds=round(time.monotonic() - began, 3),
            timed_out=result.timed_out,
            sandboxed=sandbox.status.is_isolated,
            binds=list(result.binds),
            not_shown=list(result.not_shown),
            exceeded=exceeded,
            network=[line[:_MAX_LINE] for line in used[:_MAX_NETWORK_LINES]],
        ),
        log,
    )


def _outcome_line(name: str, exit_code: int, size: int, gate: GateConfig, *, timed_out: bool) -> bytes:
    end = f"exit code {exit_code}"
    if timed_out:
        end = f"killed after {gate.timeout.total_seconds():g} s, {end}"
    return f"[{name}] {end}, {size} bytes of output".encode()


def _reserve_outcome(log: Path, name: str, text: str, gate: GateConfig) -> int:
    """Begin a step's part of the log with a blank line for its outcome, and return that line's offset."""
    with log.open("ab") as file:
        file.write(f"[{name}] {text}\n".encode())
        start = file.tell()
        file.write(b" " * len(_outcome_line(name, 255, 99_999_999_999, gate, timed_out=True)) + b"\n")
    return start


def _enter_outcome(log: Path, start: int, name: str, result: CommandResult, gate: GateConfig) -> None:
    """Write a step's outcome above its output, and notes on binds, bounds and network below it."""
    with log.open("r+b") as file:
        file.seek(start)
        file.write(_outcome_line(name, result.exit_code, result.output_bytes, gate, timed_out=result.timed_out))
        said = result.network.describe_use() if result.network else []
        said += [*(f"{path} was there, read-only" for path in result.binds), *result.not_shown]
        said += [result.exceeded] if result.exceeded else []
        if said:
            file.seek(0, os.SEEK_END)
            file.write("".join(["\n", *(f"[{name}] {sentence}\n" for sentence in said)]).encode())


def _sum_up(log: Path) -> tuple[str, str]:
    """Return the digest of the log, and its end."""
    digest = hashlib.sha256()
    # A character has at most four bytes, and masking a secret needs the text before it.
    keep = policies.MAX_LOG_TAIL * 8
    with log.open("rb") as whole:
        while piece := whole.read(_PIECE):
            digest.update(piece)
        whole.seek(max(0, log.stat().st_size - keep))
        return "sha256:" + digest.hexdigest(), whole.read().decode(errors="replace")


def _prepare_directory(directory: Path) -> None:
    clear_away(directory)
    (directory / "work").mkdir(parents=True)
