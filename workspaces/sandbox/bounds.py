"""What commands may use of the machine: memory, processes and disk, for each and for all of a worker together.

A control group holds memory and processes exactly where one can be made (`workspaces.sandbox.cgroups`). Elsewhere
they are
looked at ten times a second, and what uses too much is killed: an address-space limit would break every runtime that
reserves more than it uses. The disk is looked at in both cases.
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
from workspaces.sandbox.cgroups import (
    Group,
    Groups,
    Met,
    NoGroups,
    memory_of_this_group,
    processes_of_this_group,
)
from workspaces.sandbox.command import Command, CommandResult
from workspaces.sandbox.disk_watch import DiskWatch

GB = 1_000_000_000
MAX_REFUSALS = 2_000
"""Refused processes after which a command is ended: a fork bomb never ends by itself."""

KILLED_FOR_MEMORY = 137
"""128 + SIGKILL: what the kernel's own killing gives."""
KILLED_FOR_DISK = 153
"""128 + SIGXFSZ, what exceeding a size limit gives."""

_ENTER = (
    'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift;'
    ' echo 1000 2> /dev/null > /proc/self/oom_score_adj; unset PWD OLDPWD; exec "$@"'
)
"""Enter the groups, become the first that the kernel kills when the machine has no memory left, and go on."""


@dataclass(frozen=True)
class Limits:
    """The most that commands may use, in bytes and numbers."""

    memory: int
    memory_total: int
    processes: int
    processes_total: int
    disk: int
    disk_floor: int


def limits_of(settings: Settings | None = None) -> Limits:
    """The limits that the settings give; where they say nothing, those that suit the size of this machine."""
    settings = settings or Settings.model_construct()
    machine = min(filter(None, [_machine_memory(), memory_of_this_group()]))
    total = settings.sandbox_memory_total or machine - min(max(machine // 5, GB), machine // 2)
    # A run works on three tasks at a time unless it is told otherwise, and there may be another run.
    memory = settings.sandbox_memory or min(total, max(total // 4, 2 * GB))
    processes = settings.sandbox_processes or 2_048
    possible = processes_of_this_group()
    processes_total = max(min(4 * processes, possible - 256 if possible else 4 * processes), 64)
    return Limits(
        memory=min(memory, total) if settings.sandbox_memory is None else memory,
        memory_total=max(total, memory),
        processes=processes,
        processes_total=processes_total,
        disk=settings.sandbox_disk,
        disk_floor=int(settings.disk_floor_gb * GB),
    )


@dataclass(frozen=True)
class Stop:
    """Why a command is ended before its time."""

    words: str
    exit_code: int
    disk_full: bool = False


class Bounds:
    """The bounds of all commands of this process."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.without_groups = ""
        """Why there are no control groups; empty where there are."""
        self._groups: Groups | None = None
        self.usage: dict[object, int] = {}
        """Memory of the commands that are watched, for the bound on all of them."""
        try:
            self._groups = Groups(limits.memory_total, limits.processes_total)
            atexit.register(self._groups.close)
        except NoGroups as error:
            self.without_groups = str(error)

    @property
    def words(self) -> str:
        """Which bounds hold here, and how."""
        limits = self.limits
        how = f"by control groups (version {self._groups.version})" if self._groups else "by looking at them"
        said = (
            f"Memory and processes are bounded {how}: {gb(limits.memory)} and {limits.processes:,} for a command,"
            f" {gb(limits.memory_total)} for all."
        )
        return said if self._groups else f"{said} No control groups: {self.without_groups}."

    @property
    def exact(self) -> bool:
        """Whether the kernel itself holds the bounds."""
        return self._groups is not None

    async def begin(self, command: Command) -> "Bound":
        """The bound of one command; `Bound.end` must follow."""
        group = None
        if self._groups is not None:
            with contextlib.suppress(OSError):
                group = self._groups.make(self.limits.memory, self.limits.processes)
        return Bound(self, group, command)

    async def leave(self, group: Group) -> None:
        """Remove a command's group."""
        assert self._groups is not None, "it made the group"
        # Nearly always everything in it is dead by now; a thread only where something must be waited for.
        if not group.remove(patience=0):
            await asyncio.to_thread(self._groups.end, group)


class Bound:
    """The bound of one command."""

    def __init__(self, bounds: Bounds, group: Group | None, command: Command) -> None:
        self._bounds = bounds
        self._group = group
        # The engine's own git (`bare`) writes no more than there is; its full disk is told by itself.
        watched = command.workspace is not None and command.writable and not command.bare
        self._disk: DiskWatch | None = None
        with contextlib.suppress(OSError):  # a directory that is not there is told by the sandbox
            self._disk = DiskWatch(command.workspace, bounds.limits) if watched and command.workspace else None

    def line(self, argv: Sequence[str], *, clear: bool) -> list[str]:
        """The command line that enters the bound and then becomes `argv`; with an empty environment where asked."""
        entrances = self._group.entrances if self._group else []
        # The environment of bubblewrap can be read in /proc/1/environ: nothing that the shell adds may be in it.
        cleared = ["/usr/bin/env", "-i"] if clear and not _adds_nothing() else []
        return ["/bin/sh", "-c", _ENTER, "sh", *entrances, "--", *cleared, *argv]

    def look(self, pid: int) -> Stop | None:
        """Why the command, whose first process is `pid`, must be ended now; called about ten times a second."""
        if self._disk is not None:
            full = self._disk.look()
            if full:
                return Stop(full.words, KILLED_FOR_DISK, full.disk_full)
        if self._group is not None:
            if self._group.met().refused > MAX_REFUSALS:
                return Stop(f"killed: {self._too_many()}", KILLED_FOR_MEMORY)
            return None
        return self._watch(pid)

    def _watch(self, pid: int) -> Stop | None:
        limits, used = self._bounds.limits, process_usage.use_of(pid)
        self._bounds.usage[self] = used.memory
        if used.processes > limits.processes:
            return Stop(f"killed: {self._too_many()}", KILLED_FOR_MEMORY)
        if used.memory > limits.memory and process_usage.shared_once(used.pids) > limits.memory:
            return Stop(f"killed: {self._too_large()}", KILLED_FOR_MEMORY)
        usage = self._bounds.usage
        if sum(usage.values()) > limits.memory_total and used.memory == max(usage.values()):
            return Stop(f"killed: {self._together()}", KILLED_FOR_MEMORY)
        return None

    async def end(self, result: CommandResult | None) -> CommandResult | None:
        """Take the bound away; the result with what it met."""
        self._bounds.usage.pop(self, None)
        if self._group is None:
            return result
        met = self._group.met()
        await self._bounds.leave(self._group)
        if result is None or result.exceeded:
            return result
        words = self._said(met)
        return replace(result, exceeded=words) if words else result

    def _said(self, met: Met) -> str:
        if met.killed:
            return f"killed: {self._too_large() if met.at_limit else self._together()}"
        return f"refused: {self._too_many()}" if met.refused else ""

    def _too_large(self) -> str:
        return f"it used more than {gb(self._bounds.limits.memory)} of memory; BATON_SANDBOX_MEMORY raises it"

    def _together(self) -> str:
        total = gb(self._bounds.limits.memory_total)
        return f"all commands together used more than {total} of memory; BATON_SANDBOX_MEMORY_TOTAL raises it"

    def _too_many(self) -> str:
        most = f"{self._bounds.limits.processes:,}"
        return f"it wanted more than {most} processes and threads; BATON_SANDBOX_PROCESSES raises it"


def gb(size: int) -> str:
    """A size in words."""
    return f"{size / GB:.1f} GB" if size >= GB else f"{size / 1e6:.0f} MB"


@cache
def _adds_nothing() -> bool:
    """Whether /bin/sh passes on no variables but those it was given; bash always adds some."""
    return os.path.basename(os.path.realpath("/bin/sh")) == "dash"


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_own: dict[Limits, Bounds] = {}


def bounds_of(settings: Settings | None = None) -> Bounds:
    """The bounds of this process under these settings, made when they are first asked for.

    Without settings those that are there already, so that the bound on all commands stays one.
    """
    if settings is None and _own:
        return next(iter(_own.values()))
    limits = limits_of(settings)
    if limits not in _own:
        _own[limits] = Bounds(limits)
    return _own[limits]
