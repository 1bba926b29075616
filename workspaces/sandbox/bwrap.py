"""The command line of the sandbox: bubblewrap's flags, the mounted directories, the limits.

Each flag stops an attack that worked without it; `tests/workspaces/sandbox/test_sandbox.py` has the attacks.
"""

import math
import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from workspaces.sandbox import binds, engine_python
from workspaces.sandbox.command import INSIDE, SandboxCommand
from workspaces.sandbox.environment import HOME_INSIDE, Toolchains, command_environment

UID = 1000
TMP_BYTES = 1 << 30
HOME_BYTES = 1 << 29
SHM_BYTES = 1 << 28
FILE_BYTES = 4 << 30
OPEN_FILES = 16_384
PROCESSES = 4_096

# Entries of /etc that programs need to start: no accounts, no host names, no private keys.
_ETC = [
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "os-release",
    "debian_version",
    "magic",
    "ssl/certs",
    "ssl/openssl.cnf",
    "pki/tls/certs",
    "pki/ca-trust/extracted",
    "ca-certificates",
    "fonts",
    "maven",
    "perl",
    "services",
    "protocols",
]
_PASSWD = f"root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:{UID}:{UID}:agent:{HOME_INSIDE}:/bin/sh\n"
_GROUP = f"root:x:0:\nagent:x:{UID}:\n"
_HOSTS = "127.0.0.1 localhost sandbox\n::1 localhost\n"


@dataclass(frozen=True)
class Bwrap:
    """A bubblewrap that works here, with the flags that its version knows."""

    path: Path
    flags: frozenset[str]

    def has_flag(self, flag: str) -> bool:
        """Whether this version has a flag."""
        return flag in self.flags


def parse_flags(help_text: str) -> frozenset[str]:
    """Return the flags that `bwrap --help` lists."""
    return frozenset(word for line in help_text.splitlines() for word in line.split()[:1] if word.startswith("--"))


def bwrap_argv(
    bwrap: Bwrap,
    command: SandboxCommand,
    toolchains: Toolchains,
    *,
    status_fd: int,
    filter_fd: int,
    files: Mapping[str, int],
) -> list[str]:
    """Return the complete command line. `files` are descriptors of small files by the path where they appear.

    `filter_fd` holds the filter of system calls (`workspaces.sandbox.seccomp`).
    """
    line = [
        str(bwrap.path),
        "--unshare-user",
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-uts",
        "--unshare-cgroup-try",
        # Always: an open network is a proxy's socket (`workspaces.sandbox.network.open_network`), never the
        # machine's interfaces.
        "--unshare-net",
    ]
    if bwrap.has_flag("--disable-userns"):
        line.append("--disable-userns")
    line += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--uid", str(UID), "--gid", str(UID)]
    line += ["--hostname", "sandbox", "--json-status-fd", str(status_fd), "--clearenv"]
    line += ["--seccomp", str(filter_fd)]
    for name, value in _variable_flags(command, toolchains).items():
        line += ["--setenv", name, value]
    line += _program_flags()
    if command.bare:
        for device in ("/dev/null", "/dev/urandom"):
            line += ["--dev-bind", device, device]
    else:
        line += _etc_flags()
        for path, descriptor in files.items():
            line += ["--ro-bind-data", str(descriptor), path]
        # A root worker may write the host's /proc/sys even from inside: user 1000 there is root here.
        line += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
        # Keys have no namespace: these files name the keys of the worker's user, whatever keyring the command has.
        for path in ("/proc/keys", "/proc/key-users"):
            line += ["--ro-bind", "/dev/null", path] if Path(path).exists() else []
        line += _tmpfs_flags(bwrap, "/dev/shm", SHM_BYTES) + _tmpfs_flags(bwrap, "/tmp", TMP_BYTES)  # noqa: S108 - inside
        line += _tmpfs_flags(bwrap, "/var/tmp", HOME_BYTES)  # noqa: S108 - inside
        line += _home_flags(bwrap, command)
        line += _toolchain_flags(bwrap, toolchains)
    if command.workspace is not None:
        line += _layer_flags(command.workspace, command.layer, INSIDE, writable=command.writable)
    for host, inside in command.read_only.items():
        line += ["--ro-bind", str(host), inside]
    for host, inside in command.read_write.items():
        line += ["--bind", str(host), inside]
    # Read-only after all mounts: the directories of the mount points are memory of the host without a limit.
    line += [*([] if command.bare else ["--remount-ro", "/dev"]), "--remount-ro", "/"]
    inner = binds.with_identity_check(toolchains.binds, limit_argv(command.argv, command.timeout, processes=True))
    return [*line, "--chdir", _start_directory(command), "--", *inner]


def scratch_of(upper: Path) -> Path:
    """The directory that an overlay needs besides its upper one: beside it, for it must be of the same file system."""
    return upper.parent / f".overlay-{upper.name}"


def _layer_flags(upper: Path, layer: Path | None, inside: str, *, writable: bool) -> list[str]:
    if layer is None:
        return ["--bind" if writable else "--ro-bind", str(upper), inside]
    if not writable:
        return ["--overlay-src", str(layer), "--overlay-src", str(upper), "--ro-overlay", inside]
    return ["--overlay-src", str(layer), "--overlay", str(upper), str(scratch_of(upper)), inside]


def _home_flags(bwrap: Bwrap, command: SandboxCommand) -> list[str]:
    if command.home is None:
        return _tmpfs_flags(bwrap, HOME_INSIDE, HOME_BYTES)
    return _layer_flags(command.home, command.home_layer, HOME_INSIDE, writable=True)


def _variable_flags(command: SandboxCommand, toolchains: Toolchains) -> dict[str, str]:
    variables = {**command_environment(toolchains, network=command.network), **command.env}
    if command.search_path:
        variables["PATH"] = ":".join([*command.search_path, variables["PATH"]])
    return variables


def limit_argv(argv: Sequence[str] | str, timeout: timedelta, *, processes: bool) -> list[str]:
    """Return `argv` behind prlimit(1), with limits that never exceed those of this process."""
    cpu = math.ceil(timeout.total_seconds()) * (os.cpu_count() or 1) + 60
    line = ["prlimit", "--core=0", f"--nofile={_cap_limit(resource.RLIMIT_NOFILE, OPEN_FILES)}"]
    line += [
        f"--fsize={_cap_limit(resource.RLIMIT_FSIZE, FILE_BYTES)}",
        f"--cpu={_cap_limit(resource.RLIMIT_CPU, cpu)}",
    ]
    if processes:
        # Counted by user namespace, so inside the sandbox only: outside it counts all of the person's processes.
        line.append(f"--nproc={_cap_limit(resource.RLIMIT_NPROC, PROCESSES)}")
    return [*line, "--", *shell_argv(argv)]


def shell_argv(argv: Sequence[str] | str) -> list[str]:
    """Return shell text as an argument list; with bash if the machine has it, because agents write bash."""
    if not isinstance(argv, str):
        return list(argv)
    return ["bash", "-c", argv] if Path("/usr/bin/bash").exists() or Path("/bin/bash").exists() else ["sh", "-c", argv]


def small_files() -> dict[str, str]:
    """Return the generated files of /etc by path: they name neither accounts of the host nor its neighbours."""
    return {
        "/etc/passwd": _PASSWD,
        "/etc/group": _GROUP,
        "/etc/hosts": _HOSTS,
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }


def _program_flags() -> list[str]:
    line = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            line += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            line += ["--ro-bind", str(path), str(path)]
    return line


def _etc_flags() -> list[str]:
    line: list[str] = []
    for name in _ETC:
        path = Path("/etc", name)
        if path.exists():
            line += ["--ro-bind", str(path.resolve()), str(path)]
    # Debian keeps the settings of a Java under /etc/java-17-openjdk and links to them from /usr/lib/jvm.
    for path in sorted(Path("/etc").glob("java*-openjdk")):
        line += ["--ro-bind", str(path), str(path)]
    return line


def _toolchain_flags(bwrap: Bwrap, toolchains: Toolchains) -> list[str]:
    """Return the flags for directories outside `/usr`, with an empty one over each directory of Baton's packages."""
    line = binds.mount_flags(toolchains.binds, toolchains.directories)
    for directory in toolchains.directories:
        line += ["--ro-bind", str(directory.resolve()), str(directory)]
    for place in map(str, toolchains.covered_places()):
        line += [*_tmpfs_flags(bwrap, place, 4096), "--remount-ro", place]
    if toolchains.tools:
        line += ["--ro-bind", str(toolchains.tools), engine_python.INSIDE]
        uv = engine_python.uv_program()
        if uv is not None:
            line += ["--ro-bind", str(uv), f"{engine_python.INSIDE}/{engine_python.LAST}/uv"]
    return line


def _tmpfs_flags(bwrap: Bwrap, path: str, size: int) -> list[str]:
    return [*(["--size", str(size)] if bwrap.has_flag("--size") else []), "--tmpfs", path]


def _start_directory(command: SandboxCommand) -> str:
    if command.cwd.startswith("/"):
        return command.cwd
    base = INSIDE if command.workspace is not None else "/tmp"  # noqa: S108 - inside
    return f"{base}/{command.cwd}" if command.cwd else base


def _cap_limit(kind: int, wanted: int) -> int:
    _soft, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
