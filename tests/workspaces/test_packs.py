"""Packs of one step's objects: git reads them, they stay few, and no moment of a merge loses anything."""

import gc
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygit2.enums import ObjectType

from baton.errors import WorkspaceError
from tests.workspaces.conftest import AT, Lab, contents, run_git
from workspaces.commits import Author
from workspaces.locks import locked
from workspaces.objects import MOST_OPEN, Objects
from workspaces.packs import MANY, Pack, gc_lock, merge
from workspaces.trees import EMPTY_TREE, FILE, Entry

KINDS = {ObjectType.BLOB: b"blob", ObjectType.TREE: b"tree", ObjectType.COMMIT: b"commit"}


def packs(repository: Path) -> list[Path]:
    return sorted((repository / "objects/pack").glob("*.pack"))


def singles(repository: Path) -> list[Path]:
    return [path for path in repository.glob("objects/??/*") if path.is_file()]


async def records(lab: Lab, count: int, size: int = 100) -> list[str]:
    """Checkpoints with a file of their own each."""
    made = []
    for number in range(count):
        files = {f"transcript/{number}": os.urandom(size)}
        lab.checkpoint = await lab.checkpoints.record(
            lab.lane, expected=lab.checkpoint, files=files, workspace=None, summary=str(number), at=AT
        )
        made.append(lab.checkpoint)
    return made


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


async def test_packs_stay_few_and_nothing_is_lost(lab: Lab) -> None:
    made = await records(lab, 6 * MANY, 3_000)
    assert len(packs(lab.store.path)) < 2 * MANY
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    for number, commit in enumerate(made):
        assert len(await lab.store.read(commit, f"transcript/{number}") or b"") == 3_000
    for found in packs(lab.store.path):
        run_git(lab.store.path, "verify-pack", str(found.with_suffix(".idx")))
    assert not list(lab.store.path.glob("objects/pack/tmp_*"))


async def test_whoever_reads_while_packs_are_merged_finds_everything(lab: Lab) -> None:
    """Other processes have the indexes open of packs that are gone; so has git."""
    commits = [lab.checkpoint]
    failed: list[BaseException] = []
    stop = threading.Event()
    read = walked = 0

    def reads() -> None:
        nonlocal read
        other = Objects(lab.store.path)
        while not stop.is_set():
            commit = random.choice(commits)
            try:
                assert other.has(commit)
                other.repo.read(other.entries(other.tree_of(commit))[b"meta.json"].oid)
                other.repo.read(commit)
            except BaseException as error:
                failed.append(error)
                return
            read += 1
            time.sleep(0.001)

    def walks() -> None:
        nonlocal walked
        while not stop.is_set():
            command = ["git", "rev-list", "--objects", "--no-object-names", commits[-1]]
            listed = subprocess.run(command, cwd=lab.store.path, capture_output=True)
            if listed.returncode != 0:
                failed.append(AssertionError(listed.stderr))
            walked += 1

    threads = [threading.Thread(target=target) for target in (reads, reads, walks)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5 * MANY):
            commits += await records(lab, 1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert read > MANY
    assert walked > 1
    assert len(packs(lab.store.path)) < 2 * MANY


async def test_removed_packs_are_not_kept_open(lab: Lab) -> None:
    """A worker has a store open for weeks."""
    directory = str(lab.store.path / "objects/pack")
    for _ in range(5 * MANY):
        (commit,) = await records(lab, 1)
        lab.store.objects.repo.read(commit)
    paths = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    assert 0 < len([path for path in paths if path.startswith(directory)]) <= MOST_OPEN
    gc.collect()
    lines = Path("/proc/self/maps").read_text().splitlines()
    assert len([line for line in lines if directory in line]) <= 4 * MANY


async def test_an_object_is_copied_a_few_times_in_all(lab: Lab) -> None:
    """The largest pack is left alone until the others are worth it."""
    await records(lab, 1, 200_000)
    (large,) = [path for path in packs(lab.store.path) if path.stat().st_size > 100_000]
    await records(lab, 4 * MANY, 100)
    assert large.exists()


async def test_a_damaged_pack_is_not_copied(lab: Lab) -> None:
    await records(lab, 2)
    damaged = packs(lab.store.path)[0]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged.chmod(0o600)
    damaged.write_bytes(data)
    await records(lab, 3 * MANY)
    assert damaged.read_bytes() == data, "it is for `baton doctor --store --repair`"
    assert len(packs(lab.store.path)) < 2 * MANY


async def test_a_pack_with_deltas_is_not_copied(lab: Lab) -> None:
    text = b"".join(b"line %d\n" % number for number in range(2_000))
    for number in range(3):
        await lab.store.commit_files(
            "refs/baton/run-1/run/head",
            expected=await lab.store.head("refs/baton/run-1/run/head"),
            files={"state.json": text + b"%d" % number},
            message="m",
            at=AT,
        )
    run_git(lab.store.path, "repack", "-adlq", "--depth=50")
    (with_deltas,) = packs(lab.store.path)
    assert "chain length" in run_git(lab.store.path, "verify-pack", "-v", str(with_deltas.with_suffix(".idx")))
    await records(lab, 3 * MANY)
    assert with_deltas.exists()
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")


async def test_nothing_is_merged_while_garbage_is_collected(lab: Lab) -> None:
    async with locked(gc_lock(lab.store.path)):
        before = packs(lab.store.path)
        await records(lab, 2 * MANY)
        assert set(before) < set(packs(lab.store.path))
        assert len(packs(lab.store.path)) >= 2 * MANY
    merge(lab.store.path)
    assert len(packs(lab.store.path)) < MANY


async def test_a_step_that_is_made_again_has_a_pack_of_another_name(lab: Lab) -> None:
    """`git repack` removes by name what it took for old garbage; what was stored again must not have that name."""
    ref = "refs/baton/run-1/run/head"
    before = set(packs(lab.store.path))
    for _ in range(2):
        await lab.store.commit_files(ref, expected=None, files={"state": b"1"}, message="m", at=AT)
    assert len(set(packs(lab.store.path)) - before) == 2


async def test_what_is_merged_stays_as_old_as_it_was(lab: Lab) -> None:
    """So that `baton gc` still takes old garbage for old."""
    async with locked(gc_lock(lab.store.path)):
        await records(lab, 2 * MANY)
    old = time.time() - 86_400
    for path in (lab.store.path / "objects/pack").iterdir():
        os.utime(path, (old, old))
    merge(lab.store.path)
    assert len(packs(lab.store.path)) < MANY
    assert all(abs(path.stat().st_mtime - old) < 2 for path in packs(lab.store.path))


DYING = """
import os, pathlib, signal, sys
from workspaces import packs
where, repository = sys.argv[1], pathlib.Path(sys.argv[2])
die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
if where == "before its names":
    pathlib.Path.rename = die
elif where == "between its names":
    rename = pathlib.Path.rename
    pathlib.Path.rename = lambda self, to: die() if str(to).endswith(".idx") else rename(self, to)
elif where == "before the others go":
    packs.sync_names = die
else:
    unlink = pathlib.Path.unlink
    pathlib.Path.unlink = lambda self, **k: die() if self.suffix == ".pack" else unlink(self, **k)
packs.merge(repository)
"""


@pytest.mark.parametrize(
    "where", ["before its names", "between its names", "before the others go", "while the others go"]
)
async def test_a_merge_that_is_killed_loses_nothing(lab: Lab, where: str) -> None:
    async with locked(gc_lock(lab.store.path)):
        made = await records(lab, 2 * MANY)
    died = subprocess.run([sys.executable, "-c", DYING, where, str(lab.store.path)])
    assert died.returncode == -9
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    made += await records(lab, 2 * MANY)
    fresh = Objects(lab.store.path)
    for commit in made:
        assert fresh.read(commit)[0] == ObjectType.COMMIT
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    assert len(packs(lab.store.path)) < 3 * MANY


async def test_a_merge_that_finds_no_room_does_not_fail_the_checkpoint(lab: Lab) -> None:
    """A limit on the size of files stands for a disk on which a checkpoint has room, and what a merge makes has not."""
    async with locked(gc_lock(lab.store.path)):
        await records(lab, 2 * MANY, 10_000)
    before = packs(lab.store.path)
    limited = """
import asyncio, resource, sys
from pathlib import Path
from tests.workspaces.conftest import AT
from workspaces.checkpoints import Checkpoints, Lane
from workspaces.store import Store

async def main():
    store = await Store.open(Path(sys.argv[1]), sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    lane = Lane(sys.argv[3], sys.argv[4])
    print(await Checkpoints(store).record(
        lane, expected=sys.argv[5], files={"more": b"x"}, workspace=None, summary="more", at=AT))

asyncio.run(main())
"""
    arguments = [str(lab.home), lab.store.repo, lab.lane.run, lab.lane.task, lab.checkpoint]
    done = subprocess.run([sys.executable, "-c", limited, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert await lab.checkpoints.head(lab.lane) == done.stdout.strip()
    assert len(packs(lab.store.path)) == len(before) + 1
    assert not list(lab.store.path.glob("objects/pack/tmp_*"))
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
