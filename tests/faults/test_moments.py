"""SIGKILL of the worker at every moment: the run ends with the same tree, and no committed model call is made again."""

import pytest

from tests.faults.conftest import Scenes
from tests.faults.moments import BEGUN, DONE, INSIDE, LOSSES, MODEL, TOOLS
from tests.faults.surviving import Case, survive_all


@pytest.mark.parametrize(
    "cases", [TOOLS, MODEL, LOSSES, DONE, INSIDE], ids=["tools", "model", "losses", "done", "inside"]
)
async def test_a_killed_worker_is_not_noticed(scenes: Scenes, tree: str, cases: list[Case]) -> None:
    await survive_all(scenes, cases, tree)


@pytest.mark.soak
async def test_a_worker_killed_as_a_step_begins_is_not_noticed(scenes: Scenes, tree: str) -> None:
    """Nothing was done yet, so there is little to go wrong: these moments are left to the long runs."""
    await survive_all(scenes, BEGUN, tree)
