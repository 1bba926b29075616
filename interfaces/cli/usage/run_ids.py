"""Shell completion of run ids from the stores of this home. Reads names of refs; starts and imports nothing heavy."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from baton.identifiers import workflow_id_of

_PACKED = re.compile(r"^[0-9a-f]{40} refs/baton/([^/\s]+)/run/head$", re.MULTILINE)


def complete_run_id(incomplete: str) -> list[str]:
    """Return the ids of runs that begin with a text, those that changed last first."""
    try:
        return [run for run in list_run_ids(_find_home()) if run.startswith(incomplete)]
    except (OSError, RuntimeError, ValueError):
        return []  # a shell completes nothing where a home cannot be read


def list_run_ids(home: Path) -> list[str]:
    """Return the ids of all runs in the stores of a home, those that changed last first."""
    changed: dict[str, float] = {}
    for store in (home / "stores").glob("*/store.git"):
        for key, when in _read_refs(store):
            changed[key] = max(when, changed.get(key, 0.0))
    return [workflow_id_of(key) for key in sorted(changed, key=lambda key: -changed[key])]


def _read_refs(store: Path) -> Iterator[tuple[str, float]]:
    packed = store / "packed-refs"
    if packed.is_file():
        when = packed.stat().st_mtime
        yield from ((key, when) for key in _PACKED.findall(packed.read_text(errors="replace")))
    if (store / "refs/baton").is_dir():
        for entry in (store / "refs/baton").iterdir():
            head = entry / "run/head"
            if head.is_file():
                yield entry.name, head.stat().st_mtime


def _find_home() -> Path:
    """Return the home as `Settings.home` gives it, without the time that reading all settings takes."""
    if given := os.environ.get("BATON_HOME"):
        return Path(given).expanduser()
    from platformdirs import user_data_dir  # only where BATON_HOME is not set: completion must be fast

    return Path(user_data_dir("baton", appauthor=False))
