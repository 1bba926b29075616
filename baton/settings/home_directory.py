"""The directory of Baton's own data, also for a user who has no home directory or may not write to it."""

import os
from pathlib import Path

import platformdirs

from baton.errors import NoHome


def find_default_home() -> Path:
    """Return the directory of this user's data; raises NoHome if the user has no home directory.

    A uid that is not in /etc/passwd (`docker -u`, OpenShift, LDAP) has none unless `HOME` says so.
    """
    try:
        home = Path(platformdirs.user_data_dir("baton", appauthor=False))
    except RuntimeError as error:
        raise NoHome(
            f"This user (uid {os.getuid()}) has no home directory: set BATON_HOME to a directory for Baton's data."
        ) from error
    return home


def require_writable(home: Path, *, named: bool) -> None:
    """Raise NoHome if this user can neither write to a home nor make it. `named`: BATON_HOME names it.

    A read-only file system is no error here: commands that only read work on it.
    """
    place = home
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if os.access(place, os.W_OK | os.X_OK) or _is_read_only(place):
        return
    raise NoHome(
        f"{home} cannot be written by this user (uid {os.getuid()}): set BATON_HOME to "
        + ("another directory, or give that one to this user." if named else "a directory that can.")
    )


def _is_read_only(place: Path) -> bool:
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False
