"""Checkpoints: the same id on a retry, zombies fenced off, transcripts beside the workspace, a new base on top."""

from datetime import timedelta

import pytest

from baton.errors import StaleAttempt, WorkspaceError
from tests.workspaces.conftest import AT, Lab
from workspaces.checkpoints.checkpoints import Lane
from workspaces.git.run import call_git


async def record(lab: Lab, expected: str, name: str, data: bytes = b"{}") -> str:
    return await lab.checkpoints.record_checkpoint(
        lab.lane, expected=expected, files={f"transcript/{name}.json": data}, workspace=None, summary=name, at=AT
    )


async def test_a_lane_begins_once(lab: Lab) -> None:
    again = await lab.checkpoints.begin_lane(lab.lane, lab.base, at=AT + timedelta(hours=1))
    assert again == lab.checkpoint
    later = await record(lab, lab.checkpoint, "00001")
    assert await lab.checkpoints.begin_lane(lab.lane, lab.base, at=AT) == later, "what exists is given back"
    assert lab.checkpoints.project_commit(later) == lab.base
    other = lab.project.commit({"z": b"z"})
    await lab.store.fetch_base(None)
    with pytest.raises(WorkspaceError, match="begun from another commit"):
        await lab.checkpoints.begin_lane(lab.lane, other, at=AT)


async def test_the_workspace_of_checkpoint_0_is_the_projects_tree(lab: Lab) -> None:
    assert lab.checkpoints.workspace_tree(lab.checkpoint) == lab.project.git("rev-parse", "HEAD^{tree}")


async def test_a_retry_makes_the_same_checkpoint(lab: Lab) -> None:
    first = await record(lab, lab.checkpoint, "00001")
    assert await record(lab, lab.checkpoint, "00001") == first
    second = await record(lab, first, "00002")
    with pytest.raises(StaleAttempt):
        await record(lab, lab.checkpoint, "00001", b"another answer")
    with pytest.raises(StaleAttempt):
        await record(lab, lab.checkpoint, "00001")
    assert await lab.checkpoints.read_head(lab.lane) == second


async def test_history_is_in_order(lab: Lab) -> None:
    one = await record(lab, lab.checkpoint, "00001")
    two = await record(lab, one, "00002")
    history = await lab.checkpoints.list_history(lab.lane)
    assert [info.commit for info in history] == [lab.checkpoint, one, two]
    assert [info.parent for info in history] == [None, lab.checkpoint, one]
    assert history[2].summary == "00002"
    assert history[2].at == AT
    assert await lab.checkpoints.list_history(Lane("run-1", "other")) == []


async def test_one_file_a_turn_and_nothing_is_lost(lab: Lab) -> None:
    head = lab.checkpoint
    for number in range(5):
        head = await record(lab, head, f"{number:05d}", b"x" * number)
    assert await lab.store.list_paths(head, "transcript") == [f"transcript/{number:05d}.json" for number in range(5)]
    assert await lab.store.read_file(head, "transcript/00003.json") == b"xxx"
    assert lab.checkpoints.workspace_tree(head) == lab.checkpoints.workspace_tree(lab.checkpoint)
    await call_git(["fsck", "--strict", "--full"], git_dir=lab.store.path)


@pytest.mark.parametrize("path", ["workspace/x", "meta.json", "base", "../x", "a/../b", "/etc/x", "a//b", ".git/x"])
async def test_files_stay_in_their_place(lab: Lab, path: str) -> None:
    with pytest.raises(WorkspaceError):
        await lab.checkpoints.record_checkpoint(
            lab.lane, expected=lab.checkpoint, files={path: b""}, workspace=None, summary="x", at=AT
        )
    assert await lab.checkpoints.read_head(lab.lane) == lab.checkpoint


@pytest.mark.parametrize(("run", "task"), [("../x", "t"), ("r", "a/b"), ("", "t"), ("r", "..")])
def test_lanes_have_safe_names(run: str, task: str) -> None:
    with pytest.raises(WorkspaceError):
        Lane(run, task)


async def test_a_new_base_on_top_keeps_the_transcript(lab: Lab) -> None:
    old = await record(lab, lab.checkpoint, "00001")
    base = lab.project.commit({"new.txt": b"new"})
    await lab.store.fetch_base(None)
    new = await lab.checkpoints.begin_lane(lab.lane, base, at=AT, replace=old)
    assert await lab.store.read_file(new, "workspace/new.txt") == b"new"
    assert await lab.store.read_file(new, "transcript/00001.json") == b"{}"
    assert lab.checkpoints.project_commit(new) == base
    assert await lab.checkpoints.begin_lane(lab.lane, base, at=AT, replace=old) == new, "a retry"
    with pytest.raises(StaleAttempt):
        await lab.checkpoints.begin_lane(lab.lane, lab.base, at=AT, replace=old)


async def test_submodules_stand_in_the_meta_data_and_never_in_the_tree(lab: Lab) -> None:
    commit = lab.project.git("rev-parse", "HEAD")
    lab.project.git("update-index", "--add", "--cacheinfo", f"160000,{commit},deps/lib")
    lab.project.git("commit", "--quiet", "-m", "a submodule")
    await lab.rebase("run-2")
    assert lab.checkpoints.read_metadata(lab.checkpoint).gitlinks == {"deps/lib": commit}
    assert "deps" not in await lab.store.list_paths(lab.checkpoint, "workspace")
    workspace = await lab.workspace()
    assert (workspace.path / "deps/lib").is_dir()
