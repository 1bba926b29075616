"""The submodules of a run as they were found at its start, and their contents for workspaces and gates."""

import json

from activities.runtime.stores import read_run_file
from baton.steps.store_paths import SUBMODULES
from workspaces.store.store import Store
from workspaces.store.submodules import Submodule, SubmoduleContents, lay_out_submodules


async def recorded_submodules(store: Store, run: str) -> list[Submodule]:
    """Return the submodules of a run's base, as they were at its start."""
    data = await read_run_file(store, run, SUBMODULES)
    return [Submodule.model_validate(one) for one in json.loads(data)] if data else []


async def fetched_submodules(store: Store, run: str) -> dict[str, SubmoduleContents]:
    """Return the contents of the fetched submodules by path; fetch them again if another host had them."""
    return await lay_out_submodules(store, await recorded_submodules(store, run))
