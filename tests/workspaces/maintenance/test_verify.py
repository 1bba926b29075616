"""Real damage to a store: `verify` names it and says what it means, `repair` mends what can be mended."""

import os
import time
from pathlib import Path

import pytest

from baton import identifiers
from tests.workspaces.conftest import AT, Lab, Project, apart, contents, run_files, run_git
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.workspace import Workspace, hold_workspace
from workspaces.delivery.merge import project_commit
from workspaces.git.findings import StoreReport
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.run import call_git
from workspaces.maintenance.repair import repair_store
from workspaces.maintenance.stale_files import LEFT_ALONE
from workspaces.maintenance.verify import verify_store
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.state_remote import StateRemote
from workspaces.store.store import Store

RUN = "run-1"
OLD = time.time() - 2 * LEFT_ALONE.total_seconds()


@pytest.fixture
async def lab(tmp_path: Path, project: Project, machine_sandbox: Sandbox) -> Lab:
    """A run with files of its own, a turn and a candidate, and a workspace at the newest checkpoint."""
    run_git(tmp_path, "init", "--quiet", "--bare", "state.git")
    remote = StateRemote.parse(str(tmp_path / "state.git"), "first")
    store = await Store.open(tmp_path / "home", str(project.path), remote)
    base = await store.fetch_base(None)
    await store.commit_files(
        identifiers.run_ref(RUN), expected=None, files=run_files(RUN, store.repo), message="r", at=AT
    )
    await store.move_ref(identifiers.integration_ref(RUN), base.commit, expected=None)
    lane = Lane(RUN, "task-1")
    lab = Lab(
        tmp_path / "home",
        project,
        store,
        lane,
        machine_sandbox,
        await Checkpoints(store).begin_lane(lane, base.commit, at=AT),
        base.commit,
    )
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "src/new.py").write_text("new = 1\n")
    (workspace.path / "src/deep/er").mkdir(parents=True)
    (workspace.path / "src/deep/er/file.py").write_text("deep = 1\n")
    (workspace.path / "link").symlink_to("src/new.py")
    await lab.record(workspace, await workspace.take_snapshot(None), "1-backend/00001-user")
    candidate = await project_commit(store, lane, lab.checkpoint, parent=lab.base, message="work", at=AT)
    await store.move_ref(identifiers.candidate_ref(RUN, "task-1", candidate), candidate, expected=None)
    return lab


async def fresh(lab: Lab, *, remote: bool = True) -> Store:
    """The store as another process opens it."""
    return await Store.open(lab.home, lab.store.repo, lab.store.remote if remote else None)


def kinds(report: StoreReport) -> set[str]:
    return {finding.kind for finding in report.findings}


async def loose(lab: Lab, oid: str) -> list[Path]:
    """The files of an object, in one or both repositories."""
    await apart(lab.store.path)
    paths = [repository / "objects" / oid[:2] / oid[2:] for repository in (lab.store.source_path, lab.store.path)]
    found = [path for path in paths if path.exists()]
    assert found, f"{oid} is not there as a file"
    return found


def cut(*paths: Path) -> None:
    """What a power cut leaves of files that were not synced."""
    for path in paths:
        path.chmod(0o600)
        os.truncate(path, path.stat().st_size // 2)


def wreck(path: Path, how: str, other: bytes) -> None:
    """Damage a file; `other` is the content of another object."""
    path.chmod(0o600)
    match how:
        case "cut short":
            cut(path)
        case "lost":
            path.unlink()
        case "emptied":
            path.write_bytes(b"")
        case _:
            path.write_bytes(other)


async def object_at(lab: Lab, path: str) -> str:
    entry = lab.store.objects.find_entry(lab.store.objects.tree_of(lab.checkpoint), path)
    assert entry is not None
    return entry.oid


async def only_there(lab: Lab) -> None:
    """Let the project forget what was fetched, so that it cannot help."""
    lab.project.git("checkout", "--quiet", "--orphan", "other")
    lab.project.git("commit", "--quiet", "-m", "another history")
    lab.project.git("branch", "-D", "main")


async def pack(repository: Path) -> Path:
    """All objects of a repository in one pack."""
    await call_git(["repack", "-adlq"], git_dir=repository)
    (found,) = (repository / "objects/pack").glob("*.pack")
    return found


async def mended(lab: Lab, *, remote: bool = True) -> StoreReport:
    """Repair, and see that everything is as it was."""
    before = contents(lab.home / "workspaces" / RUN / "task-1" / "work")
    report = await verify_store(await fresh(lab, remote=remote))
    assert report.findings
    after = await repair_store(await fresh(lab, remote=remote), report)
    assert after.findings == []
    assert after.is_sound
    assert {(finding.kind, finding.where) for finding in after.mended} == {
        (finding.kind, finding.where) for finding in report.findings
    }
    for repository in (lab.store.path, lab.store.source_path):
        run_git(repository, "fsck", "--full")
    store = await fresh(lab)
    other = Lane(RUN, "other")
    head = await store.commit_files(other.ref, expected=None, files={}, message="x", at=AT)
    assert head
    workspace = await Workspace.open_at(store, lab.lane, lab.checkpoint, sandbox=lab.sandbox)
    if before:
        assert contents(workspace.path) == before
    return report


async def test_a_whole_store_is_said_to_be_whole(lab: Lab) -> None:
    report = await verify_store(await fresh(lab))
    assert report.findings == []
    assert report.is_sound
    assert report.refs >= 5


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("transcript/1-backend/00001-user.json", "cut short"),
        ("meta.json", "lost"),
        ("workspace/src/new.py", "emptied"),
        ("workspace/src/deep", "cut short"),
        ("workspace/src/deep", "changed"),
        ("", "cut short"),
        ("", "changed"),
    ],
)
async def test_an_object_comes_back_from_the_state_remote(lab: Lab, path: str, how: str) -> None:
    oid = await object_at(lab, path)
    before = ObjectDatabase(lab.store.path).read_object(oid)
    (other,) = await loose(lab, lab.checkpoint)
    for damaged in await loose(lab, oid):
        wreck(damaged, how, other.read_bytes())
    report = await mended(lab)
    assert kinds(report) <= {"object", "missing", "checkpoint"}
    (touched,) = [finding for finding in report.of_kinds("checkpoint") if finding.where == lab.lane.ref]
    assert "the task task-1 of the run run-1 cannot go on" in touched.what
    assert "BATON_STATE_REMOTE" in touched.advice
    assert ObjectDatabase(lab.store.path).read_object(oid) == before


async def test_one_repository_helps_the_other(lab: Lab) -> None:
    """A file of the candidate is in both; no far place has to be asked."""
    in_source, in_store = await loose(lab, await object_at(lab, "workspace/src/new.py"))
    cut(in_source)
    await only_there(lab)
    report = await mended(lab, remote=False)
    assert lab.lane.ref not in [finding.where for finding in report.of_kinds("checkpoint")]
    cut(in_store)
    assert (await verify_store(await fresh(lab))).of_kinds("object")


@pytest.mark.parametrize("path", ["workspace/src/new.py", "workspace/src/deep", "workspace/link", "workspace"])
async def test_what_a_workspace_still_has_comes_back_from_there(lab: Lab, path: str) -> None:
    await only_there(lab)
    cut(*await loose(lab, await object_at(lab, path)))
    await mended(lab, remote=False)


async def test_the_projects_history_comes_back_from_the_target(lab: Lab) -> None:
    for name in ("HEAD", "HEAD:src/lib", "HEAD:README.md"):
        cut(*await loose(lab, lab.project.git("rev-parse", name)))
    await mended(lab, remote=False)


async def test_a_pack_with_a_changed_byte_loses_nothing(lab: Lab) -> None:
    packed = await pack(lab.store.path)
    packed.chmod(0o600)
    data = bytearray(packed.read_bytes())
    for place in (len(data) // 3, len(data) // 2):
        data[place] ^= 0xFF
    packed.write_bytes(data)
    report = await mended(lab)
    assert "pack" in kinds(report)
    assert list((lab.store.root / "damaged").rglob("*.pack"))


async def test_a_pack_that_was_cut_short_loses_nothing(lab: Lab) -> None:
    cut(await pack(lab.store.path))
    cut(await pack(lab.store.source_path))
    assert "pack" in kinds(await mended(lab))


@pytest.mark.parametrize("how", ["cut", "lost"])
async def test_an_index_of_a_pack_is_made_again(lab: Lab, how: str) -> None:
    index = (await pack(lab.store.path)).with_suffix(".idx")
    if how == "cut":
        cut(index)
    else:
        index.unlink()
    await mended(lab, remote=False)


@pytest.mark.parametrize("content", ["", "\0" * 41, "0123"])
async def test_a_ref_that_holds_nonsense_comes_back(lab: Lab, content: str) -> None:
    path = lab.store.path / lab.lane.ref
    path.write_text(content)
    report = await mended(lab)
    assert [finding.where for finding in report.of_kinds("ref")] == [lab.lane.ref]
    assert path.read_text().strip() == lab.checkpoint


async def test_without_the_remote_a_ref_comes_back_from_the_note_of_the_last_push(lab: Lab) -> None:
    (lab.store.path / lab.lane.ref).write_text("")
    await mended(lab, remote=False)
    assert (lab.store.path / lab.lane.ref).read_text().strip() == lab.checkpoint


async def test_what_cannot_be_mended_is_said_with_what_it_means(lab: Lab) -> None:
    cut(*await loose(lab, await object_at(lab, "transcript/1-backend/00001-user.json")))
    report = await verify_store(await fresh(lab, remote=False))
    assert not report.is_sound
    after = await repair_store(await fresh(lab, remote=False), report)
    assert not after.is_sound
    (missing,) = after.of_kinds("missing")
    assert missing.where == await object_at(lab, "transcript/1-backend/00001-user.json")
    assert not missing.mendable
    assert "BATON_STATE_REMOTE is not set" in missing.advice
    assert "start it anew" in missing.advice
    (touched,) = after.of_kinds("checkpoint")
    assert "run run-1" in touched.what
    # The remote comes back later: then it can be mended after all.
    await mended(lab)


async def test_leftovers_go_and_nothing_else(lab: Lab) -> None:
    root, workspace = lab.store.root, lab.home / "workspaces" / RUN / "task-1"
    left = [
        root / "store.git/objects/tmp_obj_abc",
        root / "store.git/objects/12/tmp_obj_abc",
        root / "source.git/objects/pack/tmp_pack_abc",
        root / "store.git/refs/baton/run-1/task-1/head.lock",
        root / "source.git/packed-refs.lock",
        root / "store.git/config.123.new",
        root / "scratch/tmpabc/objects/x",
        workspace / "quarantine/objects/ab/x",
        workspace / "index.lock",
    ]
    young = [root / "store.git/objects/tmp_obj_young", root / "store.git/refs/baton/run-1/run/head.lock"]
    for path in (*left, *young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for path in left:
        os.utime(path, (OLD, OLD))
    os.utime(root / "scratch/tmpabc", (OLD, OLD))
    kept = [root / name for name in ("create.lock", "refs.lock", "fetch.lock") if (root / name).exists()]
    for path in kept:
        os.utime(path, (OLD, OLD))
    report = await mended(lab)
    assert kinds(report) == {"leftover"}
    assert report.is_sound
    assert not [path for path in left if path.exists()]
    assert all(path.exists() for path in (*young, *kept))
    assert kept


async def test_a_workspace_in_use_is_left_alone(lab: Lab) -> None:
    quarantine = lab.home / "workspaces" / RUN / "task-1" / "quarantine"
    quarantine.mkdir()
    async with hold_workspace(lab.store, lab.lane):
        assert (await verify_store(await fresh(lab))).findings == []
    assert kinds(await verify_store(await fresh(lab))) == {"leftover"}


async def test_links_among_leftovers_are_not_followed(lab: Lab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (lab.home / "workspaces" / RUN / "task-1" / "quarantine").symlink_to(outside)
    await mended(lab)
    assert (outside / "precious").exists()


@pytest.mark.parametrize("how", ["lost", "cut short", "changed"])
async def test_an_index_is_rebuilt_and_ignored_files_stay(lab: Lab, how: str) -> None:
    directory = lab.home / "workspaces" / RUN / "task-1"
    (directory / "work/.gitignore").write_text("cache/\n")
    (directory / "work/cache").mkdir()
    (directory / "work/cache/large").write_text("took long to make")
    workspace = await lab.workspace()
    workspace.mark_dirty()
    await lab.record(workspace, await workspace.take_snapshot(None), "1-backend/00002-user")
    index = directory / "index"
    match how:
        case "lost":
            index.unlink()
        case "cut short":
            cut(index)
        case _:
            data = bytearray(index.read_bytes())
            data[len(data) // 2] ^= 0xFF
            index.write_bytes(data)
    report = await verify_store(await fresh(lab))
    assert kinds(report) == {"index", "transcript"}
    after = await repair_store(await fresh(lab), report)
    assert [finding.kind for finding in after.mended] == ["index"]
    workspace = await lab.workspace()
    assert (workspace.path / "cache/large").read_text() == "took long to make"
    workspace.mark_dirty()
    (workspace.path / "src/new.py").write_text("changed\n")
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.changed == ["src/new.py"]


async def test_a_workspace_whose_files_are_gone_is_made_anew(lab: Lab) -> None:
    directory = lab.home / "workspaces" / RUN / "task-1"
    before = contents(directory / "work")
    for path in sorted((directory / "work").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    (directory / "work").rmdir()
    report = await verify_store(await fresh(lab))
    assert kinds(report) == {"workspace"}
    assert report.is_sound
    assert (await repair_store(await fresh(lab), report)).findings == []
    assert contents((await lab.workspace()).path) == before


async def test_a_workspace_of_no_run_is_named_and_kept(lab: Lab) -> None:
    stray = lab.home / "workspaces/forgotten-run/t1/work/file"
    stray.parent.mkdir(parents=True)
    stray.write_text("maybe the only copy")
    report = await verify_store(await fresh(lab))
    assert kinds(report) == {"stray"}
    after = await repair_store(await fresh(lab), report)
    assert kinds(after) == {"stray"}
    assert "the only copy" in after.findings[0].what
    assert stray.exists()


async def test_a_transcript_that_is_no_json_is_said(lab: Lab) -> None:
    await lab.checkpoints.record_checkpoint(
        lab.lane,
        expected=lab.checkpoint,
        files={"transcript/1-backend/00001-assistant.json": b"{half"},
        workspace=None,
        summary="broken",
        at=AT,
    )
    report = await verify_store(await fresh(lab))
    assert kinds(report) == {"transcript"}
    assert not report.is_sound
    assert "00001-assistant.json is no JSON object" in report.findings[0].what


async def test_odd_old_commits_of_a_project_are_no_damage(tmp_path: Path, project: Project) -> None:
    tree = project.git("rev-parse", "HEAD^{tree}")
    raw = f"tree {tree}\nauthor nobody <> 0 +0000\ncommitter nobody<none 0 +0000\n\nodd\n"
    path = tmp_path / "commit"
    path.write_text(raw)
    odd = project.git("hash-object", "-t", "commit", "-w", "--literally", str(path))
    project.git("update-ref", "refs/heads/odd", odd)
    store = await Store.open(tmp_path / "home", str(project.path))
    await store.fetch_base(None)
    assert (await call_git(["fsck"], git_dir=store.source_path, check=False)).code != 0
    assert (await verify_store(store)).findings == []
