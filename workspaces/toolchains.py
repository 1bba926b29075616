"""Which of the machine's directories the sandbox shows, and the environment that commands find there.

The system's `/usr` is always there. Toolchains elsewhere (under a home directory, `/opt`) are invisible unless they
are bound: Baton's own interpreter by default, others by `[sandbox] binds` in `baton.toml`.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from baton.errors import ConfigurationError

SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

HOME_INSIDE = "/home/agent"

_FORBIDDEN = frozenset(
    PurePosixPath("/", name)
    for name in ("", "root", "home", "etc", "proc", "sys", "dev", "run", "var", "tmp", "boot", "mnt", "media", "srv")
)
"""Directories that are never shown as a whole."""

_CLOSED = tuple(PurePosixPath(path) for path in ("/etc", "/proc", "/sys", "/dev", "/run", "/boot", "/var/run"))
"""Directories that nothing below may be shown of either."""

_SECRET_NAMES = frozenset(
    [
        ".ssh",
        ".gnupg",
        ".aws",
        ".azure",
        ".kube",
        ".docker",
        ".config",
        ".claude",
        ".anthropic",
        ".netrc",
        ".git-credentials",
        ".password-store",
        ".npmrc",
        ".pypirc",
        ".pgpass",
        ".my.cnf",
        ".vault-token",
        ".gem",
        ".m2",
        ".mozilla",
        ".thunderbird",
        ".env",
        ".git",
        ".secrets",
        "secrets",
        "credentials",
        "credentials.toml",
        "credentials.json",
        "keyrings",
        "gcloud",
        "id_rsa",
        "id_ed25519",
        "id_ecdsa",
    ]
)


@dataclass(frozen=True)
class Toolchains:
    """Directories outside `/usr` that are mounted read-only at their own path, and whose `bin` is searched first."""

    directories: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out, and why."""

    @property
    def path(self) -> str:
        """The search path for programs."""
        return ":".join([*(str(directory / "bin") for directory in self.directories), *SYSTEM_PATH])

    def with_binds(self, binds: Sequence[str], *, home: Path | None = None) -> "Toolchains":
        """These and the directories that `baton.toml` names; raises ConfigurationError for one that may not be."""
        added: list[Path] = []
        for text in binds:
            directory = Path(text)
            fault = refuse_bind(text) or _refuse_on_disk(directory, home)
            if fault:
                raise ConfigurationError(f"[sandbox] binds in baton.toml: {text!r} {fault}.")
            added += _with_target(directory)
        return Toolchains(tuple(dict.fromkeys([*added, *self.directories])), self.notes)


def own_toolchains(*, home: Path | None = None) -> Toolchains:
    """The interpreter that Baton itself runs on, so that `python` and `pytest` work on a fresh machine."""
    found: list[Path] = []
    notes: list[str] = []
    executable = Path(sys.executable).resolve()
    for prefix in (Path(sys.prefix), Path(sys.base_prefix), executable.parent.parent):
        if not prefix.is_absolute() or not prefix.is_dir() or prefix.resolve().is_relative_to("/usr"):
            continue
        fault = refuse_bind(str(prefix), names=False) or _refuse_on_disk(prefix, home, names=False)
        if fault:
            notes.append(f"The interpreter under {prefix} is not visible in the sandbox: it {fault}.")
        else:
            found += _with_target(prefix)
    return Toolchains(tuple(dict.fromkeys(found)), tuple(notes))


def refuse_bind(text: str, *, names: bool = True) -> str | None:
    """Why a directory of this name may not be shown to commands; None where nothing speaks against it. Pure."""
    path = PurePosixPath(text)
    if "\0" in text or not text.startswith("/") or ".." in path.parts:
        return "must be an absolute path without `..`"
    path = PurePosixPath("/" + text.strip("/"))
    if path in _FORBIDDEN or (len(path.parts) == 3 and path.parts[1] == "home"):
        return "holds more than a toolchain; name the toolchain's own directory"
    if any(path.is_relative_to(closed) for closed in _CLOSED):
        return "lies where the system keeps its own data"
    if names and (secret := next((part for part in path.parts if part.lower() in _SECRET_NAMES), None)):
        return f"may hold secrets ({secret})"
    return None


def _refuse_on_disk(directory: Path, home: Path | None, *, names: bool = True) -> str | None:
    """The same for what the name really leads to: links followed, the engine's own directory, what lies inside."""
    try:
        target = directory.resolve(strict=True)
        entries = {entry.name.lower() for entry in target.iterdir()}
    except (OSError, RuntimeError):
        return "is not a directory that can be read"
    if fault := refuse_bind(str(target), names=names):
        return fault
    users = _home_of_user()
    if users is not None and users.is_relative_to(target):
        return "holds a home directory"
    if home is not None and (home.resolve().is_relative_to(target) or target.is_relative_to(home.resolve())):
        return "holds Baton's own data"
    if names and (secrets := sorted(entries & _SECRET_NAMES)):
        return f"holds {secrets[0]}, which may be a secret"
    return None


def _home_of_user() -> Path | None:
    try:
        return Path.home().resolve()
    except (RuntimeError, OSError):
        return None


def _with_target(directory: Path) -> Iterable[Path]:
    """A directory under its own name and, where that is a link, under its target's name too."""
    return dict.fromkeys([directory, directory.resolve()])


def environment(toolchains: Toolchains, *, network: bool, home: str = HOME_INSIDE, tmp: str = "/tmp") -> dict[str, str]:  # noqa: S108 - the sandbox's own /tmp
    """The complete environment of a command, made of constants: nothing is taken over from this process."""
    names = {
        "PATH": toolchains.path,
        "HOME": home,
        "TMPDIR": tmp,
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
        # Test runners that would watch for changes or ask questions do neither under CI.
        "CI": "1",
        # A cached .pyc counts as fresh when size and mtime (in seconds) fit. Two checkpoints restored within one second
        # can fit with different contents: a verdict on code that is not there. So none are written.
        # https://docs.python.org/3/reference/import.html#cached-bytecode-invalidation
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "npm_config_update_notifier": "false",
        "npm_config_fund": "false",
        "npm_config_audit": "false",
    }
    if not network:
        # Without a network every retry is minutes of silence before the same failure.
        names |= {
            "PIP_RETRIES": "0",
            "PIP_DEFAULT_TIMEOUT": "5",
            "UV_OFFLINE": "1",
            "npm_config_fetch_retries": "0",
            "YARN_HTTP_RETRY": "0",
            "CARGO_NET_RETRY": "0",
            "GOPROXY": "off",
            "BUNDLE_RETRY": "0",
        }
    return names
