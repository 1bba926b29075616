"""Loose objects are packed from time to time: they stay few, and no moment of it loses one."""

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from system.file_lock import hold_lock
from tests.conftest import HANGS, assert_eventually
from tests.workspaces.conftest import AT, Lab, packs, records, run_git
from workspaces.git.object_database import MAX_OPEN_PACKS, ObjectDatabase
from workspaces.git.repack import MANY, gc_lock, is_due, repack_loose
from workspaces.maintenance.stale_files import in_store
from workspaces.store.store import Store


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint packs."""
    monkeypatch.setattr("workspaces.git.repack.MANY", 0)


def loose(repository: Path) -> list[str]:
    return sorted(path.parent.name + path.name for path in repository.glob("objects/??/*"))


async def test_loose_objects_and_packs_stay_few_and_nothing_is_lost(lab: Lab, always: None) -> None:
    made = await records(lab, 40, 1_000)
    assert loose(lab.store.path) == []
    assert len(packs(lab.store.path)) <= 8, "each has twice as many objects as the next"
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    for number, commit in enumerate(made):
        assert len(await lab.store.read_file(commit, f"transcript/{number}") or b"") == 1_000
    assert not list(lab.store.path.glob("objects/pack/*tmp*"))


def test_loose_objects_are_counted_as_git_does_it(tmp_path: Path) -> None:
    sample = tmp_path / "objects/17"
    sample.mkdir(parents=True)
    for number in range(MANY // 256):
        assert not is_due(tmp_path)
        (sample / f"{number:038}").touch()
    assert is_due(tmp_path)


async def test_what_no_ref_names_yet_stays(lab: Lab) -> None:
    """A step has stored its objects, and another one packs before its commit."""
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "src/app.py").write_text("not named yet\n")
    snapshot = await workspace.take_snapshot(["src/app.py"])
    for _ in range(2):
        await repack_loose(lab.store.path)
        assert loose(lab.store.path) == []
    await lab.record(workspace, snapshot)
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    assert run_git(lab.store.path, "show", f"{lab.checkpoint}:workspace/src/app.py") == "not named yet"


async def test_objects_that_are_written_meanwhile_stay(lab: Lab) -> None:
    made: list[str] = []

    async def step(number: int) -> None:
        ref = f"refs/baton/run-{number}/run/head"
        for turn in range(20):
            head = await lab.store.read_head(ref)
            files = {"state.json": b"%d of run %d" % (turn, number)}
            made.append(await lab.store.commit_files(ref, expected=head, files=files, message="m", at=AT))

    async with asyncio.TaskGroup() as group:
        steps = [group.create_task(step(number)) for number in range(4)]
        while not all(one.done() for one in steps):
            await repack_loose(lab.store.path)
    fresh = ObjectDatabase(lab.store.path)
    assert all(fresh.has_object(commit) for commit in made)
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")


READER = """
import random, sys, time
from pathlib import Path
from workspaces.git.object_database import ObjectDatabase

repository, ref = Path(sys.argv[1]), sys.argv[2]
objects = ObjectDatabase(repository)  # once: it has the indexes open of packs that are gone
commits = []
while not (repository / "enough").exists():
    head = (repository / ref).read_text().strip()
    if head not in commits:
        commits.append(head)
    commit = random.choice(commits)
    assert objects.has_object(commit)
    objects.repo.read(objects.list_entries(objects.tree_of(commit))[b"meta.json"].oid)
    objects.repo.read(commit)
    print(commit, flush=True)
    time.sleep(0.001)
"""


async def test_whoever_reads_meanwhile_finds_everything(lab: Lab, tmp_path: Path) -> None:
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
        for number in range(24):
            await records(lab, 1)
            assert await repack_loose(path)
            if number % 4 == 0:
                run_git(path, "rev-list", "--objects", "--no-object-names", lab.checkpoint)
                walked += 1
    finally:
        (path / "enough").touch()
        codes = [reader.wait(timeout=HANGS.total_seconds()) for reader in readers]
    assert codes == [0, 0]
    assert walked == 6
    assert all(len(set(output.read_text().split())) > 10 for output in outputs)


async def test_removed_packs_are_not_kept_open(lab: Lab) -> None:
    """A worker has a store open for weeks."""
    directory = str(lab.store.path / "objects/pack")
    gc.disable()  # files are few whenever Python collects
    try:
        for _ in range(MAX_OPEN_PACKS + 8):
            (commit,) = await records(lab, 1)
            await repack_loose(lab.store.path)
            lab.store.objects.repo.read(commit)
        paths = []
        for descriptor in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):
                paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    finally:
        gc.enable()
    assert 0 < len([path for path in paths if path.startswith(directory)]) <= MAX_OPEN_PACKS
    lab.store.objects.close_packs()
    gc.collect()
    lines = Path("/proc/self/maps").read_text().splitlines()
    assert [line for line in lines if directory in line] == []


async def test_an_object_is_copied_a_few_times_in_all(lab: Lab) -> None:
    """The largest pack is left alone until the others are worth it."""
    await records(lab, 60)
    await repack_loose(lab.store.path)
    (large,) = packs(lab.store.path)
    for _ in range(5):
        await records(lab, 5)
        await repack_loose(lab.store.path)
    assert large.exists()
    assert len(packs(lab.store.path)) <= 4


async def test_nothing_is_packed_while_garbage_is_collected(lab: Lab, always: None) -> None:
    async with hold_lock(gc_lock(lab.store.path)):
        await records(lab, 3)
        assert not await repack_loose(lab.store.path)
        assert packs(lab.store.path) == []
    await records(lab, 1)
    assert len(packs(lab.store.path)) == 1


DYING = """
import asyncio, sys
from pathlib import Path
from workspaces.git.repack import repack_loose

print("ready", flush=True)
asyncio.run(repack_loose(Path(sys.argv[1])))
"""


async def test_killed_at_any_moment_nothing_is_lost(lab: Lab) -> None:
    """git with all its processes, as at the death of a machine; then the next one goes on."""
    chance = random.Random(11)
    made = await records(lab, 100, 2_000)
    for number in range(10):
        made += await records(lab, 5, 2_000)
        command = [sys.executable, "-c", DYING, str(lab.store.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as dying:
            assert dying.stdout is not None
            dying.stdout.readline()
            with suppress(subprocess.TimeoutExpired):
                dying.wait(chance.uniform(0.01, 0.05 * 1.3**number))
            children = Path(f"/proc/{dying.pid}/task/{dying.pid}/children")
            gits = children.read_text().split() if dying.poll() is None else []
            dying.kill()
            for pid in gits:
                with suppress(ProcessLookupError):
                    os.killpg(int(pid), signal.SIGKILL)  # git has a group of its own
        run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    fresh = ObjectDatabase(lab.store.path)
    assert all(fresh.has_object(commit) for commit in made)
    assert await repack_loose(lab.store.path)
    assert loose(lab.store.path) == []
    run_git(lab.store.path, "fsck", "--full", "--strict", "--no-dangling")
    for left in (lab.store.path / "objects/pack").iterdir():
        os.utime(left, (0, 0))
    assert {path.name[:4] for path in in_store(lab.store.root)} <= {".tmp", "tmp_"}


async def test_a_repack_that_fails_is_logged_and_does_not_fail_the_checkpoint(
    lab: Lab, always: None, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged object: it is for `baton doctor --store --repair`."""
    damaged = lab.store.objects.write_blob(os.urandom(5_000))
    path = lab.store.path / "objects" / damaged[:2] / damaged[2:]
    path.chmod(0o600)
    os.truncate(path, 3_000)
    made = await records(lab, 3)
    assert packs(lab.store.path) == []
    # Where the line goes depends on whether a test before has set logging up.
    said = capsys.readouterr().out or caplog.text
    assert said.count("git repack failed") == 1, "not again with each of the checkpoints"
    store = await Store.open(lab.home, lab.store.repo)
    assert all(store.objects.has_object(commit) for commit in made)
