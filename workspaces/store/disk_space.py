"""Free space on the disk of a home: enough, little (said wherever people look), or too little to begin a run."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from baton.errors import DiskFull
from baton.settings.core import Settings

_GB = 1_000_000_000


@dataclass(frozen=True)
class Room:
    """The free space on a home's disk and its two limits, in bytes."""

    home: Path
    free: int
    warn: int
    floor: int

    @property
    def low(self) -> bool:
        """Whether there is so little free space that a person should free some soon."""
        return self.free < self.warn

    @property
    def too_low(self) -> bool:
        """Whether there is too little free space for a new run."""
        return self.free < self.floor

    @property
    def words(self) -> str:
        """The free space as a sentence, with a remedy."""
        said = f"{self.free / _GB:.1f} GB are free at {self.home}"
        if self.too_low:
            said += f", less than the {self.floor / _GB:.1f} GB (BATON_DISK_FLOOR_GB) below which no run begins"
        return f"{said}: free some space, for instance with `baton gc`."


def room(settings: Settings) -> Room:
    """Measure the free space. Raises OSError if the home's disk cannot be examined."""
    there = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return Room(settings.home, free, int(settings.disk_warn_gb * _GB), int(settings.disk_floor_gb * _GB))


def require_room_to_begin(settings: Settings) -> None:
    """Raise DiskFull if a run that begins now would soon run out of space."""
    found = room(settings)
    if found.too_low:
        raise DiskFull(f"No run is begun: {found.words}")
