"""Where Baton's own data lies, also for a user who has no home or may not write there."""

import os
from pathlib import Path

import platformdirs

from baton.errors import NoHome


def default_home() -> Path:
    """The directory of this user's data; NoHome where the user has no home directory.

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
    """Raise NoHome where this user may not write to a home, or not make it. `named`: by BATON_HOME.

    A file system that is read-only is another matter: what the home holds can be looked at all the same.
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
