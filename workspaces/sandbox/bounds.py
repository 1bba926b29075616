"""Bounds on the memory, processes and disk of commands, for each command and for all of a worker together.

A control group enforces memory and processes exactly (`workspaces.sandbox.cgroups`). On machines without one, their use
is measured ten times a second, and a command that uses too much is killed: an address-space limit would break every
runtime that reserves more than it uses. The disk is measured in both cases.
"""

import asyncio
import atexit
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from baton.settings.core import Settings
from workspaces.sandbox import process_usage
from workspaces.sandbox.cgroup_hierarchy import CgroupsUnavailable, memory_of_this_group, processes_of_this_group
from workspaces.sandbox.cgroups import CommandCgroup, LimitEvents, WorkerCgroups
from workspaces.sandbox.command import CommandResult, SandboxCommand
from workspaces.sandbox.disk_watch import GB, DiskWatch, format_size

MAX_REFUSALS = 2_000
"""Refused processes after which a command is killed: a fork bomb does not end by itself."""

KILLED_FOR_MEMORY = 137
"""128 + SIGKILL, as after a kill by the kernel."""
KILLED_FOR_DISK = 153
"""128 + SIGXFSZ, as after exceeding a size limit."""

_ENTER = (
    'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift;'
    ' echo 1000 2> /dev/null > /proc/self/oom_score_adj; unset PWD OLDPWD; exec "$@"'
)
"""Enters the groups, becomes the kernel's first choice when the machine runs out of memory, and runs the command."""


@dataclass(frozen=True)
class ResourceLimits:
    """The maximums for commands: memory and disk in bytes, processes as a number."""

    memory: int
    memory_total: int
    processes: int
    processes_total: int
    disk: int
    disk_floor: int


def limits_of(settings: Settings | None = None) -> ResourceLimits:
    """Return the limits of the settings; those that are not set follow from the size of this machine."""
    settings = settings or Settings.model_construct()
    machine = min(filter(None, [_machine_memory(), memory_of_this_group()]))
    total = settings.sandbox_memory_total or machine - min(max(machine // 5, GB), machine // 2)
    # A run works on three tasks at a time by default, and there may be another run.
    memory = settings.sandbox_memory or min(total, max(total // 4, 2 * GB))
    processes = settings.sandbox_processes or 2_048
    possible = processes_of_this_group()
    processes_total = max(min(4 * processes, possible - 256 if possible else 4 * processes), 64)
    return ResourceLimits(
        memory=min(memory, total) if settings.sandbox_memory is None else memory,
        memory_total=max(total, memory),
        processes=processes,
        processes_total=processes_total,
        disk=settings.sandbox_disk,
        disk_floor=int(settings.disk_floor_gb * GB),
    )


@dataclass(frozen=True)
class KillReason:
    """The reason why a command is killed before it ends."""

    words: str
    exit_code: int
    disk_full: bool = False


class ProcessBounds:
    """The bounds of all commands of this process."""

    def __init__(self, limits: ResourceLimits) -> None:
        self.limits = limits
        self.without_groups = ""
        """Reason why there are no control groups; empty if there are."""
        self._groups: WorkerCgroups | None = None
        self.usage: dict[object, int] = {}
        """Bytes of memory by command that is measured, for the bound on all of them."""
        try:
            self._groups = WorkerCgroups(limits.memory_total, limits.processes_total)
            atexit.register(self._groups.remove_all)
        except CgroupsUnavailable as error:
            self.without_groups = str(error)

    @property
    def describe_bounds(self) -> str:
        """Sentences for people: the bounds, and how they are enforced."""
        limits = self.limits
        how = f"by control groups (version {self._groups.cgroup_version})" if self._groups else "by measuring them"
        said = (
            f"Memory and processes are bounded {how}: {format_size(limits.memory)} and {limits.processes:,} for a"
            f" command, {format_size(limits.memory_total)} for all."
        )
        return said if self._groups else f"{said} No control groups: {self.without_groups}."

    @property
    def are_exact(self) -> bool:
        """Whether the kernel itself enforces the bounds."""
        return self._groups is not None

    async def begin_command(self, command: SandboxCommand) -> "CommandBound":
        """Return the bound of one command; the caller must call `CommandBound.end_command`."""
        group = None
        if self._groups is not None:
            with contextlib.suppress(OSError):
                group = self._groups.create_group(self.limits.memory, self.limits.processes)
        return CommandBound(self, group, command)

    async def remove_group(self, group: CommandCgroup) -> None:
        """Remove a command's group."""
        assert self._groups is not None, "it made the group"
        # Its processes are nearly always dead by now; a thread is needed only to wait for one.
        if not group.remove_group(patience=0):
            await asyncio.to_thread(self._groups.discard_group, group)


class CommandBound:
    """The bound of one command."""

    def __init__(self, bounds: ProcessBounds, group: CommandCgroup | None, command: SandboxCommand) -> None:
        self._bounds = bounds
        self._group = group
        # The engine's own git (`bare`) writes no more than the store holds, and reports a full disk itself.
        watched = command.workspace is not None and command.writable and not command.bare
        self._disk: DiskWatch | None = None
        with contextlib.suppress(OSError):  # the sandbox reports a missing directory
            self._disk = DiskWatch(command.workspace, bounds.limits) if watched and command.workspace else None

    def wrap_argv(self, argv: Sequence[str], *, clear: bool) -> list[str]:
        """Return a command line that enters the bound and runs `argv`; `clear` empties the environment before."""
        entrances = self._group.entry_files if self._group else []
        # The environment of bubblewrap can be read in /proc/1/environ: nothing that the shell adds may be in it.
        cleared = ["/usr/bin/env", "-i"] if clear and not _adds_nothing() else []
        return ["/bin/sh", "-c", _ENTER, "sh", *entrances, "--", *cleared, *argv]

    def check_usage(self, pid: int) -> KillReason | None:
        """Return the reason to kill the command with the first process `pid`, or None; called ten times a second."""
        if self._disk is not None:
            full = self._disk.check_disk()
            if full:
                return KillReason(full.words, KILLED_FOR_DISK, full.disk_full)
        if self._group is not None:
            if self._group.read_events().refused > MAX_REFUSALS:
                return KillReason(f"killed: {self._too_many()}", KILLED_FOR_MEMORY)
            return None
        return self._check_processes(pid)

    def _check_processes(self, pid: int) -> KillReason | None:
        limits, used = self._bounds.limits, process_usage.use_of(pid)
        self._bounds.usage[self] = used.memory
        if used.processes > limits.processes:
            return KillReason(f"killed: {self._too_many()}", KILLED_FOR_MEMORY)
        if used.memory > limits.memory and process_usage.shared_once(used.pids) > limits.memory:
            return KillReason(f"killed: {self._too_large()}", KILLED_FOR_MEMORY)
        usage = self._bounds.usage
        if sum(usage.values()) > limits.memory_total and used.memory == max(usage.values()):
            return KillReason(f"killed: {self._too_large_together()}", KILLED_FOR_MEMORY)
        return None

    async def end_command(self, result: CommandResult | None) -> CommandResult | None:
        """Remove the bound and return the result, with the bound that the command met."""
        self._bounds.usage.pop(self, None)
        if self._group is None:
            return result
        met = self._group.read_events()
        await self._bounds.remove_group(self._group)
        if result is None or result.exceeded:
            return result
        words = self._describe_events(met)
        return replace(result, exceeded=words) if words else result

    def _describe_events(self, met: LimitEvents) -> str:
        if met.killed:
            return f"killed: {self._too_large() if met.at_limit else self._too_large_together()}"
        return f"refused: {self._too_many()}" if met.refused else ""

    def _too_large(self) -> str:
        return f"it used more than {format_size(self._bounds.limits.memory)} of memory; BATON_SANDBOX_MEMORY raises it"

    def _too_large_together(self) -> str:
        total = format_size(self._bounds.limits.memory_total)
        return f"all commands together used more than {total} of memory; BATON_SANDBOX_MEMORY_TOTAL raises it"

    def _too_many(self) -> str:
        most = f"{self._bounds.limits.processes:,}"
        return f"it wanted more than {most} processes and threads; BATON_SANDBOX_PROCESSES raises it"


@cache
def _adds_nothing() -> bool:
    """Whether /bin/sh passes on only the variables that it was given; bash always adds some."""
    return os.path.basename(os.path.realpath("/bin/sh")) == "dash"


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_own: dict[ResourceLimits, ProcessBounds] = {}


def bounds_of(settings: Settings | None = None) -> ProcessBounds:
    """Return the bounds of this process under these settings, created on first use.

    Without settings it returns existing bounds, so that all commands share one bound.
    """
    if settings is None and _own:
        return next(iter(_own.values()))
    limits = limits_of(settings)
    if limits not in _own:
        _own[limits] = ProcessBounds(limits)
    return _own[limits]
