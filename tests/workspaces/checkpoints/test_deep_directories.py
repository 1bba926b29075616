"""Directories nested thousands deep: everything that walks or removes them ends, and what is not kept is said."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from baton.errors import RepositoryError
from system.directory_walk import MAX_OPEN, DirectoryCursor
from system.safe_directory import SafeDirectory, clear_away, remove_path
from tests.support.deep_directories import NESTED, nest
from tests.workspaces.conftest import AT, Lab, Project, contents
from workspaces.checkpoints.walk import MAX_DEPTH
from workspaces.delivery.merge import merge_commits, project_commit
from workspaces.delivery.push_branch import push_branch
from workspaces.maintenance.gc import forget_run, measure_run, repack_store
from workspaces.maintenance.object_sources import open_sources
from workspaces.maintenance.verify import verify_store
from workspaces.project.baton_toml import GateConfig
from workspaces.project.gate import run_gate
from workspaces.sandbox.disk_watch import size_of

DEPTHS = [1_200, 5_000, pytest.param(100_000, marks=pytest.mark.soak)]


@pytest.fixture(autouse=True)
def swept(tmp_path: Path) -> Iterator[None]:
    """Nothing deep is left behind, also by a test that fails: pytest itself could not remove it."""
    yield
    for path in tmp_path.iterdir():
        clear_away(path)


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
    snapshot = await workspace.take_snapshot(None)
    top = "/".join(["d"] * (MAX_DEPTH + 1))
    assert "good" in snapshot.changed
    assert snapshot.unkept == {top: "deep"}
    assert snapshot.left_out == (top,)
    back = await workspace.put_back(snapshot, snapshot.left_out)
    assert back.left_out == ()
    assert not (workspace.path / "d").exists()
    nest(workspace.path, depth, "again")
    workspace = await lab.workspace()
    assert contents(workspace.path) == before


async def test_a_path_longer_than_the_system_takes_is_said(lab: Lab) -> None:
    workspace = await lab.workspace()
    before = contents(workspace.path)
    workspace.mark_dirty()
    nest(workspace.path, 40, "n" * 250)
    at = os.open(workspace.path, os.O_RDONLY)
    for _ in range(15):
        below = os.open("n" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    for name in ("short", "f" * 250):
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=at))
    os.close(at)
    snapshot = await workspace.take_snapshot(None)
    last = "/".join(["n" * 250] * 15)
    assert snapshot.unkept == {f"{last}/{'n' * 250}": "deep", f"{last}/{'f' * 250}": "deep"}
    assert lab.store.objects.find_entry(snapshot.tree, f"{last}/short") is not None
    workspace = await lab.workspace()
    assert contents(workspace.path) == before


async def test_what_is_deep_and_ignored_stays_and_goes_with_the_workspace(lab: Lab) -> None:
    workspace = await lab.workspace()
    (workspace.path / ".gitignore").write_text("build/\n")
    (workspace.path / "build").mkdir()
    nest(workspace.path / "build", 5_000)
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.unkept == {"build/": "ignored"}
    checkpoint = await lab.record(workspace, snapshot)
    workspace.mark_dirty()
    (workspace.path / "again").write_text("x")
    workspace = await lab.workspace(checkpoint)
    assert (workspace.path / "build/d/d").is_dir()
    await workspace.remove_files()
    assert not workspace.path.exists()


async def test_a_gate_whose_tests_nest_directories_cleans_up(lab: Lab, tmp_path: Path, few_descriptors: None) -> None:
    async def checkout(commit: str, directory: Path) -> None:
        (directory / "nest.py").write_text(NESTED.format(count=5_000, name="d"))

    for _ in range(2):
        gate = GateConfig(test="python3 nest.py")
        evidence, _log = await run_gate(checkout, lab.base, tmp_path / "gate", gate, lab.sandbox)
        assert evidence.exit_code == 0, evidence.log_tail
        assert sorted(path.name for path in (tmp_path / "gate").iterdir()) == ["gate.log"]


def test_whatever_stands_at_a_path_is_removed(tmp_path: Path, few_descriptors: None) -> None:
    nest(tmp_path, 3_000, mode=0)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (tmp_path / "d/link").symlink_to(outside)
    for wide in range(300):
        (tmp_path / f"d/wide{wide}/in").mkdir(parents=True)
    remove_path(tmp_path / "d")
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "kept").exists()
    (tmp_path / "link").symlink_to(outside)
    remove_path(tmp_path / "link")
    remove_path(tmp_path / "nothing")
    assert (outside / "kept").exists()


def test_what_deep_directories_hold_is_measured(tmp_path: Path, few_descriptors: None) -> None:
    before = size_of(tmp_path)
    nest(tmp_path, 3_000)
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(3_000):
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    with open(os.open("file", os.O_WRONLY, dir_fd=at), "wb") as file:
        file.write(os.urandom(1 << 22))
    os.close(at)
    assert size_of(tmp_path) - before >= 1 << 22
    remove_path(tmp_path / "d")


def test_a_walk_never_goes_where_a_moved_directory_leads(tmp_path: Path) -> None:
    nest(tmp_path, 3 * MAX_OPEN)
    top = os.open(tmp_path, os.O_RDONLY)
    with DirectoryCursor(top) as at:
        for _ in range(3 * MAX_OPEN):
            at.enter_directory("d")
        (tmp_path / "d/d/d").rename(tmp_path / "moved")
        for _ in range(3 * MAX_OPEN - 3):
            at.leave_directory()
        with pytest.raises(OSError, match="moved"):
            at.leave_directory()
    os.close(top)


async def test_a_store_with_deep_refs_is_read_checked_and_packed(lab: Lab) -> None:
    deep = "/".join(["d"] * 1_500)
    packed = (lab.project.path / ".git/packed-refs").open("a")
    with packed:
        packed.write(f"{lab.base} refs/heads/{deep}\n")
    base = await lab.store.fetch_base(deep)
    assert base.commit == lab.base
    assert (lab.store.source_path / f"refs/source/heads/{deep}").is_file()
    report = await verify_store(lab.store)
    assert report.findings == []
    assert (await measure_run(lab.store, lab.lane.run, whole=True)).refs
    await repack_store(lab.store)
    lab.project.commit({"more": b"x"})
    await lab.store.fetch_base(None)
    async with open_sources(lab.store) as found:
        assert await found.find_object("0" * 40) is None


async def test_deep_directories_in_a_workspace_do_not_hold_up_the_doctor_and_the_collector(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    nest(workspace.path, 5_000)
    nest(workspace.path.parent, 5_000, "quarantine")
    blob = workspace.path / "found.txt"
    blob.write_text("only here\n")
    report = await verify_store(lab.store)
    assert [finding.kind for finding in report.findings] == ["leftover"]
    async with open_sources(lab.store) as found:
        oid = lab.project.git("hash-object", str(blob))
        raw = await found.find_object(oid)
        assert raw is not None
        assert raw[1] == b"only here\n"
    assert await forget_run(lab.store, lab.lane.run, lab.store.list_refs(lab.lane.run))
    assert not workspace.path.parent.parent.exists()


def commit_deep(project: Project, levels: int, branch: str) -> str:
    """A commit with a file so many levels deep, made by plumbing: no checkout could hold it."""
    repository = pygit2.Repository(str(project.path))
    oid, mode = repository.create_blob(b"deep\n"), 0o100644
    for _ in range(levels):
        builder = repository.TreeBuilder()
        builder.insert("d", oid, mode)
        oid, mode = builder.write(), 0o040000
    top = repository.TreeBuilder(repository.revparse_single("HEAD^{tree}").id)
    top.insert("d", oid, mode)
    person = pygit2.Signature("Person", "person@example.org")
    parents = [repository.revparse_single("HEAD").id]
    return str(repository.create_commit(f"refs/heads/{branch}", person, person, "deep", top.write(), parents))


async def test_a_project_that_is_deep_itself_is_worked_on(lab: Lab) -> None:
    levels = 1_050
    commit_deep(lab.project, levels, "deep")
    lab.project.git("symbolic-ref", "HEAD", "refs/heads/deep")
    await lab.rebase("run-2")
    workspace = await lab.workspace()
    path = "/".join(["d"] * (levels + 1))
    above = path.rpartition("/")[0]
    files = SafeDirectory(workspace.path)
    assert files.read_file(path) == b"deep\n"
    workspace.mark_dirty()
    files.write_file(path, b"changed\n", 0o644)
    files.write_file(f"{above}/new", b"new\n", 0o644)
    snapshot = await workspace.take_snapshot(None)
    assert (snapshot.unkept, set(snapshot.changed)) == ({}, {path, f"{above}/new"})
    assert await workspace.take_snapshot([path, f"{above}/new"]) == snapshot
    back = await workspace.put_back(snapshot, [f"{above}/new"])
    assert back.changed == [path]
    await lab.record(workspace, back)
    workspace.mark_dirty()
    files.remove("d")
    workspace = await lab.workspace()
    assert files.read_file(path) == b"changed\n"
    commit = await project_commit(lab.store, lab.lane, lab.checkpoint, parent=lab.base, message="deep", at=AT)
    assert (await merge_commits(lab.store, base=lab.base, ours=lab.base, theirs=commit)).conflicts == []
    await push_branch(lab.store, commit, "baton/run-2", expected=None)
    assert lab.project.git("show", "--stat=20", "--format=%s", "baton/run-2").startswith("deep")
    assert (await verify_store(lab.store)).findings == []


@pytest.mark.parametrize("levels", [2_100, 5_000])
async def test_a_project_too_deep_for_any_checkout_is_refused_in_one_sentence(lab: Lab, levels: int) -> None:
    commit_deep(lab.project, levels, "deep")
    with pytest.raises(RepositoryError) as failure:
        await lab.store.fetch_base("deep")
    sentence = str(failure.value)
    assert "nested" in sentence
    assert len(sentence) < 600
    assert failure.value.exit_code == 2


async def test_another_branch_may_be_as_deep_as_it_likes(lab: Lab) -> None:
    commit_deep(lab.project, 3_000, "deep")
    commit = lab.project.commit({"more": b"x"})
    assert (await lab.store.fetch_base("main")).commit == commit
    await lab.rebase("run-2")
    assert ((await lab.workspace()).path / "more").exists()
