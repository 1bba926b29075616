"""Looking through a workspace: nested repositories, links that race, objects that lie, a disk that is full."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from baton.errors import DiskFull, WorkspaceError
from system.safe_directory import SafeDirectory
from tests.conftest import HANGS
from tests.workspaces.conftest import AT, Lab, Project, contents, run_git
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.ignored_paths import IgnoreRules
from workspaces.checkpoints.sandboxed_git import Quarantine, adopt_objects
from workspaces.checkpoints.workspace import Workspace
from workspaces.git.run import call_git
from workspaces.store.store import Store


async def modes(lab: Lab, tree: str) -> set[str]:
    listed = await call_git(["ls-tree", "-r", "-z", tree], git_dir=lab.store.path)
    return {line.split()[0] for line in listed.split_names()}


async def test_nested_repositories_are_kept_as_plain_files(lab: Lab, tmp_path: Path) -> None:
    workspace = await lab.workspace()
    work = workspace.path
    with_commits = Project(work / "vendor/with")
    with_commits.commit({"a.txt": b"a", "sub/b.txt": b"b"})
    with_commits.write({"uncommitted": b"c", ".gitignore": b"*.o\n", "x.o": b"ignored"})
    without = Project(work / "without")
    without.write({"only.txt": b"d"})
    inner = Project(work / "without/deeper")
    inner.commit({"e.txt": b"e"})
    run_git(work, "init", "--quiet", "src")  # around files that are tracked
    (work / "src/app.py").write_text("changed")
    (work / "pointer").mkdir()
    (work / "pointer/.git").write_text("gitdir: ../vendor/with/.git\n")
    (work / "pointer/f").write_text("f")
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.changed == [
        "pointer/f", "src/app.py", "vendor/with/.gitignore", "vendor/with/a.txt", "vendor/with/sub/b.txt",
        "vendor/with/uncommitted", "without/deeper/e.txt", "without/only.txt",
    ]  # fmt: skip
    assert await modes(lab, snapshot.tree) == {"100644"}
    checkpoint = await lab.record(workspace, snapshot, "1")

    # A second look, now that they are part of the checkpoint; then a restore, without any `.git` but the top one.
    workspace.mark_dirty()
    (work / "vendor/with/a.txt").write_text("a2")
    (work / "vendor/with/sub/b.txt").unlink()
    assert (await workspace.take_snapshot(None)).changed == ["vendor/with/a.txt", "vendor/with/sub/b.txt"]
    await lab.workspace(checkpoint)
    assert [path for path in work.rglob(".git") if path.parent != work] == []
    assert (work / "vendor/with/sub/b.txt").read_text() == "b"
    assert (await workspace.take_snapshot(None)).changed == []


async def test_a_git_link_in_the_agents_index_is_nothing(lab: Lab) -> None:
    workspace = await lab.workspace()
    commit = run_git(workspace.path, "rev-parse", "HEAD")
    (workspace.path / "lib").mkdir()
    run_git(workspace.path, "update-index", "--add", "--cacheinfo", f"160000,{commit},lib")
    run_git(workspace.path, "commit", "--quiet", "-m", "gitlink")
    assert (await workspace.take_snapshot(None)).changed == []


async def test_what_is_put_in_the_place_of_a_submodule_is_undone_and_said(lab: Lab) -> None:
    commit = lab.project.git("rev-parse", "HEAD")
    lab.project.git("update-index", "--add", "--cacheinfo", f"160000,{commit},deps/lib")
    lab.project.git("commit", "--quiet", "-m", "a submodule")
    await lab.rebase("run-2")
    workspace = await lab.workspace()
    assert (await workspace.take_snapshot(None)).changed == []
    (workspace.path / "deps/lib/file").write_text("x")
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.changed == []
    assert snapshot.put_back == ("deps/lib/file",)
    assert list((workspace.path / "deps/lib").iterdir()) == []
    (workspace.path / "deps/lib/file").write_text("x")
    snapshot = await workspace.take_snapshot(["deps/lib/file", "README.md"])
    assert snapshot.changed == []
    assert snapshot.put_back == ("deps/lib/file",)


async def test_a_link_never_brings_a_secret_in(lab: Lab, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("SECRET")
    workspace = await lab.workspace()
    work = workspace.path
    (work / "link").symlink_to(secret / "key")
    (work / "dir").symlink_to(secret)
    (work / ".gitignore").symlink_to(secret / "key")
    Project(work / "nested").write({"f": b"f"})
    (work / "nested/key").symlink_to(secret / "key")
    (work / "nested/dir").symlink_to(secret)
    for snapshot in (
        await workspace.take_snapshot(None),
        await workspace.take_snapshot(["link", "dir/key", "nested/key", "nested/dir/key", "dir", ".gitignore"]),
    ):
        await lab.record(workspace, snapshot)
        for path in await lab.store.list_paths(snapshot.tree):
            assert await lab.store.read_file(snapshot.tree, path) != b"SECRET", path
        assert "dir/key" not in await lab.store.list_paths(snapshot.tree)


async def test_a_link_that_races_is_not_followed(lab: Lab, tmp_path: Path) -> None:
    """Somebody swaps a directory for a link to a secret, over and over, while the engine reads and writes there."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "f").write_text("SECRET")
    work = (await lab.workspace()).path
    (work / "d").mkdir()
    (work / "d/f").write_text("plain")
    files = SafeDirectory(work)
    stop = threading.Event()

    swaps = 0

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            with contextlib.suppress(OSError):  # the engine makes the directory anew when it finds a link there
                shutil.rmtree(work / "aside", ignore_errors=True)
                (work / "d/f").write_text("plain")
                os.rename(work / "d", work / "aside")
                os.symlink(secret, work / "d")
                swaps += 1
                os.unlink(work / "d")
                os.rename(work / "aside", work / "d")
            (work / "d").mkdir(exist_ok=True) if not (work / "d").is_symlink() else (work / "d").unlink()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        seen = set()
        deadline = time.monotonic() + HANGS.total_seconds()
        while swaps < 60 and time.monotonic() < deadline:
            try:
                seen.add(files.read_file("d/f"))
                files.chmod("d/f", 0o640)
                files.write_file("d/g", b"engine", 0o644)
            except OSError:
                continue
    finally:
        stop.set()
        thread.join()
    assert swaps > 50
    assert seen <= {b"plain", b""}
    assert os.listdir(secret) == ["f"]
    assert (secret / "f").stat().st_mode & 0o777 != 0o640


def test_objects_are_checked_before_they_are_moved(tmp_path: Path) -> None:
    quarantine, objects = tmp_path / "quarantine", tmp_path / "objects"
    objects.mkdir()

    def plant(oid: str, data: bytes) -> Path:
        path = quarantine / oid[:2] / oid[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    whole = b"blob 4\0good"
    good = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
    plant(good, zlib.compress(whole))
    plant("tm/p_obj_half", b"half")
    (quarantine / "info").mkdir()
    adopt_objects(quarantine, objects)
    assert [str(path.relative_to(objects)) for path in objects.rglob("*") if path.is_file()] == [
        f"{good[:2]}/{good[2:]}"
    ]

    for lie in (
        zlib.compress(b"blob 3\0bad"),
        b"garbage",
        zlib.compress(whole) + b"more",
        zlib.compress(whole)[:-3],
        b"",
    ):
        path = plant("ab" + "c" * 38, lie)
        with pytest.raises(WorkspaceError, match="quarantine"):
            adopt_objects(quarantine, objects)
        path.unlink()
    path = quarantine / "ab" / ("d" * 38)
    path.symlink_to("/etc/passwd")
    with pytest.raises((WorkspaceError, OSError)):
        adopt_objects(quarantine, objects)
    assert not list((objects / "ab").iterdir())


async def test_everything_in_the_store_is_sound_after_scans(lab: Lab) -> None:
    workspace = await lab.workspace()
    for number in range(3):
        for name in range(20):
            (workspace.path / f"f{name}").write_text(f"{number} {name}")
        await lab.record(workspace, await workspace.take_snapshot(None), str(number))
    await call_git(["fsck", "--strict", "--full", "--no-dangling"], git_dir=lab.store.path)
    assert not list(lab.store.root.rglob("tmp_obj*"))


@pytest.mark.parametrize(
    ("rules", "ignored", "kept"),
    [
        ("*.log\n!keep.log\n", ["a.log", "d/b.log"], ["keep.log", "log"]),
        ("/top\nmid/dle\n", ["top/x", "mid/dle/x"], ["d/top", "x/mid/dle"]),
        ("build/\n", ["build/x", "d/build/x"], ["e/build"]),
        ("a/**/z\n**/deep\nall/**\n", ["a/z", "a/b/c/z", "x/deep/f", "all/x"], ["az", "a/z2"]),
        (
            "# comment\n\\#hash\n\\!bang\ntrail \nkeep\\ \n",
            ["#hash", "!bang", "trail", "keep "],
            ["# comment", "trail "],
        ),
        ("[a-c]?.txt\n[!x]y\n[^p]q\nst\\*r\n", ["b1.txt", "ay", "aq", "st*r"], ["d1.txt", "xy", "pq", "star"]),
        ("dir/\n!dir/kept\n", ["dir/kept"], []),
        ("*\n!*/\n!*.py\n", ["d/x.txt"], ["d/x.py"]),
        ("[\n\\\n", [], ["a", "["]),
    ],
)
def test_ignore_rules_are_gits(tmp_path: Path, rules: str, ignored: list[str], kept: list[str]) -> None:
    project = Project(tmp_path / "p")
    project.write({".gitignore": rules.encode()})
    for path in ignored + kept:
        target = project.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("x")
    said = IgnoreRules(SafeDirectory(project.path))
    found = {path: said.is_ignored(path) for path in ignored + kept}
    by_git = {
        path: subprocess.run(["git", "check-ignore", "-q", "--", path], cwd=project.path).returncode == 0
        for path in ignored + kept
    }
    assert found == by_git
    assert found == {**dict.fromkeys(ignored, True), **dict.fromkeys(kept, False)}


def test_hostile_ignore_rules_cost_no_time(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*a" * 60 + "b\n" + "**/" * 200 + "x\n")
    name = "a" * 250
    assert not IgnoreRules(SafeDirectory(tmp_path)).is_ignored("/".join([name] * 12))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, where one may be mounted."""
    directory = tmp_path / "small"
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


async def test_a_full_disk_is_said_and_nothing_is_lost(small_disk: Path, lab: Lab) -> None:
    store = await Store.open(small_disk / "home", str(lab.project.path))
    base = await store.fetch_base(None)
    lane, checkpoints = Lane("r", "t"), Checkpoints(store)
    checkpoint = await checkpoints.begin_lane(lane, base.commit, at=AT)
    workspace = await Workspace.open_at(store, lane, checkpoint, sandbox=lab.sandbox)
    before = contents(workspace.path)
    workspace.mark_dirty()
    (workspace.path / "noise").write_bytes(os.urandom(1_000_000))
    filler = small_disk / "filler"

    def fill() -> None:
        """Until nothing is left, also not of what the system gives back a moment after it was removed."""
        idle = 0
        while idle < 3:
            before = filler.stat().st_size if filler.exists() else 0
            with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
                while True:
                    file.write(b"x" * 4_096)
            idle = idle + 1 if filler.stat().st_size == before else 0
            time.sleep(0.02)

    fill()
    with pytest.raises(DiskFull):
        await workspace.take_snapshot(None)
    fill()
    with pytest.raises(DiskFull):
        await workspace.take_snapshot(["noise"])
    fill()
    with pytest.raises(DiskFull):
        await checkpoints.record_checkpoint(
            lane, expected=checkpoint, files={"f": os.urandom(200_000)}, workspace=None, summary="x", at=AT
        )
    lab.project.commit({"large": os.urandom(500_000)})
    with pytest.raises(DiskFull):
        await store.fetch_base(None)
    assert await checkpoints.read_head(lane) == checkpoint
    filler.unlink()
    restored = await Workspace.open_at(store, lane, checkpoint, sandbox=lab.sandbox)
    assert contents(restored.path) == before
    (restored.path / "x").write_text("x")
    assert (await restored.take_snapshot(None)).changed == ["x"]
    await call_git(["fsck", "--strict", "--no-dangling"], git_dir=store.path)


async def test_a_scan_that_could_not_write_an_object_is_no_scan(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git add` goes on after an object it could not write; the file must not silently keep its old contents."""
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "lost.txt").write_text("must not be lost\n")
    prepare = Quarantine.empty_with_index

    def without_room(quarantine: Quarantine, index: Path) -> None:
        prepare(quarantine, index)
        quarantine.objects.chmod(0o500)

    monkeypatch.setattr(Quarantine, "empty_with_index", without_room)
    with pytest.raises(WorkspaceError, match="git failed"):
        await workspace.take_snapshot(None)
