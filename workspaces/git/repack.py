"""Packs the loose objects of a store's repository from time to time, so that they stay few: `git repack --geometric`.

git takes every loose object into the new pack, also those that no ref names yet, and removes a file only once a synced
pack has its object: a step that has just written objects loses none, whenever this comes. Packs go into a larger one
while they have less than half of its objects, so that each object is copied a few times in all.
https://git-scm.com/docs/git-repack#Documentation/git-repack.txt---geometricltfactorgt
"""

import math
import time
from datetime import timedelta
from pathlib import Path

from baton.errors import BatonError
from baton.logs import get_logger
from system.file_lock import held_if_free
from workspaces.git.errors import clean_text
from workspaces.git.run import call_git

MANY = 2_048
"""Loose objects from which on they are packed; some 200 checkpoints."""
_RETRY_AFTER = timedelta(hours=1)
_SAMPLE = "17"
"""The directory of objects whose number stands for all 256, as `git gc --auto` has it."""

_failed: dict[Path, float] = {}
"""The moment of the last failure by repository."""


def gc_lock(repository: Path) -> Path:
    """Return the lock for removing objects or packs from a store's repository."""
    return repository.parent / "gc.lock"


def is_due(repository: Path) -> bool:
    """Whether a repository has so many loose objects that they should be packed; an estimate."""
    return sum(256 for _ in (repository / "objects" / _SAMPLE).glob("*")) >= MANY


async def repack_loose(repository: Path) -> bool:
    """Pack the loose objects of a repository; returns whether that was done.

    A no-op while another process repacks or repairs. A failure, for want of disk space or because an object is damaged,
    is logged, and not tried again for an hour: all objects are there as before.
    """
    if time.monotonic() < _failed.get(repository, -math.inf) + _RETRY_AFTER.total_seconds():
        return False
    with held_if_free(gc_lock(repository)) as free:
        if not free:
            return False
        try:
            await call_git(["repack", "--geometric=2", "-d", "-l", "-n", "-q"], git_dir=repository)
        except BatonError as error:
            _failed[repository] = time.monotonic()
            get_logger(__name__).warning("repack", repository=str(repository), error=clean_text(str(error)))
            return False
        return True
