"""A submodule stays in the branch as it was, whatever an agent does at its place, and the engine says what it undid."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from baton.errors import BatonError
from tests.workspaces.conftest import AT, Lab, Project, run_git
from workspaces.delivery.merge import merge_commits, project_commit
from workspaces.git.run import call_git

Deed = Callable[[Path, Path], None]


def delete(work: Path, _outside: Path) -> None:
    (work / "deps/lib").rmdir()


def delete_with_parent(work: Path, _outside: Path) -> None:
    shutil.rmtree(work / "deps")


def a_file(work: Path, _outside: Path) -> None:
    (work / "deps/lib").rmdir()
    (work / "deps/lib").write_text("stub")


def a_link(work: Path, outside: Path) -> None:
    (work / "deps/lib").rmdir()
    (work / "deps/lib").symlink_to(outside)


def parent_is_a_link(work: Path, outside: Path) -> None:
    shutil.rmtree(work / "deps")
    (outside / "lib").mkdir()
    (outside / "lib/precious").write_text("precious")
    (work / "deps").symlink_to(outside)


def parent_is_a_file(work: Path, _outside: Path) -> None:
    shutil.rmtree(work / "deps")
    (work / "deps").write_text("flat")


def rename_parent(work: Path, _outside: Path) -> None:
    (work / "deps").rename(work / "vendor")


def stubs(work: Path, _outside: Path) -> None:
    (work / "deps/lib/src").mkdir()
    (work / "deps/lib/src/stub.py").write_text("stub")
    (work / "deps/lib/empty").mkdir()


def ignored_stubs(work: Path, _outside: Path) -> None:
    (work / ".gitignore").write_text("deps/\n")
    (work / "deps/lib/stub.py").write_text("stub")


def a_repository(work: Path, _outside: Path) -> None:
    run_git(work / "deps/lib", "init", "--quiet")
    (work / "deps/lib/a.txt").write_text("a")
    run_git(work / "deps/lib", "add", "-A")
    run_git(work / "deps/lib", "commit", "--quiet", "-m", "mine")


def a_repository_above(work: Path, _outside: Path) -> None:
    run_git(work / "deps", "init", "--quiet")
    (work / "deps/lib/a.txt").write_text("a")


def a_git_file(work: Path, outside: Path) -> None:
    (work / "deps/lib/.git").write_text(f"gitdir: {outside}\n")


def git_rm(work: Path, _outside: Path) -> None:
    run_git(work, "rm", "-r", "--quiet", "--force", "deps/lib", check=False)
    shutil.rmtree(work / "deps/lib", ignore_errors=True)


def many(work: Path, _outside: Path) -> None:
    for number in range(500):
        (work / f"deps/lib/{number}").write_text("x")


def no_way_in(work: Path, _outside: Path) -> None:
    (work / "deps/lib/x").write_text("x")
    (work / "deps/lib").chmod(0o000)


DEEDS: list[Deed] = [
    delete, delete_with_parent, a_file, a_link, parent_is_a_link, parent_is_a_file, rename_parent, stubs,
    ignored_stubs, a_repository, a_repository_above, a_git_file, git_rm, many, no_way_in,
]  # fmt: skip


async def _with_submodule(lab: Lab) -> str:
    commit = lab.project.git("rev-parse", "HEAD")
    lab.project.write({"deps/readme.txt": b"about\n"})
    lab.project.git("add", "deps")
    lab.project.git("update-index", "--add", "--cacheinfo", f"160000,{commit},deps/lib")
    lab.project.git("commit", "--quiet", "-m", "a submodule")
    await lab.rebase("run-2")
    return f"160000 commit {commit}\tdeps/lib"


async def _published(lab: Lab, message: str = "do") -> str:
    made = await project_commit(lab.store, lab.lane, lab.checkpoint, parent=lab.base, message=message, at=AT)
    await call_git(["fsck", "--strict", "--connectivity-only"], git_dir=lab.store.source_path)
    return made


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
@pytest.mark.parametrize("seen", ["scan", "touched"])
async def test_a_submodule_stays(lab: Lab, tmp_path: Path, deed: Deed, seen: str) -> None:
    expected = await _with_submodule(lab)
    outside = tmp_path / "outside"
    outside.mkdir()
    workspace = await lab.workspace()
    deed(workspace.path, outside)
    (workspace.path / "README.md").write_text("changed\n")
    touched = None if seen == "scan" else ["deps/lib", "deps", "deps/lib/stub.py", "README.md"]
    snapshot = await workspace.take_snapshot(touched)
    assert any(path == "deps" or path.startswith("deps/lib") for path in snapshot.put_back), snapshot
    assert not any(path == "deps/lib" or path.startswith("deps/lib/") for path in snapshot.changed)
    assert (workspace.path / "deps/lib").is_dir()
    assert not (workspace.path / "deps").is_symlink()
    assert list((workspace.path / "deps/lib").iterdir()) == []
    assert {path.name for path in outside.rglob("*")} <= {"lib", "precious"}
    await lab.record(workspace, snapshot)
    made = await _published(lab)
    listed = await call_git(["ls-tree", "-r", "-t", made, "deps"], git_dir=lab.store.source_path)
    assert expected in listed.text
    assert "deps/lib/" not in listed.text
    again = await lab.workspace()
    assert (again.path / "deps/lib").is_dir()
    assert (await again.take_snapshot(None)).put_back == ()


async def test_it_stays_through_a_merge_and_a_later_workspace(lab: Lab) -> None:
    expected = await _with_submodule(lab)
    base = lab.base
    made = []
    for name in ("one", "two"):
        lab.lane = type(lab.lane)("run-2", f"task-{name}")
        lab.checkpoint = await lab.checkpoints.begin_lane(lab.lane, base, at=AT)
        workspace = await lab.workspace()
        shutil.rmtree(workspace.path / "deps/lib")
        (workspace.path / f"{name}.txt").write_text(name)
        await lab.record(workspace, await workspace.take_snapshot(None))
        made.append(await _published(lab))
    merged = await merge_commits(lab.store, base=base, ours=made[0], theirs=made[1])
    assert merged.tree is not None
    listed = await call_git(["ls-tree", "-r", merged.tree], git_dir=lab.store.path, env=lab.store.scratch_env())
    assert expected in listed.text
    assert "one.txt" in listed.text
    assert "two.txt" in listed.text


async def test_a_checkpoint_of_an_older_worker_publishes_no_stub(lab: Lab) -> None:
    """Before, a file in the place of a submodule stood in the checkpoint's tree."""
    expected = await _with_submodule(lab)
    workspace = await lab.workspace()
    snapshot = await workspace.take_snapshot([])
    stub = lab.store.objects.edit_tree(snapshot.tree, lab.store.write_blobs({"deps/lib/stub.py": b"stub"}))
    old = type(snapshot)(tree=stub, changed=[], meta=snapshot.meta)
    await lab.record(workspace, old)
    listed = await call_git(["ls-tree", "-r", await _published(lab)], git_dir=lab.store.source_path)
    assert expected in listed.text
    assert "stub.py" not in listed.text


async def test_a_new_repository_of_the_agent_is_no_submodule(lab: Lab) -> None:
    workspace = await lab.workspace()
    Project(workspace.path / "lib").commit({"a.txt": b"a"})
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.changed == ["lib/a.txt"]
    assert snapshot.put_back == ()
    assert snapshot.unkept == {"lib/.git/": "nested"}


@pytest.mark.parametrize("name", [b".git", b"..", b".", b".GIT"])
async def test_a_gitlink_at_a_place_that_is_none_is_refused(lab: Lab, tmp_path: Path, name: bytes) -> None:
    """Such a tree is made with plumbing only: that it cannot be worked on is said, and no attempt goes on for ever."""
    commit = lab.project.git("rev-parse", "HEAD")
    (tmp_path / "tree").write_bytes(b"160000 " + name + b"\0" + bytes.fromhex(commit))
    evil = run_git(lab.project.path, "hash-object", "-t", "tree", "-w", "--literally", str(tmp_path / "tree"))
    (tmp_path / "top").write_bytes(b"40000 deps\0" + bytes.fromhex(evil))
    tree = run_git(lab.project.path, "hash-object", "-t", "tree", "-w", "--literally", str(tmp_path / "top"))
    made = lab.project.git("commit-tree", tree, "-p", commit, "-m", "evil")
    lab.project.git("update-ref", "refs/heads/main", made)

    async def work() -> None:
        await lab.rebase("run-2")
        await (await lab.workspace()).take_snapshot(None)

    with pytest.raises(BatonError):
        await work()
    assert not (lab.home / "workspaces/run-2/task-1/work/.git/hooks/x").exists()
