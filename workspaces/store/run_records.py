"""A run's own files as records, with the reason if one is damaged.

The engine wrote their bytes, but after a disk fault or an edit by hand they can be of any form.
"""

import json
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from baton.budget.caps import Caps
from baton.errors import StoreDamaged
from baton.records.run import Decision, RunDocument, RunRequest
from baton.steps.store_paths import CONFIG, DECISIONS, LIMITS, MODELS, REQUEST, SAVED, STATE
from workspaces.project.baton_toml import ProjectConfig


class PinnedRequest(RunRequest):
    """`request.json`: the request of a run, and the commit that the run began from."""

    base_commit: str = Field(pattern=r"^[0-9a-f]{40}$")


_KINDS: dict[str, TypeAdapter[Any]] = {
    STATE: TypeAdapter(RunDocument),
    DECISIONS: TypeAdapter(list[Decision]),
    REQUEST: TypeAdapter(PinnedRequest),
    CONFIG: TypeAdapter(ProjectConfig),
    LIMITS: TypeAdapter(Caps),
    MODELS: TypeAdapter(dict[str, str]),
    SAVED: TypeAdapter(dict[str, str]),
}
_ADVICE = "`baton doctor --store --repair` brings back the last one that was whole."


def read_json(data: bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError for any other text, and for one that is nested too deeply."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_record(name: str, data: bytes) -> Any:
    """Parse a run's own file by its name as the record that it is. Raises ValueError, with the reason, if it is
    invalid.
    """
    kind = _KINDS.get(name)
    if kind is None:
        return read_json(data)
    try:
        return kind.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error


def find_fault(name: str, data: bytes) -> str | None:
    """Return the reason for which a run's own file is invalid; None if it is valid."""
    try:
        read_record(name, data)
    except ValueError as error:
        return str(error)
    return None


def damaged_record(name: str, run: str, reason: object) -> StoreDamaged:
    """Return the error for a file of a run that cannot be read."""
    return StoreDamaged(f"{name} of the run {run} is damaged ({str(reason)[:200]}): {_ADVICE}")
