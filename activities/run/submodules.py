"""The submodules of a run as they were found at its start, and their contents for workspaces and gates."""

import json

from activities.runtime.stores import run_file
from baton.steps.store_paths import SUBMODULES
from workspaces.store.store import Store
from workspaces.store.submodules import Filling, Submodule, lay_out


async def recorded(store: Store, run: str) -> list[Submodule]:
    """Return the submodules of a run's base, as they were at its start."""
    data = await run_file(store, run, SUBMODULES)
    return [Submodule.model_validate(one) for one in json.loads(data)] if data else []


async def submodules_of(store: Store, run: str) -> dict[str, Filling]:
    """Return the contents of the fetched submodules by path; fetch them again if another host had them."""
    return await lay_out(store, await recorded(store, run))
