"""How much room is left on the disk of a home: enough, little (said wherever people look), or too little to begin."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from baton.errors import DiskFull
from baton.settings.core import Settings

_GB = 1_000_000_000


@dataclass(frozen=True)
class Room:
    """The room of a home's disk, in bytes."""

    home: Path
    free: int
    warn: int
    floor: int

    @property
    def low(self) -> bool:
        """Whether somebody should make room soon."""
        return self.free < self.warn

    @property
    def too_low(self) -> bool:
        """Whether no new run may begin."""
        return self.free < self.floor

    @property
    def words(self) -> str:
        """What to say about it, and what helps."""
        said = f"{self.free / _GB:.1f} GB are free at {self.home}"
        if self.too_low:
            said += f", less than the {self.floor / _GB:.1f} GB (BATON_DISK_FLOOR_GB) below which no run begins"
        return f"{said}: make room, for instance with `baton gc`."


def room(settings: Settings) -> Room:
    """The room now; raises OSError where the home cannot be looked at."""
    there = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return Room(settings.home, free, int(settings.disk_warn_gb * _GB), int(settings.disk_floor_gb * _GB))


def require_room_to_begin(settings: Settings) -> None:
    """Raise DiskFull where a run that begins now would soon stand still."""
    found = room(settings)
    if found.too_low:
        raise DiskFull(f"No run is begun: {found.words}")
