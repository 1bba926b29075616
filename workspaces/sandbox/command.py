"""What is run in the sandbox and what came of it: plain values, no behaviour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from baton import policies
from baton.errors import UsageError

INSIDE = "/workspace"
"""Where the workspace lies inside the sandbox: always here, so that what a set-up installed keeps its paths."""

TIMED_OUT = 124
"""Exit code of a command that was killed for its time, by the convention of timeout(1)."""

TOO_MUCH_OUTPUT = 153
"""Exit code of a command that was killed for its output: 128 + SIGXFSZ, what exceeding a size limit gives."""

MAX_PLACES = 40
"""Hosts that are told of one command, reached and refused each."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run: what, where, with which of the machine's directories, and for how long.

    `argv` as text is a shell command; as a sequence it is run as it is. Directories are mounted as host path ->
    path inside. Where the machine has no isolation (`BATON_SANDBOX=none`) nothing is mounted, so a caller that must
    work there too mounts a directory at its own path.
    """

    argv: Sequence[str] | str
    workspace: Path | None = None
    """Directory that appears at `/workspace`."""
    writable: bool = True
    """Whether the command may change the workspace."""
    cwd: str = ""
    """Where to start, relative to the workspace, or an absolute path inside."""
    network: bool = False
    """Whether the command may reach what a person opened; always through the proxy, never the machine itself."""
    bare: bool = False
    """Whether it sees, besides its directories, the system's programs only: no /etc, /proc, /tmp, home or toolchains.

    Enough for git, and made in half the time.
    """
    layer: Path | None = None
    """Directory whose files appear beneath those of the workspace, and are never changed: an environment's."""
    home: Path | None = None
    """Directory that is HOME; where it is None, HOME is a small one in memory that ends with the command."""
    home_layer: Path | None = None
    """Directory whose files appear beneath those of HOME, and are never changed."""
    read_only: Mapping[Path, str] = field(default_factory=dict)
    read_write: Mapping[Path, str] = field(default_factory=dict)
    search_path: Sequence[str] = ()
    """Directories inside that are searched for programs before all others."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the sandbox's own environment; nothing is taken over from this process."""
    timeout: timedelta = policies.COMMAND_TIMEOUT
    output_limit: int = policies.TOOL_OUTPUT_LIMIT
    """Characters of output that the result keeps; the complete output is in the log and in the digest."""

    def __post_init__(self) -> None:
        if not self.argv:
            raise UsageError("The command is empty.")
        parts = [self.argv] if isinstance(self.argv, str) else list(self.argv)
        if any("\0" in part for part in [*parts, self.cwd, *self.env, *self.env.values()]):
            raise UsageError("A command cannot hold a NUL character.")


@dataclass
class NetworkUse:
    """What a command with a network reached, and what it was refused: bounded, for agent, log and evidence."""

    reached: dict[str, int] = field(default_factory=dict)
    """Connections by host and port."""
    refused: dict[str, str] = field(default_factory=dict)
    """The reason by host and port."""
    unnamed: int = 0
    """Further hosts, for which there was no room here."""
    cut: str = ""
    """Why connections were ended, or none were possible."""

    def reach(self, place: str) -> None:
        """Count a connection."""
        if place in self.reached or len(self.reached) < MAX_PLACES:
            self.reached[place] = self.reached.get(place, 0) + 1
        else:
            self.unnamed += 1

    def refuse(self, place: str, reason: str) -> None:
        """Keep why there was none."""
        if place in self.refused or len(self.refused) < MAX_PLACES:
            self.refused[place] = reason
        else:
            self.unnamed += 1

    def sentences(self) -> list[str]:
        """The same in words, one line each."""
        lines = [f"the network refused {place}: {reason}" for place, reason in self.refused.items()]
        if self.reached:
            counts = (f"{place} ({count})" for place, count in self.reached.items())
            lines.append(f"reached by the network: {', '.join(counts)}")
        if self.unnamed:
            lines.append(f"the network was asked for {self.unnamed} more")
        return [*([self.cut] if self.cut else []), *lines]


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a command did. `output` may be cut in its middle; `output_bytes` and `digest` speak of all of it."""

    exit_code: int
    """As a shell gives it: 128 + n for signal n, 124 when timed out."""
    output: str
    """stdout and stderr as they came, decoded; bytes that are not UTF-8 replaced."""
    output_bytes: int
    digest: str
    """`sha256:` and the digest of the complete output."""
    timed_out: bool
    seconds: float
    binds: tuple[str, ...] = ()
    """Directories that `baton.toml` asked for and the command could read."""
    not_shown: tuple[str, ...] = ()
    """A sentence for each directory that `baton.toml` asked for and the command did not see."""
    exceeded: str = ""
    """Which bound of the machine it met (memory, processes, disk), in words; empty where none."""
    disk_full: bool = False
    """Whether it was ended because the disk was short of room, which says nothing about the command."""
    network: NetworkUse | None = None
    """Of a command that may use the network, or asked to."""
