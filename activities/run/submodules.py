"""The submodules of a run: what was found and fetched when it began, and their contents for workspaces and gates."""

import json

from activities.runtime.stores import run_file
from workspaces.store.store import Store
from workspaces.store.submodules import Filling, Submodule, lay_out

SUBMODULES = "submodules.json"
"""In the run's own files: a person's settings of the moment when the run began."""


async def recorded(store: Store, run: str) -> list[Submodule]:
    """The submodules of a run's base, as they were when it began."""
    data = await run_file(store, run, SUBMODULES)
    return [Submodule.model_validate(one) for one in json.loads(data)] if data else []


async def submodules_of(store: Store, run: str) -> dict[str, Filling]:
    """The contents of those that were fetched; fetched again where another host did that."""
    return await lay_out(store, await recorded(store, run))
