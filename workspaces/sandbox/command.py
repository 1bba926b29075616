"""The commands of the sandbox and their results, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from baton import policies
from baton.errors import UsageError

INSIDE = "/workspace"
"""Path of the workspace inside the sandbox; constant, so that programs that a set-up installed keep their paths."""

TIMED_OUT = 124
"""Exit code of a command that exceeded its time limit, by the convention of timeout(1)."""

TOO_MUCH_OUTPUT = 153
"""Exit code of a command that wrote too much output: 128 + SIGXFSZ, as after exceeding a size limit."""

MAX_PLACES = 40
"""Maximum of hosts that are reported for one command, reached and refused each."""


@dataclass(frozen=True, kw_only=True)
class SandboxCommand:
    """A program to run, with its directories, environment and limits.

    `argv` as text is a shell command; as a sequence it is run as it is. Directories are mounted as host path ->
    path inside. Without isolation (`BATON_SANDBOX=none`) no directory is mounted, so a caller that must work there too
    mounts a directory at its own path.
    """

    argv: Sequence[str] | str
    workspace: Path | None = None
    """Directory that is mounted at `/workspace`."""
    writable: bool = True
    """Whether the command may change the workspace."""
    cwd: str = ""
    """Working directory, relative to the workspace, or an absolute path inside."""
    network: bool = False
    """Whether the command may use the network that a person opened, through the proxy; never the machine itself."""
    bare: bool = False
    """Whether only its directories and the system's programs are mounted: no /etc, /proc, /tmp, home or toolchains.

    This suffices for git and takes half the time to set up.
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
    """Added to the sandbox's own environment, which holds no variable of this process."""
    timeout: timedelta = policies.COMMAND_TIMEOUT
    output_limit: int = policies.MAX_TOOL_OUTPUT
    """Characters of output that the result keeps; the log and the digest have the complete output."""

    def __post_init__(self) -> None:
        if not self.argv:
            raise UsageError("The command is empty.")
        parts = [self.argv] if isinstance(self.argv, str) else list(self.argv)
        if any("\0" in part for part in [*parts, self.cwd, *self.env, *self.env.values()]):
            raise UsageError("A command cannot hold a NUL character.")


@dataclass
class NetworkUse:
    """The hosts that a command reached and was refused, bounded; for the agent, the log and the evidence."""

    reached: dict[str, int] = field(default_factory=dict)
    """Connections by host and port."""
    refused: dict[str, str] = field(default_factory=dict)
    """The reason for each refusal by host and port."""
    unnamed: int = 0
    """Number of further requests to hosts above the maximum."""
    cut: str = ""
    """Reason why connections were closed, or why none were possible."""

    def count_connection(self, place: str) -> None:
        """Count a connection."""
        if place in self.reached or len(self.reached) < MAX_PLACES:
            self.reached[place] = self.reached.get(place, 0) + 1
        else:
            self.unnamed += 1

    def record_refusal(self, place: str, reason: str) -> None:
        """Record a refused connection with its reason."""
        if place in self.refused or len(self.refused) < MAX_PLACES:
            self.refused[place] = reason
        else:
            self.unnamed += 1

    def describe_use(self) -> list[str]:
        """Return sentences about the use, one line each."""
        lines = [f"the network refused {place}: {reason}" for place, reason in self.refused.items()]
        if self.reached:
            counts = (f"{place} ({count})" for place, count in self.reached.items())
            lines.append(f"reached by the network: {', '.join(counts)}")
        if self.unnamed:
            lines.append(f"the network was asked for {self.unnamed} more")
        return [*([self.cut] if self.cut else []), *lines]


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """The result of a command. `output` may be cut in its middle; `output_bytes` and `digest` are of all of it."""

    exit_code: int
    """As in a shell: 128 + n for signal n, 124 after a time-out."""
    output: str
    """stdout and stderr as they came, decoded; bytes that are not UTF-8 replaced."""
    output_bytes: int
    digest: str
    """`sha256:` and the digest of the complete output."""
    timed_out: bool
    seconds: float
    binds: tuple[str, ...] = ()
    """Directories that `baton.toml` requested and the command could read."""
    not_shown: tuple[str, ...] = ()
    """A sentence for each directory that `baton.toml` requested and the command did not see."""
    exceeded: str = ""
    """Sentence about the bound that it met (memory, processes, disk); empty if none."""
    disk_full: bool = False
    """Whether it was killed because the disk was short of space, which is no verdict on the command."""
    network: NetworkUse | None = None
    """Set for a command that may use the network or requested it."""
