"""One environment: made from a set-up plan in the sandbox, kept under `BATON_HOME/environments`, shared by its key."""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field

from system.file_lock import hold_lock
from system.safe_directory import clear_away
from system.uncancellable import run_in_thread
from workspaces.sandbox.command import SandboxCommand
from workspaces.sandbox.sandbox import Sandbox

FORMAT = 1
"""Of a layer; a new number makes every environment anew."""

_RECORD = "environment.json"
_ABANDONED = timedelta(hours=6)
MAX_UNUSED = timedelta(days=30)
"""An environment that no run or check has used for so long is removed when another one is made."""

_TAIL = 8_000

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
"""The machine's own certificate authorities, which the sandbox shows: a company's proxy signs with one of them."""

_CERTIFICATE_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
)

Checkout = Callable[[Path], Awaitable[None]]
"""Writes the files of the base commit into an empty directory."""

Progress = Callable[[str], None]
"""Is given a line when a step begins."""


class EnvironmentStep(BaseModel):
    """One step of a set-up as it is run."""

    command: str
    directory: str = ""
    reason: str = ""


class StepResult(EnvironmentStep):
    """How a step went."""

    exit_code: int
    seconds: float
    timed_out: bool = False
    output: str = ""
    """The end of its output."""
    network: list[str] = Field(default_factory=list)
    """Hosts that it reached, and those it was refused, a sentence each."""


class EnvironmentRecord(BaseModel):
    """The record of how an environment was made; kept beside its layers."""

    key: str
    steps: list[StepResult] = Field(default_factory=list)
    seconds: float = 0.0
    bytes: int = 0
    reused: bool = False

    @property
    def failed(self) -> StepResult | None:
        """The step that failed, where one did: the environment is then not kept."""
        return next((step for step in self.steps if step.exit_code != 0), None)


@dataclass(frozen=True)
class Environment:
    """An environment on this machine: two layers and the variables that go with them."""

    record: EnvironmentRecord
    tree: Path
    """Layer beneath the checkout: what the set-up made there, such as `node_modules`."""
    home: Path
    """Layer beneath HOME: the virtual environment, package managers, caches."""
    env: Mapping[str, str]
    search_path: Sequence[str]


def environment_key(parts: Mapping[str, object]) -> str:
    """Name an environment by all that decides its contents: steps, variables, key files, tools, Baton's format."""
    whole = {"format": FORMAT, "python": sys.version, **parts}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:20]


async def make_environment(
    key: str,
    steps: Sequence[EnvironmentStep],
    env: Mapping[str, str],
    search_path: Sequence[str],
    checkout: Checkout,
    sandbox: Sandbox,
    home: Path,
    *,
    timeout: timedelta,
    progress: Progress = lambda line: None,
) -> Environment:
    """Return the environment of this key; it is made where there is none, and others that want it meanwhile wait.

    A set-up that fails is told by `record.failed`, and its environment is kept for the commands of this process only.
    One that is killed leaves a directory that a later one removes. Raises SandboxUnavailable, DiskFull, WorkspaceError.
    """
    parent = home / "environments"
    await run_in_thread(parent.mkdir, parents=True, exist_ok=True, mode=0o700)
    place = parent / key
    variables = {**dict.fromkeys(_certificates(), CERTIFICATES), **env}
    async with hold_lock(parent / f".{key}.lock"):
        if (kept := await run_in_thread(_read, place)) is not None:
            record = kept.model_copy(update={"reused": True})
            await run_in_thread(os.utime, place)
            return Environment(record, place / "tree", place / "home", variables, search_path)
        await run_in_thread(remove_unused, parent)
        making = Path(await run_in_thread(tempfile.mkdtemp, prefix=".making-", dir=parent))
        began = time.monotonic()
        for name in ("tree", "home", "base"):
            (making / name).mkdir()
        results: list[StepResult] = []
        try:
            await checkout(making / "base")
            for step in steps:
                progress(step.command)
                results.append(await _run_step(step, making, variables, search_path, sandbox, timeout))
                if results[-1].exit_code != 0:
                    break
            await run_in_thread(clear_away, making / "base")
            size = await run_in_thread(_measure, making)
        except BaseException:  # also a cancellation: nothing half is ever kept
            await run_in_thread(clear_away, making)
            raise
        record = EnvironmentRecord(
            key=key, steps=results, seconds=round(time.monotonic() - began, 3), bytes=size, reused=False
        )
        if record.failed:
            return Environment(record, making / "tree", making / "home", variables, search_path)
        await run_in_thread(_keep, record, making, place)
        return Environment(record, place / "tree", place / "home", variables, search_path)


async def _run_step(
    step: EnvironmentStep,
    making: Path,
    env: Mapping[str, str],
    search_path: Sequence[str],
    sandbox: Sandbox,
    timeout: timedelta,
) -> StepResult:
    command = SandboxCommand(
        argv=step.command,
        workspace=making / "tree",
        layer=making / "base",
        home=making / "home",
        cwd=step.directory,
        network=True,
        env=env,
        search_path=search_path,
        timeout=timeout,
        output_limit=_TAIL,
    )
    done = await sandbox.run_command(command)
    return StepResult(
        **step.model_dump(),
        exit_code=done.exit_code,
        seconds=round(done.seconds, 3),
        timed_out=done.timed_out,
        output=done.output[-_TAIL:],
        network=done.network.describe_use() if done.network else [],
    )


def _certificates() -> tuple[str, ...]:
    return _CERTIFICATE_VARIABLES if Path(CERTIFICATES).is_file() else ()


def _read(place: Path) -> EnvironmentRecord | None:
    try:
        return EnvironmentRecord.model_validate_json((place / _RECORD).read_bytes())
    except (OSError, ValueError):
        return None


def _keep(record: EnvironmentRecord, making: Path, place: Path) -> None:
    """Give a complete environment its name; without its record it would be made anew."""
    clear_away(place)
    (making / _RECORD).write_text(record.model_dump_json())
    making.rename(place)


def _measure(directory: Path) -> int:
    """Bytes of all files below a directory, links not followed."""
    total = 0
    left = [str(directory)]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def remove_unused(parent: Path) -> None:
    """Remove environments that were not used for long, and those of processes that were killed while making one."""
    for place in parent.iterdir():
        limit = _ABANDONED if place.name.startswith(".making-") else MAX_UNUSED
        with contextlib.suppress(OSError):
            if place.is_dir() and time.time() - place.stat().st_mtime > limit.total_seconds():
                clear_away(place)


async def discard(environment: Environment) -> None:
    """Remove an environment whose set-up failed; a kept one stays."""
    if environment.tree.parent.name.startswith(".making-"):
        await run_in_thread(clear_away, environment.tree.parent)


async def forget_environment(home: Path, key: str) -> None:
    """Remove a kept environment, so that the next one that wants it makes it anew."""
    await run_in_thread(clear_away, home / "environments" / key)
