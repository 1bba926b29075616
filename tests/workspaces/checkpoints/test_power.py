"""The power goes the moment a step is done: a copy of the disk at that moment has everything that a ref names."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from system import fsync
from tests.workspaces.conftest import AT, Lab, run_git
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.workspace import Workspace
from workspaces.store.store import Store

KINDS = ["ext4", "xfs", "btrfs"]
_OPTIONS = {"ext4": ["-q", "-F"], "xfs": ["-q", "-f"], "btrfs": ["-q", "-f"]}


@contextmanager
def mounted(image: Path, place: Path, *, copy: bool = False) -> Iterator[Path]:
    """The file system of an image; where the original could be mounted, a copy that cannot is an error."""
    place.mkdir()
    with image.open("rb") as file:
        options = "loop,nouuid" if file.read(4) == b"XFSB" else "loop"
    done = subprocess.run(["mount", "-o", options, str(image), str(place)], capture_output=True)
    if done.returncode != 0 and not copy:
        pytest.skip("no file system can be mounted here")
    assert done.returncode == 0, done.stderr.decode()
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(params=KINDS)
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A disk with an empty file system; such as are not to be had here are skipped."""
    make = shutil.which(f"mkfs.{request.param}", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if make is None:
        pytest.skip(f"there is no mkfs.{request.param} here")
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run([make, *_OPTIONS[request.param], str(image)], check=True)
    return image


async def test_what_a_step_has_stored_outlives_the_power(
    disk: Path, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = Lane("r", "t")
    heads: list[tuple[Path, str]] = []
    with mounted(disk, tmp_path / "mounted") as place:

        async def power_goes(head: str) -> None:
            """The disk as it is now; what the system has not handed to it yet is not in there."""
            copy = tmp_path / f"disk{len(heads)}"
            subprocess.run(["cp", "--sparse=always", str(disk), str(copy)], check=True)
            heads.append((copy, head))

        store = await Store.open(place / "home", str(lab.project.path))
        checkpoints = Checkpoints(store)
        head = await checkpoints.begin_lane(lane, (await store.fetch_base(None)).commit, at=AT)
        await power_goes(head)
        workspace = await Workspace.open_at(store, lane, head, sandbox=lab.sandbox)
        for number, touched in enumerate([["src/app.py"], None, ["src/app.py"], *[["src/app.py"]] * 12]):
            workspace.mark_dirty()
            (workspace.path / "src/app.py").write_text(f"number = {number}\n")
            snapshot = await workspace.take_snapshot(touched)
            files = {f"transcript/{number}": os.urandom(3_000)}
            head = await checkpoints.record_checkpoint(
                lane, expected=head, files=files, workspace=snapshot, summary=f"{number}", at=AT
            )
            workspace.mark_clean(head)
            if number == 3:
                monkeypatch.setattr("workspaces.git.repack.MANY", 0)  # pack after each checkpoint
                os.sync()  # the objects that are packed from here on were safe before
            if number in (0, 1, 2, 14):
                await power_goes(head)
        assert list(store.path.glob("objects/pack/*.pack")), "loose objects were packed, and removed"
        where = store.path.relative_to(place)
    for number, (copy, head) in enumerate(heads):
        with mounted(copy, tmp_path / f"after{number}", copy=True) as after:
            assert (after / where / lane.ref).read_text().strip() == head
            run_git(after / where, "-c", "safe.directory=*", "fsck", "--full", "--strict", "--no-dangling")


async def test_a_step_that_is_made_again_endangers_nothing(
    disk: Path, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry makes the same files: those take the place of such as a ref names, and must be as safe when they do."""
    with mounted(disk, tmp_path / "mounted") as place:
        store = await Store.open(place / "home", str(lab.project.path))
        ref = "refs/baton/run-1/run/head"

        async def step() -> str:
            return await store.commit_files(ref, expected=None, files={"state": b"x" * 5_000}, message="m", at=AT)

        head = await step()
        os.sync()
        monkeypatch.setattr(fsync.UnsyncedFiles, "sync_added", lambda _: [])
        assert await step() == head
        descriptor = os.open(place / "another", os.O_WRONLY | os.O_CREAT)
        os.fsync(descriptor)  # somebody else's file, and with it the names of ours
        os.close(descriptor)
        copy = tmp_path / "copy"
        subprocess.run(["cp", "--sparse=always", str(disk), str(copy)], check=True)
        where = store.path.relative_to(place)
    with mounted(copy, tmp_path / "after", copy=True) as after:
        assert (after / where / ref).read_text().strip() == head
        run_git(after / where, "-c", "safe.directory=*", "fsck", "--full", "--strict", "--no-dangling")
