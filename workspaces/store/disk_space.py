"""Free space on the disk of a home: enough, little (said wherever people look), or too little to begin a run."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from baton.errors import DiskFull
from baton.settings.core import Settings

_GB = 1_000_000_000


@dataclass(frozen=True)
class DiskSpace:
    """The free space on a home's disk and its two limits, in bytes."""

    home: Path
    free: int
    warn: int
    floor: int

    @property
    def is_low(self) -> bool:
        """Whether there is so little free space that a person should free some soon."""
        return self.free < self.warn

    @property
    def is_too_low(self) -> bool:
        """Whether there is too little free space for a new run."""
        return self.free < self.floor

    @property
    def describe_space(self) -> str:
        """The free space as a sentence, with a remedy."""
        said = f"{self.free / _GB:.1f} GB are free at {self.home}"
        if self.is_too_low:
            said += f", less than the {self.floor / _GB:.1f} GB (BATON_DISK_FLOOR_GB) below which no run begins"
        return f"{said}: free some space, for instance with `baton gc`."


def measure_disk_space(settings: Settings) -> DiskSpace:
    """Measure the free space. Raises OSError if the home's disk cannot be examined."""
    there = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    return DiskSpace(settings.home, free, int(settings.disk_warn_gb * _GB), int(settings.disk_floor_gb * _GB))


def require_disk_space(settings: Settings) -> None:
    """Raise DiskFull if a run that begins now would soon run out of space."""
    found = measure_disk_space(settings)
    if found.is_too_low:
        raise DiskFull(f"No run is begun: {found.describe_space}")
