"""Rules for the directories of the machine that may be mounted for commands of agents and gates, by path alone.

`refuse_bind` refuses paths that cannot be a toolchain, also in a repository's `baton.toml`. `refuse_directory` refuses
the directories that are never mounted, too, so that the setting of a person is held to them.
"""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

SECRET_NAMES = frozenset(
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

_FORBIDDEN = frozenset(
    PurePosixPath("/", name)
    for name in ("", "root", "home", "etc", "proc", "sys", "dev", "run", "var", "tmp", "boot", "mnt", "media", "srv")
)
"""Directories that are never mounted as a whole."""

_CLOSED = tuple(PurePosixPath(path) for path in ("/etc", "/proc", "/sys", "/dev", "/run", "/boot", "/var/run"))
"""Directories that are never mounted, nor any directory below them."""

_SHARED = tuple(PurePosixPath(path) for path in ("/tmp", "/var", "/srv", "/lost+found"))  # noqa: S108 - refused here
"""Directories of running services and of all accounts: sockets, data, checkouts. No toolchain lies there."""

_OF_SANDBOX = tuple(PurePosixPath(path) for path in ("/workspace", "/baton"))
"""Directories of the sandbox itself, which a mount would hide."""

_PERSONS = range(1_000, 60_000)
_ACCOUNTS = Path("/etc/passwd")
_ACCOUNT = re.compile(r"[^:]*:[^:]*:(\d{1,10}):[^:]*:[^:]*:(/[^:]*):[^:]*")


def refuse_bind(text: str, *, names: bool = True) -> str | None:
    """Return the reason why a directory may not be mounted for commands; None if it may. Pure."""
    path = PurePosixPath(text)
    if "\0" in text or not text.startswith("/") or ".." in path.parts:
        return "must be an absolute path without `..`"
    path = PurePosixPath("/" + text.strip("/"))
    if path in _FORBIDDEN or (len(path.parts) == 3 and path.parts[1] == "home"):
        return "holds more than a toolchain; name the toolchain's own directory"
    if any(path.is_relative_to(closed) for closed in _CLOSED):
        return "lies where the system keeps its own data"
    if names and (secret := next((part for part in path.parts if part.lower() in SECRET_NAMES), None)):
        return f"may hold secrets ({secret})"
    return None


def refuse_directory(
    text: str, *, baton_home: Path | None, own_home: Path | None, homes: Iterable[Path] = ()
) -> str | None:
    """Return the reason why a directory is never mounted, even on a person's request; None if it may be. Pure.

    `own_home` is the home directory of this account, `homes` are those of others.
    """
    if fault := refuse_bind(text):
        return fault
    path = PurePosixPath("/" + text.strip("/"))
    if any(path.is_relative_to(place) for place in _SHARED):
        return "lies where services and all accounts keep their data"
    if any(path.is_relative_to(place) for place in _OF_SANDBOX):
        return "would hide a directory of the sandbox itself"
    if own_home is not None and own_home.is_relative_to(path):
        return "holds a home directory"
    below_own = own_home is not None and path.is_relative_to(own_home)
    if not below_own and (path.is_relative_to("/root") or path.is_relative_to("/home")):
        return "lies in the home directory of another account"
    for home in homes:
        if home != own_home and (home.is_relative_to(path) or (path.is_relative_to(home) and not below_own)):
            return "holds the home directory of another account, or lies in it"
    if baton_home is not None and (baton_home.is_relative_to(path) or path.is_relative_to(baton_home)):
        return "holds Baton's own data"
    return None


def refuse_for_this_account(directory: Path, *, baton_home: Path | None) -> str | None:
    """Apply `refuse_directory` for the account of this process, to the path as written and behind its links."""
    faults = (
        refuse_directory(
            str(path),
            baton_home=None if baton_home is None else baton_home.resolve(),
            own_home=find_own_home(),
            homes=_list_homes(),
        )
        for path in dict.fromkeys([directory, directory.resolve()])
    )
    return next(filter(None, faults), None)


def find_own_home() -> Path | None:
    """Return the home directory of the account of this process; None if it has none of its own."""
    try:
        home = Path.home().resolve()
    except (RuntimeError, OSError):
        return None
    return None if home == Path("/") else home


def _list_homes() -> list[Path]:
    """Return the home directories of persons in /etc/passwd; a directory service is not asked, for it may be slow."""
    try:
        lines = _ACCOUNTS.read_text(errors="replace").splitlines()[:10_000]
    except OSError:
        return []
    found = [match for line in lines if (match := _ACCOUNT.fullmatch(line)) and int(match[1]) in _PERSONS]
    return [home for match in found if len((home := Path(match[2])).parts) > 2]
