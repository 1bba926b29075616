"""Directories of the machine that `baton.toml` requests and a person allows, decided anew for each command.

A repository may request; only `BATON_SANDBOX_BINDS` grants. Each command checks the names, the targets of their links
and all entries inside, so that a link that is swapped or a socket that appears later gives no access.
"""

import asyncio
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from baton.settings.bind_paths import SECRET_NAMES, refuse_bind, refuse_for_this_account

MAX_ENTRIES = 100_000
"""Entries of a bind that are checked before each command; a directory with more is not shown."""

SETTING = "BATON_SANDBOX_BINDS"

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")
_HOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store"})
"""Directories of credentials, refused at any depth."""

_SAME = (
    'while [ "$1" != -- ]; do [ "$(stat -c %d:%i "$2" 2>/dev/null)" = "$1" ] ||'
    ' { echo "baton: $2 was replaced while the command was being started; it was not run." >&2; exit 125; };'
    ' shift 2; done; shift; exec "$@"'
)


@dataclass(frozen=True)
class Bind:
    """A directory that is shown at the path that its links resolve to; `names` are further paths that lead there."""

    target: Path
    names: tuple[Path, ...]
    identity: str
    """Device and inode of the directory that was checked."""


@dataclass(frozen=True)
class BindDecision:
    """The decision on the directories that a repository requests, for one command."""

    granted: tuple[Bind, ...] = ()
    refused: tuple[str, ...] = ()
    """One sentence for each: the path as it was requested, and why it is not shown."""

    @property
    def shown_paths(self) -> tuple[str, ...]:
        """The directories that are shown."""
        return tuple(str(bind.target) for bind in self.granted)


@dataclass(frozen=True)
class BindRules:
    """The directories that a person allows, and those that a repository requests."""

    allowed: tuple[Path, ...] = ()
    asked: tuple[str, ...] = ()
    home: Path | None = None
    """`BATON_HOME`."""
    hidden: tuple[Path, ...] = ()
    """Directories of Baton's own packages, which are never shown."""

    async def decide_binds(self) -> BindDecision:
        """Decide on each requested directory by its present state, in a thread."""
        return await asyncio.to_thread(self.decide_binds_now) if self.asked else BindDecision()

    def decide_binds_now(self) -> BindDecision:
        """Decide on each requested directory by its present state, in this thread."""
        granted: dict[Path, Bind] = {}
        refused: list[str] = []
        for text in dict.fromkeys(self.asked):
            bind = self._decide_bind(text)
            if isinstance(bind, str):
                refused.append(f"{_display_path(text)} is not shown to commands: it {bind}.")
            elif bind.target in granted:
                known = granted[bind.target]
                granted[bind.target] = Bind(known.target, (*known.names, *bind.names), known.identity)
            else:
                granted[bind.target] = bind
        # Upper directories first: those inside them are mounted over them.
        return BindDecision(tuple(sorted(granted.values(), key=lambda bind: len(bind.target.parts))), tuple(refused))

    def _decide_bind(self, text: str) -> Bind | str:
        if fault := refuse_bind(text):
            return fault
        name = Path(text)
        try:
            target = name.resolve()
            allowed = any(target.is_relative_to(entry.resolve()) for entry in self.allowed)
        except (OSError, RuntimeError):
            allowed = False
        if not allowed:
            # The same sentence whether it exists or not, so that a repository learns nothing of the machine.
            return f"is not on the list of the person who runs the worker ({SETTING} would allow it)"
        # Check the target by itself, too, because the name may lead elsewhere by now.
        for path in (name, target):
            if fault := refuse_for_this_account(path, baton_home=self.home):
                return fault
        if any(target.is_relative_to(place) for place in self.hidden):
            return "holds Baton's own packages"
        try:
            descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return "is not a directory that can be read"
        try:
            # By the descriptor: another directory of the same name would not be the one that was checked.
            if Path(os.readlink(f"/proc/self/fd/{descriptor}")) != target:
                return "was moved while it was checked"
            if fault := _mounted_below(target) or _refuse_contents(f"/proc/self/fd/{descriptor}"):
                return fault
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        names = () if name == target else (name,)
        return Bind(target, names, f"{found.st_dev}:{found.st_ino}")


def mount_flags(binds: Sequence[Bind], shown: Sequence[Path]) -> list[str]:
    """Return bubblewrap's flags that mount the directories; `shown` are other directories that are mounted."""
    line: list[str] = []
    for bind in binds:
        line += ["--ro-bind", str(bind.target), str(bind.target)]
    system = (Path("/", name) for name in ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"))
    there = [*system, *shown, *(bind.target for bind in binds)]
    for bind in binds:
        for name in bind.names:
            # Inside a mounted directory the link itself exists already.
            if not any(name.is_relative_to(place) for place in there):
                line += ["--symlink", str(bind.target), str(name)]
                there.append(name)
    return line


def with_identity_check(binds: Sequence[Bind], argv: Sequence[str]) -> list[str]:
    """Return `argv` behind a check, from inside, that the mounted directories are those that were checked before."""
    pairs = [word for bind in binds for word in (bind.identity, str(bind.target))]
    return ["sh", "-c", _SAME, "sh", *pairs, "--", *argv] if binds else list(argv)


def _mounted_below(target: Path) -> str | None:
    """Return the fault of a directory that has a mount inside, which a bind would show as well; else None."""
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split(" ")[4]))
        if point != target and point.is_relative_to(target):
            return "has something else mounted inside"
    return None


def _refuse_contents(top: str) -> str | None:
    """Walk a directory without following links; return its first forbidden entry as a fault, or None."""
    count = 0
    left = [top]
    while left:
        here = left.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    count += 1
                    if count > MAX_ENTRIES:
                        return f"holds more than {MAX_ENTRIES:,} files, too many to be checked; name a part of it"
                    name = entry.name.lower()
                    if name in (SECRET_NAMES if here == top else _HOLDERS):
                        return f"holds {name}, which may be a secret"
                    if entry.is_symlink():
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    elif not entry.is_file(follow_symlinks=False):
                        return f"holds a socket, a pipe or a device ({entry.name[:60]!r})"
        except OSError:
            return "holds a directory that cannot be read"
    return None


def _display_path(text: str) -> str:
    return text if text.isprintable() and len(text) <= 200 else repr(text[:200])
