"""Homes with characters in their path that git's own lists of paths are made of."""

from pathlib import Path

import pytest

from tests.workspaces.conftest import AT, Lab, Project, contents
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.delivery.merge import merge_commits, project_commit
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store


@pytest.mark.parametrize("name", ["a:b", 'a "quoted" one', "back\\slash", "'; touch x; '", "#comment, ünïcode"])
async def test_a_home_may_have_any_name(tmp_path: Path, project: Project, machine_sandbox: Sandbox, name: str) -> None:
    home = tmp_path / name / "home"
    project.commit({".gitattributes": b"*.txt text\n"})
    store = await Store.open(home, str(project.path))
    base = await store.fetch_base(None)
    lane = Lane("run-1", "task-1")
    checkpoint = await Checkpoints(store).begin_lane(lane, base.commit, at=AT)
    lab = Lab(home, project, store, lane, machine_sandbox, checkpoint, base.commit)
    for text in (b"one\r\n", b"two\r\n"):
        workspace = await lab.workspace()
        workspace.mark_dirty()
        (workspace.path / "src" / "new.txt").write_bytes(text)
        await lab.record(workspace, await workspace.take_snapshot(None))
    # An attempt that ended in the middle: the next one finds the workspace as it was.
    before = contents(workspace.path)
    workspace.mark_dirty()
    (workspace.path / "README.md").unlink()
    workspace = await lab.workspace()
    assert contents(workspace.path) == before

    made = await project_commit(store, lane, lab.checkpoint, parent=base.commit, message="Do it\n", at=AT)
    merged = await merge_commits(store, base=base.commit, ours=base.commit, theirs=made)
    assert merged.tree == store.find_tree(made)
    await store.check_out(made, tmp_path / "out")
    assert (tmp_path / "out" / "src" / "new.txt").read_bytes() == b"two\n"
