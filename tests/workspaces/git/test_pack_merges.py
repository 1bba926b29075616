"""Packs that are merged: they stay few, nobody misses anything, and no moment of a merge loses anything."""

import gc
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from pygit2.enums import ObjectType

from tests.conftest import assert_eventually
from tests.workspaces.conftest import AT, Lab, packs, records, run_git
from workspaces.git.file_lock import locked
from workspaces.git.object_database import MOST_OPEN, Objects
from workspaces.git.packs import MANY, gc_lock, merge


async def test_packs_stay_few_and_nothing_is_lost(lab: Lab) -> None:
    made = await records(lab, 6 * MANY, 3_000)
    assert len(packs(lab.store.path)) < 2 * MANY
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    for number, commit in enumerate(made):
        assert len(await lab.store.read(commit, f"transcript/{number}") or b"") == 3_000
    for found in packs(lab.store.path):
        run_git(lab.store.path, "verify-pack", str(found.with_suffix(".idx")))
    assert not list(lab.store.path.glob("objects/pack/tmp_*"))


READER = """
import random, sys, time
from pathlib import Path
from workspaces.git.object_database import Objects

repository, ref = Path(sys.argv[1]), sys.argv[2]
objects = Objects(repository)  # once: it has the indexes open of packs that are gone
commits = []
while not (repository / "enough").exists():
    head = (repository / ref).read_text().strip()
    if head not in commits:
        commits.append(head)
    commit = random.choice(commits)
    assert objects.has(commit)
    objects.repo.read(objects.entries(objects.tree_of(commit))[b"meta.json"].oid)
    objects.repo.read(commit)
    print(commit, flush=True)
    time.sleep(0.001)
"""


async def test_whoever_reads_while_packs_are_merged_finds_everything(lab: Lab, tmp_path: Path) -> None:
    """Other processes: by libgit2 and by git."""
    path, walked = lab.store.path, 0
    outputs = [tmp_path / f"reader{number}" for number in range(2)]
    readers = []
    for output in outputs:
        with output.open("wb") as file:
            command = [sys.executable, "-c", READER, str(path), lab.lane.ref]
            readers.append(subprocess.Popen(command, stdout=file, cwd=Path(__file__).parents[3]))
    try:
        await assert_eventually(lambda: all(output.stat().st_size for output in outputs))
        for number in range(5 * MANY):
            await records(lab, 1)
            if number % 4 == 0:
                run_git(path, "rev-list", "--objects", "--no-object-names", lab.checkpoint)
                walked += 1
    finally:
        (path / "enough").touch()
        codes = [reader.wait(timeout=60) for reader in readers]
    assert codes == [0, 0]
    assert walked > MANY
    assert all(len(set(output.read_text().split())) > MANY for output in outputs)
    assert len(packs(path)) < 2 * MANY


async def test_removed_packs_are_not_kept_open(lab: Lab) -> None:
    """A worker has a store open for weeks."""
    directory = str(lab.store.path / "objects/pack")
    gc.disable()  # files are few whenever Python collects
    try:
        for _ in range(5 * MANY):
            (commit,) = await records(lab, 1)
            lab.store.objects.repo.read(commit)
        paths = []
        for descriptor in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):
                paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    finally:
        gc.enable()
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


@pytest.mark.parametrize(("largest_pack", "most"), [(50_000, 10_000_000), (10_000_000, 100_000)])
async def test_a_merge_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch, largest_pack: int, most: int) -> None:
    """It is done in memory. The bounds are made small here, so that the packs need not be large."""
    monkeypatch.setattr("workspaces.git.packs._LARGEST_MERGED", largest_pack)
    monkeypatch.setattr("workspaces.git.packs._LARGEST_MERGE", most)
    async with locked(gc_lock(lab.store.path)):
        await records(lab, MANY, 20_000)
        await records(lab, 2, 60_000)
    before = {path: path.stat().st_size for path in packs(lab.store.path)}
    merge(lab.store.path)
    gone = [size for path, size in before.items() if not path.exists()]
    assert len(gone) > 2
    assert sum(gone) <= most
    assert max(gone) <= largest_pack


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
from workspaces.git import packs
where, repository = sys.argv[1], pathlib.Path(sys.argv[2])
die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
if where == "before its names":
    pathlib.Path.rename = die
elif where == "between its names":
    rename = pathlib.Path.rename
    pathlib.Path.rename = lambda self, to: (rename(self, to), die())
elif where == "before the others go":
    packs.sync_names = die
else:
    unlink = pathlib.Path.unlink
    pathlib.Path.unlink = lambda self, **k: (unlink(self, **k), self.suffix == ".pack" and die())
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
    without_pack = [
        path for path in lab.store.path.glob("objects/pack/*.idx") if not path.with_suffix(".pack").exists()
    ]
    assert without_pack == [], "git and libgit2 look for what an index names"
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
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.store.store import Store

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
