"""Directories nested thousands deep: everything that walks or removes them ends, and what is not kept is said."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workspaces.conftest import Lab, contents
from tests.workspaces.deep import nest
from workspaces.survey import DEEPEST

DEPTHS = [1_200, 5_000, 100_000]


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """As many descriptors as a small machine gives a process beside those that are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("depth", DEPTHS)
async def test_a_workspace_with_deep_directories_goes_on(lab: Lab, few_descriptors: None, depth: int) -> None:
    workspace = await lab.workspace()
    before = contents(workspace.path)
    workspace.mark_dirty()
    nest(workspace.path, depth)
    (workspace.path / "good").write_text("x")
    snapshot = await workspace.snapshot(None)
    top = "/".join(["d"] * (DEEPEST + 1))
    assert "good" in snapshot.changed
    assert snapshot.unkept == {top: "deep"}
    assert snapshot.left_out == (top,)
    back = await workspace.put_back(snapshot, snapshot.left_out)
    assert back.left_out == ()
    assert not (workspace.path / "d").exists()
    nest(workspace.path, depth, "again")
    workspace = await lab.workspace()
    assert contents(workspace.path) == before
