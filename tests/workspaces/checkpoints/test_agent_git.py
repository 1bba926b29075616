"""The agent's own git: what it committed, stashed and tagged is there after a rebuild, here and on another host."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from baton.settings.core import SandboxMode
from baton.steps.store_paths import GIT_PACK, GIT_STATE
from tests.workspaces.conftest import AT, Lab, contents, run_git
from workspaces.checkpoints import agent_pack, agent_refs
from workspaces.checkpoints.agent_refs import is_ref, new_state, parse_state
from workspaces.checkpoints.checkpoints import WorkspaceSnapshot
from workspaces.checkpoints.workspace import Workspace
from workspaces.maintenance import stale_files
from workspaces.sandbox.sandbox import CommandResult, Sandbox, SandboxCommand
from workspaces.store.store import Store


@dataclass(frozen=True)
class Counted:
    """A sandbox that counts what is run in it."""

    sandbox: Sandbox
    ran: list[str]

    async def run_command(self, command: SandboxCommand) -> CommandResult:
        self.ran.append(" ".join(command.argv))
        return await self.sandbox.run_command(command)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sandbox, name)


def work_with_git(work: Path) -> None:
    """Several stashes, one of them with what is staged and what is untracked; commits, branches, tags."""
    (work / "README.md").write_text("first stash\n")
    run_git(work, "stash", "push", "-qm", "first")
    (work / "src/app.py").write_text("staged\n")
    run_git(work, "add", "src/app.py")
    (work / "README.md").write_text("second stash\n")
    (work / "untracked.txt").write_text("untracked\n")
    run_git(work, "stash", "push", "-qum", "second: with odd \"words\" and 'quotes'")
    run_git(work, "branch", "idle")
    run_git(work, "checkout", "-qb", "topic/ü")
    (work / "new.txt").write_text("new\n")
    run_git(work, "add", "new.txt")
    run_git(work, "commit", "-qm", "on a branch")
    run_git(work, "tag", "-am", "annotated", "v1")
    run_git(work, "tag", "light", "HEAD~1")
    run_git(work, "pack-refs", "--all")


def looked_at(work: Path) -> dict[str, str]:
    """What the agent sees of its git."""
    commands = (
        "stash list --format=%gd%H%gs",
        "for-each-ref --format=%(refname)%(objectname)",
        "log --all --oneline",
        "symbolic-ref HEAD",
        "rev-parse HEAD",
        "status --porcelain",
    )
    return {command: run_git(work, *command.split()) for command in commands}


async def elsewhere(lab: Lab, tmp_path: Path) -> Lab:
    """The same lane on a host that has nothing but the store."""
    other = tmp_path / "other"
    shutil.copytree(lab.home / "stores", other / "stores")
    store = await Store.open(other, lab.store.repo)
    return Lab(other, lab.project, store, lab.lane, lab.sandbox, lab.checkpoint, lab.base)


async def recorded(lab: Lab, name: str = "turn") -> tuple[Workspace, WorkspaceSnapshot]:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    snapshot = await workspace.take_snapshot(None)
    await lab.record(workspace, snapshot, name)
    return workspace, snapshot


async def test_stashes_commits_branches_and_tags_are_there_after_a_rebuild(lab: Lab, tmp_path: Path) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    work_with_git(workspace.path)
    seen, files = looked_at(workspace.path), contents(workspace.path)
    assert len(seen["stash list --format=%gd%H%gs"].splitlines()) == 2
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.not_kept == ()
    await lab.record(workspace, snapshot)
    assert set(await lab.store.list_paths(lab.checkpoint, "workspace")) == {
        f"workspace/{path}" for path in files if files[path][0] == "file"
    }

    await (await lab.workspace()).remove_files()
    for place in (lab, await elsewhere(lab, tmp_path)):
        again = await place.workspace()
        assert again.notices == []
        assert stale_files.in_workspace(again.path.parent) == []
        assert looked_at(again.path) == seen
        assert contents(again.path) == files
        run_git(again.path, "fsck", "--strict")
        run_git(again.path, "stash", "pop", "--index", "-q")
        assert (again.path / "untracked.txt").read_text() == "untracked\n"
        assert run_git(again.path, "diff", "--cached", "--name-only") == "src/app.py"
        run_git(again.path, "checkout", "-qf")
        run_git(again.path, "clean", "-qfd")
        run_git(again.path, "stash", "pop", "-q")
        assert (again.path / "README.md").read_text() == "first stash\n"
        assert run_git(again.path, "stash", "list") == ""
        await again.remove_files()


async def test_where_a_person_waived_the_sandbox_it_works_too(lab: Lab) -> None:
    lab.sandbox = await Sandbox.open_sandbox(SandboxMode.NONE)
    workspace = await lab.workspace()
    workspace.mark_dirty()
    work_with_git(workspace.path)
    seen = looked_at(workspace.path)
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.not_kept == ()
    await lab.record(workspace, snapshot)
    await workspace.remove_files()
    assert looked_at((await lab.workspace()).path) == seen


async def test_an_attempt_that_was_killed_leaves_the_git_of_the_last_checkpoint(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    work_with_git(workspace.path)
    seen = looked_at(workspace.path)
    await lab.record(workspace, await workspace.take_snapshot(None))
    workspace.mark_dirty()
    run_git(workspace.path, "stash", "pop", "-q")
    run_git(workspace.path, "branch", "-D", "idle")
    run_git(workspace.path, "commit", "-qam", "lost")
    # Killed here; the next attempt finds files and refs of the checkpoint together.
    again = await lab.workspace()
    assert looked_at(again.path) == seen


async def test_commits_stay_over_turns_and_what_is_undone_goes(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "README.md").write_text("committed\n")
    run_git(workspace.path, "commit", "-qam", "the agent's own")
    made = run_git(workspace.path, "rev-parse", "HEAD")
    await lab.record(workspace, await workspace.take_snapshot(None))
    for number in range(2):
        workspace, _ = await recorded(lab, f"later-{number}")
        assert run_git(workspace.path, "rev-parse", "HEAD") == made
    assert await lab.store.read_file(lab.checkpoint, GIT_PACK)
    workspace.mark_dirty()
    run_git(workspace.path, "reset", "-q", "HEAD~1")
    await lab.record(workspace, await workspace.take_snapshot(None), "undone")
    assert await lab.store.list_paths(lab.checkpoint, "git") == []


async def test_a_detached_head_and_a_branch_without_a_commit(lab: Lab) -> None:
    for number, commands in enumerate((["checkout", "-q", "--detach"], ["checkout", "-q", "--orphan", "fresh"])):
        workspace = await lab.workspace()
        workspace.mark_dirty()
        run_git(workspace.path, *commands)
        head = (workspace.path / ".git/HEAD").read_text()
        await lab.record(workspace, await workspace.take_snapshot(None), str(number))
        await workspace.remove_files()
        again = await lab.workspace()
        assert (again.path / ".git/HEAD").read_text() == head
        assert again.notices == []


async def test_on_a_new_base_the_branch_goes_on_from_there(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    work_with_git(workspace.path)
    run_git(workspace.path, "checkout", "-q", "work")
    run_git(workspace.path, "commit", "-q", "--allow-empty", "-m", "of round 1")
    stashes, made = run_git(workspace.path, "stash", "list"), run_git(workspace.path, "rev-parse", "HEAD")
    await lab.record(workspace, await workspace.take_snapshot(None))
    lab.project.commit({"more.txt": b"more\n"})
    base = (await lab.store.fetch_base(None)).commit
    lab.checkpoint = await lab.checkpoints.begin_lane(lab.lane, base, at=AT, replace=lab.checkpoint)
    for _ in range(2):
        again = await lab.workspace()
        assert run_git(again.path, "rev-parse", "HEAD") == base
        assert run_git(again.path, "rev-parse", f"work-{lab.base[:12]}") == made
        assert run_git(again.path, "stash", "list") == stashes
        assert run_git(again.path, "status", "--porcelain") == ""
        await again.remove_files()


async def test_no_git_is_run_for_what_did_not_change(lab: Lab) -> None:
    counted = Counted(lab.sandbox, [])
    lab.sandbox = counted  # type: ignore[assignment]
    workspace = await lab.workspace()
    for number in range(2):
        counted.ran.clear()
        workspace = await lab.workspace()
        workspace.mark_dirty()
        (workspace.path / "README.md").write_text(f"turn {number}\n")
        await lab.record(workspace, await workspace.take_snapshot(["README.md"]), f"files-{number}")
        assert counted.ran == [], "file tools only: nothing at all"
        workspace = await lab.workspace()
        workspace.mark_dirty()
        run_git(workspace.path, "status")
        run_git(workspace.path, "add", "--all")
        await lab.record(workspace, await workspace.take_snapshot(None), f"command-{number}")
        assert len(counted.ran) == 1, "a command that moved no ref: the look at the files"
        assert not any("pack-objects" in ran for ran in counted.ran)
        if number == 0:
            workspace.mark_dirty()
            work_with_git(workspace.path)
            await lab.record(workspace, await workspace.take_snapshot(None), "refs")
            assert "pack-objects" in counted.ran[-1]


async def test_what_is_too_large_is_said_at_once_and_again_when_it_is_gone(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_pack, "MAX_PACK", 100_000)
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "large").write_bytes(os.urandom(200_000))
    run_git(workspace.path, "stash", "-qu")
    snapshot = await workspace.take_snapshot(None)
    (said,) = snapshot.not_kept
    assert "take more than" in said
    assert "git stash pop" in said
    await lab.record(workspace, snapshot)
    assert stale_files.in_workspace(workspace.path.parent) == []
    assert await lab.store.list_paths(lab.checkpoint, "git") == [GIT_STATE]
    # It stays where it is, and is said once.
    workspace, snapshot = await recorded(lab, "later")
    assert snapshot.not_kept == ()
    assert "stash@{0}" in run_git(workspace.path, "stash", "list")
    await workspace.remove_files()
    again = await lab.workspace()
    (gone,) = again.notices
    assert "could not be kept and are gone" in gone
    assert run_git(again.path, "stash", "list") == ""
    again.mark_dirty()
    (again.path / "README.md").write_text("x")
    await lab.record(again, await again.take_snapshot(["README.md"]), "known paths")
    assert (await lab.workspace()).notices == []


async def test_what_is_strange_is_said_once_and_the_rest_is_kept(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    git = workspace.path / ".git"
    work_with_git(workspace.path)
    run_git(workspace.path, "symbolic-ref", "refs/heads/alias", "refs/heads/work")
    (git / "refs/heads/fifo").parent.mkdir(exist_ok=True)
    os.mkfifo(git / "refs/heads/fifo")
    (git / "refs/heads/link").symlink_to("/etc/hostname")
    run_git(workspace.path, "init", "-q", str(workspace.path / "within"))
    with (git / "logs/refs/stash").open("ab") as log:
        log.write(b"not a line of a reflog\n")
    (git / "MERGE_HEAD").write_text(run_git(workspace.path, "rev-parse", "idle") + "\n")
    run_git(workspace.path, "config", "user.name", "Me")
    snapshot = await workspace.take_snapshot(None)
    said = "\n".join(snapshot.not_kept)
    for words in (
        "refs/heads/alias",
        "refs/heads/fifo",
        "refs/heads/link",
        "within/",
        "a merge",
        ".git/config",
        "3 entries",
    ):
        assert words in said
    await lab.record(workspace, snapshot)
    await workspace.remove_files()
    again, snapshot = await recorded(lab, "later")
    assert snapshot.not_kept == ()
    again.mark_dirty()
    run_git(again.path, "config", "user.name", "Me")
    run_git(again.path, "init", "-q", str(again.path / "within"))
    snapshot = await again.take_snapshot(None)
    (said,) = snapshot.not_kept
    assert ".git/config" in said, "it was put back meanwhile"
    await lab.record(again, snapshot, "again")
    again = await lab.workspace()
    assert len(run_git(again.path, "stash", "list").splitlines()) == 2
    assert run_git(again.path, "config", "user.name") == "Agent"


async def test_a_git_that_was_removed_is_said_and_comes_back(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    work_with_git(workspace.path)
    seen = looked_at(workspace.path)
    await lab.record(workspace, await workspace.take_snapshot(None))
    workspace.mark_dirty()
    shutil.rmtree(workspace.path / ".git")
    snapshot = await workspace.take_snapshot(None)
    assert "made anew as it was before" in snapshot.not_kept[0]
    await lab.record(workspace, snapshot, "removed")
    assert looked_at((await lab.workspace()).path) == seen


async def test_no_ref_and_no_alternate_leads_to_what_the_agent_may_not_see(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    run_git(tmp_path / "outside", "init", "-q")
    (tmp_path / "outside/secret").write_text("SECRET-7f3a\n")
    run_git(tmp_path / "outside", "add", "secret")
    run_git(tmp_path / "outside", "commit", "-qm", "secret")
    secret = run_git(tmp_path / "outside", "rev-parse", "HEAD")
    for number, (objects, tip) in enumerate(
        ((lab.store.path / "objects", lab.checkpoint), (tmp_path / "outside/.git/objects", secret))
    ):
        for way in ("alternates", "link"):
            workspace = await lab.workspace()
            workspace.mark_dirty()
            git = workspace.path / ".git"
            (git / "refs/heads/bad").write_text(f"{tip}\n")
            if way == "alternates":
                (git / "objects/info/alternates").write_text(f"{objects}\n")
            else:
                shutil.rmtree(git / "objects")
                (git / "objects").symlink_to(objects)
            snapshot = await workspace.take_snapshot(None)
            assert "cannot be read by git" in "\n".join(snapshot.not_kept)
            assert not snapshot.git.get(GIT_PACK)
            await lab.record(workspace, snapshot, f"{number}-{way}")
            await workspace.remove_files()


async def test_a_ref_to_nothing_spoils_no_rebuild(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / ".git/refs/heads/bad").write_text("1" * 40 + "\n")
    snapshot = await workspace.take_snapshot(None)
    assert "cannot be read by git" in snapshot.not_kept[0]
    await lab.record(workspace, snapshot)
    await workspace.remove_files()
    assert run_git((await lab.workspace()).path, "status", "--porcelain") == ""


async def test_refs_without_number_are_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_refs, "MAX_REFS", 50)
    workspace = await lab.workspace()
    for number in range(200):
        (workspace.path / f".git/refs/tags/t{number:04d}").write_text(f"{lab.base}\n")
    (workspace.path / ".git/packed-refs").write_bytes(b"x" * (2 << 20))
    found = agent_refs.read_state(workspace.path, lab.base)
    assert found.state is not None
    assert len(found.state.refs) <= 51
    assert "packed-refs" in found.strange[0]


@pytest.mark.parametrize(
    "name",
    [
        "refs/heads/../x", "refs/heads/.x", "refs/heads/x.lock", "refs/heads/x..y", "refs/heads/x y", "refs/heads/x~1",
        "refs/heads/x:y", "refs/heads/x\ny", "refs/heads/", "refs//heads", "heads/x", "refs/heads/@{u}",
        "refs/heads/x.",
        "refs/heads/x\\y", "refs/heads/x\udce9", "refs/heads/@", "refs/bisect/bad", "refs/heads/" + "x" * 300, "HEAD",
    ],
)  # fmt: skip
def test_names_that_are_no_refs(name: str) -> None:
    assert not is_ref(name)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"\xff", b'{"base": 1}', new_state("1" * 40).dump().replace(b"refs/heads/work", b"../../x")],
)
def test_a_state_of_another_shape_counts_as_none(data: bytes) -> None:
    assert parse_state(data) is None


def test_a_state_comes_back_as_it_was() -> None:
    state = new_state("1" * 40)
    assert parse_state(state.dump()) == state
    assert state.rebased_on("1" * 40) == state
    assert state.rebased_on("2" * 40).equals(new_state("2" * 40))
