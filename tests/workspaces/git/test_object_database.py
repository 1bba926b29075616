"""Objects of a step lie by themselves until they are packed, and are what libgit2 would have written."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.errors import WorkspaceError
from tests.workspaces.conftest import AT, Lab, apart, contents, packs, records, run_git
from workspaces.git.commits import CommitAuthor
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.run import call_git
from workspaces.git.tree_codec import EMPTY_TREE, FILE, TreeEntry
from workspaces.maintenance.gc import repack_store
from workspaces.store.store import Store

LONG_AGO = 0, 0


def loose(repository: Path, oid: str) -> Path:
    return repository / "objects" / oid[:2] / oid[2:]


async def test_git_reads_a_checkpoint_of_known_paths(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "src/lib/util.py").write_text("x = 2\n")
    (workspace.path / "src/deep").mkdir()
    (workspace.path / "src/deep/new.py").write_text("new = 1\n")
    await lab.record(workspace, await workspace.take_snapshot(["src/lib/util.py", "src/deep/new.py"]))
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    assert run_git(lab.store.path, "show", f"{lab.checkpoint}:workspace/src/lib/util.py") == "x = 2"
    again = await lab.workspace()
    assert contents(again.path) == contents(workspace.path)


async def test_a_project_of_which_everything_was_deleted(lab: Lab) -> None:
    workspace = await lab.workspace()
    for touched in (["README.md", "src/app.py", "src/lib/util.py"], None):
        workspace.mark_dirty()
        for name in ("README.md", "src/app.py", "src/lib/util.py"):
            (workspace.path / name).unlink(missing_ok=True)
        snapshot = await workspace.take_snapshot(touched)
        await lab.record(workspace, snapshot)
        assert await lab.store.list_paths(f"{lab.checkpoint}:workspace") == []
        run_git(lab.store.path, "fsck", "--full", "--no-dangling")


@given(
    name=st.text(min_size=1, max_size=20),
    message=st.text(max_size=50),
    when=st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    parents=st.integers(0, 3),
)
def test_a_commit_is_what_libgit2_would_make_of_it(
    tmp_path_factory: pytest.TempPathFactory, name: str, message: str, when: datetime, parents: int
) -> None:
    place = tmp_path_factory.getbasetemp() / "commits.git"
    if not place.exists():
        pygit2.init_repository(str(place), bare=True)
    objects = ObjectDatabase(place)
    tree = objects.edit_tree(EMPTY_TREE, {"a": TreeEntry(FILE, objects.write_blob(b"a"))})
    above = [objects.write_commit(tree, [], f"parent {number}", AT) for number in range(parents)]
    who = CommitAuthor(name, "person@example.org")
    try:
        by = pygit2.Signature(who.name, who.email, int(when.timestamp()), 0)
    except (ValueError, pygit2.GitError):
        with pytest.raises((ValueError, pygit2.GitError)):
            objects.write_commit(tree, above, message, when, who)
        return
    engine = pygit2.Signature("Baton", "baton@localhost", int(when.timestamp()), 0)
    text = message.encode(errors="replace").decode().replace("\0", "")
    theirs = objects.repo.create_commit(None, by, engine, text, tree, above)
    assert objects.write_commit(tree, above, message, when, who) == str(theirs)


@pytest.mark.parametrize("left", [b"", b"x\x01", b"half"])
async def test_a_file_that_a_power_cut_left_is_not_taken_for_the_object(lab: Lab, left: bytes) -> None:
    """A step stored an object, the power went before it was synced, and the next attempt stores it again."""
    data = b"stored twice\n"
    oid = lab.store.objects.write_blob(data)
    path = loose(lab.store.path, oid)
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[: len(whole) // 2] if left == b"half" else left)
    files = {"file": data}
    head = await lab.store.commit_files("refs/baton/run-1/run/head", expected=None, files=files, message="m", at=AT)
    assert await lab.store.read_file(head, "file") == data
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")


@pytest.mark.parametrize("where", ["loose", "packed"])
async def test_garbage_that_a_step_stores_again_is_not_collected(lab: Lab, where: str) -> None:
    """Old and named by no ref; then a running step has the same contents, and will name them only later."""
    oid = lab.store.objects.write_blob(b"the same contents\n")
    path = loose(lab.store.path, oid)
    if where == "packed":
        made = await call_git(
            ["pack-objects", "-q", "objects/pack/pack"], git_dir=lab.store.path, stdin=f"{oid}\n".encode()
        )
        path.unlink()
        path = lab.store.path / f"objects/pack/pack-{made.text}.pack"
    os.utime(path, LONG_AGO)
    assert lab.store.objects.write_blob(b"the same contents\n") == oid
    if where == "packed":  # as if garbage collection had read its time a moment before
        os.utime(path, LONG_AGO)
    await repack_store(lab.store)
    assert (await Store.open(lab.home, lab.store.repo)).objects.read_blob(oid) == b"the same contents\n"


async def test_no_ref_moves_to_a_commit_that_lacks_what_was_stored_for_it(lab: Lab) -> None:
    before = lab.checkpoint
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "src/app.py").write_text("lost\n")
    snapshot = await workspace.take_snapshot(["src/app.py"])
    loose(lab.store.path, lab.store.objects.blob_id(b"lost\n")).unlink()
    with pytest.raises(WorkspaceError, match="try again"):
        await lab.record(workspace, snapshot)
    assert await lab.checkpoints.read_head(lab.lane) == before


async def test_a_store_with_the_packs_of_an_earlier_version_is_read_and_packed(lab: Lab) -> None:
    """Those had a pack for each step: whole objects, no deltas, a name by chance."""
    made = await records(lab, 3, 500)
    before = contents((await lab.workspace()).path)
    for commit in [*made]:
        said = run_git(lab.store.path, "rev-list", "--objects", "--no-object-names", commit, f"^{commit}^")
        name = f"objects/pack/pack-{os.urandom(20).hex()}"
        pack = await call_git(
            ["pack-objects", "-q", "--depth=0", "--stdout"], git_dir=lab.store.path, stdin=said.encode()
        )
        (lab.store.path / f"{name}.pack").write_bytes(pack.stdout)
        await call_git(["index-pack", f"{name}.pack"], git_dir=lab.store.path)
        for oid in said.split():
            loose(lab.store.path, oid).unlink(missing_ok=True)
    store = await Store.open(lab.home, lab.store.repo)
    for number, commit in enumerate(made):
        assert len(await store.read_file(commit, f"transcript/{number}") or b"") == 500
    lab.store = store
    await records(lab, 1)
    assert contents((await lab.workspace()).path) == before
    await repack_store(store)
    assert len(packs(store.path)) == 1
    run_git(store.path, "fsck", "--full", "--strict", "--no-dangling")


async def test_a_scan_does_not_replace_an_object_that_is_there(lab: Lab) -> None:
    """A ref may lead to it, and what a scan wrote is not on the disk yet."""
    await apart(lab.store.path)
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "src/app.py").write_text("one\n")
    await lab.record(workspace, await workspace.take_snapshot(["src/app.py"]))
    path = loose(lab.store.path, lab.store.objects.blob_id(b"one\n"))
    inode = path.stat().st_ino
    workspace.mark_dirty()
    (workspace.path / "copy.py").write_text("one\n")
    await lab.record(workspace, await workspace.take_snapshot(None), "scan")
    assert path.stat().st_ino == inode
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
