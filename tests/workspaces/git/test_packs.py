"""Packs of one step's objects: git reads them, and they hold what libgit2 would have written."""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygit2.enums import ObjectType

from baton.errors import WorkspaceError
from tests.workspaces.conftest import AT, Lab, contents, packs, records, run_git
from workspaces.git.commits import Author
from workspaces.git.object_database import Objects
from workspaces.git.packs import Pack
from workspaces.git.tree_codec import EMPTY_TREE, FILE, Entry

KINDS = {ObjectType.BLOB: b"blob", ObjectType.TREE: b"tree", ObjectType.COMMIT: b"commit"}


def singles(repository: Path) -> list[Path]:
    return [path for path in repository.glob("objects/??/*") if path.is_file()]


async def test_a_checkpoint_of_known_paths_is_one_pack(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    before = packs(lab.store.path), singles(lab.store.path)
    (workspace.path / "src/lib/util.py").write_text("x = 2\n")
    (workspace.path / "src/deep").mkdir()
    (workspace.path / "src/deep/new.py").write_text("new = 1\n")
    snapshot = await workspace.snapshot(["src/lib/util.py", "src/deep/new.py"])
    assert (packs(lab.store.path), singles(lab.store.path)) == before, "nothing refers to it yet"
    await lab.record(workspace, snapshot)
    assert singles(lab.store.path) == before[1]
    (made,) = set(packs(lab.store.path)) - set(before[0])
    run_git(lab.store.path, "verify-pack", str(made.with_suffix(".idx")))
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    assert made.stat().st_mode & 0o777 == 0o444
    assert run_git(lab.store.path, "show", f"{lab.checkpoint}:workspace/src/lib/util.py") == "x = 2"
    again = await lab.workspace()
    assert contents(again.path) == contents(workspace.path)


async def test_what_is_put_back_is_in_the_same_pack(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    before = packs(lab.store.path)
    (workspace.path / "src/app.py").write_text("outside\n")
    (workspace.path / "src/lib/util.py").write_text("inside\n")
    snapshot = await workspace.snapshot(["src/app.py", "src/lib/util.py"])
    snapshot = await workspace.put_back(snapshot, ["src/app.py"])
    assert snapshot.changed == ["src/lib/util.py"]
    await lab.record(workspace, snapshot)
    assert len(packs(lab.store.path)) == len(before) + 1
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    assert run_git(lab.store.path, "show", f"{lab.checkpoint}:workspace/src/app.py") == "print(1)"


async def test_a_snapshot_that_was_given_up_leaves_nothing(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    before = packs(lab.store.path), singles(lab.store.path)
    (workspace.path / "src/app.py").write_text("given up\n")
    await workspace.snapshot(["src/app.py"])
    await records(lab, 1)
    given_up = lab.store.objects.blob_id(b"given up\n")
    assert not lab.store.objects.has(given_up)
    assert singles(lab.store.path) == before[1]


async def test_a_snapshot_without_its_pack_is_no_checkpoint(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "src/app.py").write_text("lost\n")
    lost = replace(await workspace.snapshot(["src/app.py"]), pack=None)
    before = lab.checkpoint
    with pytest.raises(WorkspaceError):
        await lab.record(workspace, lost)
    assert await lab.checkpoints.head(lab.lane) == before


async def test_a_project_of_which_everything_was_deleted(lab: Lab) -> None:
    workspace = await lab.workspace()
    for touched in (["README.md", "src/app.py", "src/lib/util.py"], None):
        workspace.mark_dirty()
        for name in ("README.md", "src/app.py", "src/lib/util.py"):
            (workspace.path / name).unlink(missing_ok=True)
        snapshot = await workspace.snapshot(touched)
        await lab.record(workspace, snapshot)
        assert await lab.store.paths(f"{lab.checkpoint}:workspace") == []
        run_git(lab.store.path, "fsck", "--full", "--no-dangling")


@pytest.mark.parametrize("size", [0, 1, 15, 16, 127, 128, 2_047, 2_048, 262_143, 262_144, 1_000_000])
def test_git_reads_what_was_packed(tmp_path: Path, size: int) -> None:
    run_git(tmp_path, "init", "--quiet", "--bare", "r")
    place = tmp_path / "r"
    pack = Pack()
    wanted = {}
    for kind, name in KINDS.items():
        data = os.urandom(size) if kind == ObjectType.BLOB else name * (size // len(name))
        oid = hashlib.sha1(b"%s %d\0%s" % (name, len(data), data), usedforsecurity=False).hexdigest()
        wanted[oid] = (int(kind), data)
        pack.add(kind, oid, data)
        assert pack.get(oid) == (kind, data)
    _, index = pack.write(place / "objects/pack")
    assert not pack
    repository = pygit2.Repository(str(place))
    assert {str(oid) for oid in repository} == set(wanted)
    for oid, whole in wanted.items():
        found, data = repository.read(oid)
        assert (int(found), data) == whole
    run_git(place, "index-pack", "--verify", str(index.with_suffix(".pack")))


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
    objects = Objects(place)
    tree = objects.edit(EMPTY_TREE, {"a": Entry(FILE, objects.blob(b"a"))})
    above = [objects.commit(tree, [], f"parent {number}", AT) for number in range(parents)]
    who = Author(name, "person@example.org")
    try:
        by = pygit2.Signature(who.name, who.email, int(when.timestamp()), 0)
    except (ValueError, pygit2.GitError):
        with pytest.raises((ValueError, pygit2.GitError)):
            objects.commit(tree, above, message, when, who)
        return
    engine = pygit2.Signature("Baton", "baton@localhost", int(when.timestamp()), 0)
    text = message.encode(errors="replace").decode().replace("\0", "")
    theirs = objects.repo.create_commit(None, by, engine, text, tree, above)
    assert objects.commit(tree, above, message, when, who) == str(theirs)


async def test_a_step_with_much_in_it_does_not_keep_all_of_it_in_memory(lab: Lab) -> None:
    before = packs(lab.store.path)
    files = {f"large/{number}": os.urandom(6 << 20) for number in range(4)}
    head = await lab.store.commit_files("refs/baton/run-1/run/head", expected=None, files=files, message="m", at=AT)
    assert len(packs(lab.store.path)) == len(before) + 2, "one from 16 MB on, and one for the rest"
    for path, data in files.items():
        assert await lab.store.read(head, path) == data
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")


def test_what_threads_store_at_once_is_in_a_pack_for_each(lab: Lab) -> None:
    objects = lab.store.objects
    before = packs(lab.store.path)
    both = threading.Barrier(2, timeout=60)

    def step(name: str) -> str:
        with objects.together():
            tree = objects.edit(EMPTY_TREE, {name: Entry(FILE, objects.blob(name.encode()))})
            both.wait()
            assert not objects.has(objects.blob_id({"one": b"two", "two": b"one"}[name]))
            both.wait()
            return objects.commit(tree, [], name, AT)

    with ThreadPoolExecutor(2) as pool:
        commits = list(pool.map(step, ("one", "two")))
    assert len(packs(lab.store.path)) == len(before) + 2
    for name, commit in zip(("one", "two"), commits, strict=True):
        assert run_git(lab.store.path, "show", f"{commit}:{name}") == name
