"""Workspaces: exactly a checkpoint, byte for byte; retries and zombies; what is put back; what a crash leaves."""

import asyncio
import os
import shutil
import stat
import time
from datetime import timedelta
from pathlib import Path

import pytest

from baton.errors import SandboxUnavailable, WorkspaceError
from baton.settings.core import SandboxMode
from tests.conftest import HANGS
from tests.workspaces.conftest import AT, Lab, contents, run_git, stopped_holder
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.workspace import Workspace, discard_run, hold_workspace
from workspaces.sandbox.sandbox import Sandbox, SandboxStatus
from workspaces.store.store import Store

AWKWARD = {
    ".gitattributes": b"* text=auto eol=crlf\n*.bin -text\n*.id ident\n*.c filter=x\n"
    b"*.utf16 working-tree-encoding=UTF-16\n",
    ".gitignore": b"*.log\nbuild/\n",
    "crlf.txt": b"one\r\ntwo\r\n",
    "mixed.txt": b"one\r\ntwo\nthree\r",
    "dollar.id": b"$Id$ and $Id: abc $\n",
    "text.utf16": "grüße".encode("utf-16"),
    "code.c": b"int x;\n",
    "tracked.log": b"ignored, but tracked\n",
    "build/kept.txt": b"in an ignored directory\n",
    "spaces and \t tab \n newline.txt": b"x",
    "-rf": b"x",
    "quote'\"$(touch canary)`.txt": b"x",
    ":(top)magic": b"x",
    "empty": b"",
    "zeros.bin": bytes(range(256)) * 40,
}


async def fill(lab: Lab) -> None:
    """Commit awkward files to the project with plumbing, so that its attributes change nothing on the way in."""
    for name, data in AWKWARD.items():
        lab.project.write({name: data})
        oid = lab.project.git("hash-object", "-w", "--no-filters", "--", name)
        lab.project.git("update-index", "--add", "--cacheinfo", f"100644,{oid},{name}")
    raw = os.fsencode(lab.project.path) + b"/caf\xe9.txt"
    Path(os.fsdecode(raw)).write_bytes(b"not UTF-8\n")
    (lab.project.path / "run.sh").write_text("#!/bin/sh\n")
    (lab.project.path / "run.sh").chmod(0o755)
    (lab.project.path / "good-link").symlink_to("src/app.py")
    (lab.project.path / "bad-link").symlink_to("/nowhere/at/all")
    lab.project.git("add", "--", "run.sh", "good-link", "bad-link", os.fsdecode(b"caf\xe9.txt"))
    lab.project.git("commit", "--quiet", "-m", "awkward")
    await lab.rebase("awkward")


async def elsewhere(lab: Lab, tmp_path: Path, checkpoint: str) -> Path:
    """The same checkpoint on another host, which has the commits but no workspace."""
    home = tmp_path / "other-host"
    shutil.copytree(lab.home / "stores", home / "stores")
    store = await Store.open(home, str(lab.project.path))
    return (await Workspace.open_at(store, lab.lane, checkpoint, sandbox=lab.sandbox)).path


async def test_a_workspace_is_the_project_byte_for_byte(lab: Lab) -> None:
    await fill(lab)
    workspace = await lab.workspace()
    found = contents(workspace.path)
    for name, data in AWKWARD.items():
        assert found[name] == ("file", 0o644, data), name
    assert found["run.sh"] == ("file", 0o755, b"#!/bin/sh\n")
    assert found["good-link"] == ("link", 0, b"src/app.py")
    assert found["bad-link"] == ("link", 0, b"/nowhere/at/all")
    assert found[os.fsdecode(b"caf\xe9.txt")] == ("file", 0o644, b"not UTF-8\n")


async def test_what_was_done_comes_back_byte_for_byte_here_and_elsewhere(lab: Lab, tmp_path: Path) -> None:
    await fill(lab)
    workspace = await lab.workspace()
    workspace.mark_dirty()
    work = workspace.path
    (work / "crlf.txt").write_bytes(b"changed\r\n")
    (work / "tracked.log").write_bytes(b"changed too")
    (work / "text.utf16").write_bytes("größer".encode("utf-16"))
    (work / "mixed.txt").unlink()
    (work / "new").mkdir(mode=0o700)
    (work / "new/secret").write_bytes(b"s")
    (work / "new/secret").chmod(0o600)
    (work / "new/read-only").write_bytes(b"r")
    (work / "new/read-only").chmod(0o444)
    (work / "hollow/inner").mkdir(parents=True)
    (work / "src/app.py").chmod(0o755)
    (work / "run.sh").chmod(0o644)
    (work / "good-link").unlink()
    (work / "good-link").symlink_to("README.md")
    Path(os.fsdecode(os.fsencode(work) + b"/new/\xff\xfe")).write_bytes(b"odd name")
    shutil.rmtree(work / "src/lib")
    (work / "src/lib").write_text("a file where a directory was")
    (work / "README.md").unlink()
    (work / "README.md").mkdir()
    (work / "README.md/inside").write_text("a directory where a file was")
    snapshot = await workspace.take_snapshot(None)
    expected = contents(work)
    checkpoint = await lab.record(workspace, snapshot)
    assert set(snapshot.changed) == {
        "crlf.txt", "tracked.log", "text.utf16", "mixed.txt", "new/secret", "new/read-only", "src/app.py", "run.sh",
        "good-link", os.fsdecode(b"new/\xff\xfe"), "src/lib/util.py", "src/lib", "README.md", "README.md/inside",
    }  # fmt: skip
    assert contents(await elsewhere(lab, tmp_path, checkpoint)) == expected

    # Here, after an attempt that wrecked the place and died.
    workspace.mark_dirty()
    shutil.rmtree(work / "new")
    (work / "hollow/inner").rmdir()
    (work / "junk/deep").mkdir(parents=True)
    (work / "junk/file").write_text("junk")
    (work / "void").mkdir()
    (work / "crlf.txt").write_bytes(b"CHANGED\r\n")
    (work / "zeros.bin").chmod(0o600)
    (work / "src").chmod(0o711)
    assert contents((await lab.workspace()).path) == expected
    # And back to the start.
    lab.checkpoint = (await lab.checkpoints.list_history(lab.lane))[0].commit
    assert contents((await lab.workspace()).path) != expected
    assert (work / "mixed.txt").read_bytes() == AWKWARD["mixed.txt"]


async def test_nothing_is_done_where_the_workspace_is_clean(lab: Lab) -> None:
    workspace = await lab.workspace()
    (workspace.path / "witness").write_text("a restore would remove this")
    (workspace.path / ".git/witness").write_text("so would a new .git")
    await lab.workspace()
    assert (workspace.path / "witness").exists()
    assert (workspace.path / ".git/witness").exists()
    workspace.mark_dirty()
    await lab.workspace()
    assert not (workspace.path / "witness").exists()
    assert not (workspace.path / ".git/witness").exists()


async def test_a_later_checkpoint_with_the_same_files_is_no_work(lab: Lab) -> None:
    workspace = await lab.workspace()
    (workspace.path / "witness").write_text("")
    checkpoint = await lab.checkpoints.record_checkpoint(
        lab.lane, expected=lab.checkpoint, files={"transcript/1.json": b"{}"}, workspace=None, summary="answer", at=AT
    )
    await lab.workspace(checkpoint)
    assert (workspace.path / "witness").exists()


async def test_after_a_restart_of_the_machine_nothing_is_taken_on_trust(lab: Lab) -> None:
    workspace = await lab.workspace()
    marker = workspace.path.parent / "clean"
    marker.write_text(marker.read_text().replace('"boot": "', '"boot": "other'))
    (workspace.path / "witness").write_text("")
    await lab.workspace()
    assert not (workspace.path / "witness").exists()


async def test_ignored_files_stay_on_the_same_host(lab: Lab) -> None:
    lab.project.commit({".gitignore": b"venv/\n"})
    await lab.rebase("run-2")
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "venv/bin").mkdir(parents=True)
    (workspace.path / "venv/bin/python").write_text("x")
    (workspace.path / "venv/hollow").mkdir()
    (workspace.path / "junk").write_text("x")
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.changed == ["junk"]
    assert b"hollow" not in snapshot.meta
    await lab.workspace()
    assert (workspace.path / "venv/bin/python").exists()
    assert (workspace.path / "venv/hollow").exists()
    assert not (workspace.path / "junk").exists()


async def test_known_paths_and_a_full_look_give_the_same(lab: Lab) -> None:
    lab.project.commit({".gitignore": b"*.log\nout/\n!keep.log\n", "kept.log": b"tracked\n"})
    await lab.rebase("run-2")
    workspace = await lab.workspace()
    workspace.mark_dirty()
    work = workspace.path
    (work / "src/app.py").write_text("changed")
    (work / "src/new").mkdir()
    (work / "src/new/file.py").write_text("new")
    (work / "kept.log").write_text("changed")
    (work / "other.log").write_text("ignored")
    (work / "keep.log").write_text("not ignored")
    (work / "out").mkdir()
    (work / "out/x").write_text("ignored")
    (work / "README.md").unlink()
    (work / "tool").write_text("#!")
    (work / "tool").chmod(0o750)
    (work / "link").symlink_to("tool")
    touched = [
        "src/app.py",
        "src/new/file.py",
        "kept.log",
        "other.log",
        "keep.log",
        "out/x",
        "README.md",
        "tool",
        "link",
    ]
    quick = await workspace.take_snapshot(touched)
    full = await workspace.take_snapshot(None)
    assert quick == full
    assert "other.log" not in quick.changed
    assert "tool" in quick.changed


async def test_changes_of_equal_length_within_a_second_are_seen(lab: Lab) -> None:
    """git compares times by the second, and trusts what is older than its index; a copy must not look newer."""
    workspace = await lab.workspace()
    file = workspace.path / "README.md"
    await asyncio.sleep(1.01 - time.time() % 1)
    for text in ("aaaaa\n", "bbbbb\n"):
        workspace.mark_dirty()
        file.write_text(text)
        snapshot = await workspace.take_snapshot(None)
        assert snapshot.changed == ["README.md"], text
        await lab.record(workspace, snapshot, text.strip())
        assert await lab.store.read_file(snapshot.tree, "README.md") == text.encode()
    workspace.mark_dirty()
    file.write_text("ccccc\n")
    await asyncio.sleep(1.01 - time.time() % 1)
    assert (await workspace.take_snapshot(None)).changed == ["README.md"]
    file.write_text("ddddd\n")
    await asyncio.sleep(1.01 - time.time() % 1)
    await lab.workspace()
    assert file.read_text() == "bbbbb\n"
    file.write_text("eeeee\n")
    assert run_git(workspace.path, "status", "--porcelain") == " M README.md"


async def test_a_full_look_after_known_paths_keeps_what_is_tracked(lab: Lab) -> None:
    """The index is older than the checkpoint then; a tracked file that is ignored must not fall out."""
    lab.project.commit({".gitignore": b"*.log\n", "kept.log": b"tracked\n"})
    await lab.rebase("run-2")
    workspace = await lab.workspace()
    (workspace.path / "kept.log").unlink()
    gone = await workspace.take_snapshot(None)
    assert gone.changed == ["kept.log"]
    back = await workspace.put_back(gone, ["kept.log"])
    assert back.changed == []
    await lab.record(workspace, back, "1")
    (workspace.path / "README.md").write_text("x")
    assert (await workspace.take_snapshot(None)).changed == ["README.md"]


async def test_putting_back(lab: Lab) -> None:
    workspace = await lab.workspace()
    work = workspace.path
    (work / "web").mkdir()
    (work / "web/app.js").write_text("v1")
    (work / "web/app.js").chmod(0o640)
    (work / "hollow").mkdir()
    await lab.record(workspace, await workspace.take_snapshot(None), "1")
    before = contents(work)

    workspace.mark_dirty()
    (work / "web/app.js").write_text("v2")
    (work / "web/app.js").chmod(0o755)
    (work / "web/added/deep").mkdir(parents=True)
    (work / "web/added/deep/file").write_text("x")
    (work / "README.md").unlink()
    shutil.rmtree(work / "src")
    (work / "src").symlink_to("/etc")
    (work / "hollow/file").write_text("x")
    (work / "mine.py").write_text("this one stays")
    snapshot = await workspace.take_snapshot(None)
    outside = [path for path in snapshot.changed if path != "mine.py"]
    back = await workspace.put_back(snapshot, outside)
    assert back.changed == ["mine.py"]
    assert contents(work) == {**before, "mine.py": ("file", 0o644, b"this one stays")}
    checkpoint = await lab.record(workspace, back, "2")
    assert await lab.store.changed_paths(f"{lab.base}", f"{checkpoint}:workspace") == ["mine.py", "web/app.js"]
    assert await workspace.take_snapshot(None) == await workspace.take_snapshot([])


async def test_putting_back_a_mode_only(lab: Lab) -> None:
    workspace = await lab.workspace()
    (workspace.path / "README.md").chmod(0o600)
    snapshot = await workspace.take_snapshot(["README.md"])
    assert snapshot.changed == ["README.md"]
    assert (await workspace.put_back(snapshot, ["README.md"])).changed == []
    assert stat.S_IMODE((workspace.path / "README.md").stat().st_mode) == 0o644


async def test_putting_back_writes_through_no_link(lab: Lab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "app.py").write_text("precious")
    workspace = await lab.workspace()
    shutil.rmtree(workspace.path / "src")
    (workspace.path / "src").symlink_to(outside)
    snapshot = await workspace.take_snapshot(None)
    # Only what was deleted is named, not the link that stands in its way.
    back = await workspace.put_back(snapshot, ["src/app.py", "src/lib/util.py"])
    assert (outside / "app.py").read_text() == "precious"
    assert (workspace.path / "src/app.py").read_text() == "print(1)\n"
    assert not (workspace.path / "src").is_symlink()
    assert back.changed == []


async def test_special_files_unreadable_files_and_odd_names_stop_nothing(lab: Lab) -> None:
    workspace = await lab.workspace()
    work = workspace.path
    os.mkfifo(work / "pipe")
    (work / "locked").write_text("still kept")
    (work / "locked").chmod(0o000)
    (work / "shut").mkdir()
    (work / "shut/in").write_text("x")
    (work / "shut").chmod(0o000)
    (work / ".GIT").mkdir()
    (work / ".GIT/config").write_text("[core]\n\tfsmonitor = touch canary\n")
    (work / "git~1").write_text("x")
    (work / "sub").mkdir()
    (work / "sub/.Git").write_text("x")
    with (work / "huge").open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    (work / "good").write_text("x")
    snapshot = await workspace.take_snapshot(None)
    assert set(snapshot.changed) == {"locked", "shut/in", ".GIT", "git~1", "sub/.Git", "huge", "good"}
    assert set(snapshot.left_out) == {".GIT", "git~1", "sub/.Git", "huge"}
    kept = await lab.store.changed_paths(lab.base, snapshot.tree)
    assert set(kept) == {"locked", "shut/in", "good"}
    quick = await workspace.take_snapshot(
        [".GIT/config", "git~1", "huge", "good", "pipe", "../x", "/etc/passwd", "locked"]
    )
    assert set(quick.left_out) == {".GIT/config", "git~1", "huge", "../x", "/etc/passwd"}
    back = await workspace.put_back(snapshot, snapshot.left_out)
    assert not (work / ".GIT").exists()
    assert not (work / "huge").exists()
    assert back.left_out == ()


async def test_a_very_deep_directory_is_left_out(lab: Lab) -> None:
    workspace = await lab.workspace()
    deep = workspace.path / "d"
    for _ in range(150):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "f").write_text("x")
    (workspace.path / "good").write_text("x")
    snapshot = await workspace.take_snapshot(None)
    assert "good" in snapshot.changed
    assert len(snapshot.left_out) == 1


async def test_one_attempt_at_a_time(lab: Lab) -> None:
    order: list[str] = []
    inside, beating = asyncio.Event(), asyncio.Event()

    async def zombie() -> None:
        async with hold_workspace(lab.store, lab.lane):
            order.append("zombie in")
            inside.set()
            await beating.wait()
            order.append("zombie out")

    async def successor() -> None:
        await inside.wait()
        async with hold_workspace(lab.store, lab.lane):
            order.append("successor in")

    async def heartbeat() -> None:
        """Beat while one is in and the other one waits: a waiter that blocked the loop would end the test here."""
        await inside.wait()
        for _ in range(20):
            await asyncio.sleep(0.005)
        beating.set()

    await asyncio.gather(heartbeat(), zombie(), successor())
    assert order == ["zombie in", "zombie out", "successor in"]
    async with hold_workspace(lab.store, lab.lane), hold_workspace(lab.store, Lane("run-1", "task-2")):
        pass


async def test_a_stopped_process_that_holds_a_workspace_is_named_after_a_while(lab: Lab) -> None:
    lock = lab.home / "workspaces/run-1/task-1/lock"
    async with stopped_holder(lock) as process:
        with pytest.raises(WorkspaceError, match=f"by process {process}, which is stopped: .* Kill that process"):
            async with hold_workspace(lab.store, lab.lane, limit=timedelta(seconds=0.3)):
                pytest.fail("two held it")
    async with hold_workspace(lab.store, lab.lane, limit=HANGS):
        pass


async def test_a_cancelled_attempt_lets_go_and_the_next_restores(lab: Lab) -> None:
    async def attempt() -> None:
        async with hold_workspace(lab.store, lab.lane):
            workspace = await lab.workspace()
            workspace.mark_dirty()
            (workspace.path / "half").write_text("done")
            await asyncio.sleep(30)

    task = asyncio.create_task(attempt())
    work = lab.home / "workspaces/run-1/task-1/work"
    while not (work / "half").exists():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(HANGS.total_seconds()), hold_workspace(lab.store, lab.lane):
        await lab.workspace()
        assert not (work / "half").exists()


async def test_what_a_crash_leaves_is_cleared_away(lab: Lab) -> None:
    workspace = await lab.workspace()
    await lab.record(workspace, await workspace.take_snapshot(None), "1")
    home = workspace.path.parent
    workspace.mark_dirty()
    (home / "quarantine/objects/ab").mkdir(parents=True)
    (home / "quarantine/objects/ab/tmp_obj_x").write_text("half")
    (home / "quarantine/index.lock").touch()
    (home / "quarantine/index").write_text("half an index")
    (home / "index.lock").touch()
    (home / "agent.index").touch()
    (workspace.path / ".git/index.lock").touch()
    (workspace.path / "x").write_text("x")
    assert (await workspace.take_snapshot(None)).changed == ["x"]
    await lab.workspace()
    assert not (workspace.path / "x").exists()


@pytest.mark.parametrize("damage", ["index lost", "index cut", "index of another tree", "work lost", "work is a link"])
async def test_damage_is_mended(lab: Lab, tmp_path: Path, damage: str) -> None:
    workspace = await lab.workspace()
    before = contents(workspace.path)
    home = workspace.path.parent
    workspace.mark_dirty()
    if damage == "index lost":
        (home / "index").unlink()
    elif damage == "index cut":
        (home / "index").write_bytes((home / "index").read_bytes()[:40])
    elif damage == "index of another tree":
        (workspace.path / "README.md").write_text("x")
        await workspace.take_snapshot(None)
        (home / "index.tree").write_text(f"{lab.checkpoints.workspace_tree(lab.checkpoint)} seen")
    else:
        shutil.rmtree(workspace.path)
        if damage == "work is a link":
            (tmp_path / "victim").mkdir()
            (tmp_path / "victim/precious").write_text("x")
            workspace.path.symlink_to(tmp_path / "victim")
    restored = await lab.workspace()
    assert contents(restored.path) == before
    assert damage != "work is a link" or (tmp_path / "victim/precious").exists()
    (restored.path / "y").write_text("y")
    assert (await restored.take_snapshot(None)).changed == ["y"]


async def test_a_lost_index_costs_nothing_but_time_in_a_scan(lab: Lab) -> None:
    lab.project.commit({".gitignore": b"*.log\n", "kept.log": b"tracked\n"})
    await lab.rebase("run-2")
    workspace = await lab.workspace()
    (workspace.path.parent / "index").unlink()
    (workspace.path / "README.md").write_text("x")
    assert (await workspace.take_snapshot(None)).changed == ["README.md"]


async def test_the_agents_git_works_and_shows_the_project_only(lab: Lab) -> None:
    workspace = await lab.workspace()
    (workspace.path / "README.md").write_text("changed\n")
    assert run_git(workspace.path, "status", "--porcelain") == " M README.md"
    assert run_git(workspace.path, "log", "--format=%s") == "first"
    assert "+changed" in run_git(workspace.path, "diff")
    run_git(workspace.path, "commit", "--quiet", "--all", "-m", "the agent's own")
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.changed == ["README.md"], "its commits are not taken over, its files are"
    assert run_git(workspace.path, "cat-file", "-e", lab.checkpoint, check=False) == ""
    kinds = run_git(workspace.path, "cat-file", "--batch-check", "--batch-all-objects")
    assert lab.checkpoint not in kinds, "transcripts are out of reach"


@pytest.mark.parametrize("plant", ["hook", "config", "head", "alternates", "link", "file", "attributes", "gone"])
async def test_a_tampered_git_is_made_anew(lab: Lab, tmp_path: Path, plant: str) -> None:
    workspace = await lab.workspace()
    git = workspace.path / ".git"
    match plant:
        case "hook":
            (git / "hooks").mkdir()
            (git / "hooks/post-checkout").write_text("#!/bin/sh\n")
        case "config":
            (git / "config").write_text("[core]\n\tfsmonitor = touch canary\n")
        case "head":
            (git / "HEAD").write_text("ref: refs/heads/other\n")
        case "alternates":
            (git / "objects/info/alternates").write_text(str(lab.store.path / "objects"))
        case "attributes":
            (git / "info").mkdir()
            (git / "info/attributes").write_text("* filter=x\n")
        case "gone":
            shutil.rmtree(git)
        case "link" | "file":
            shutil.move(git, tmp_path / "moved")
            if plant == "link":
                git.symlink_to(tmp_path / "moved")
            else:
                git.write_text(f"gitdir: {tmp_path}/moved\n")
    again = await lab.workspace()
    assert again.path == workspace.path
    assert git.is_dir()
    assert not git.is_symlink()
    assert not (git / "hooks").exists()
    assert "fsmonitor" not in (git / "config").read_text()
    assert run_git(workspace.path, "status", "--porcelain") == ""


async def test_without_a_sandbox_nothing_looks_through_a_workspace(lab: Lab) -> None:
    lab.sandbox = Sandbox(SandboxStatus("unavailable", "There is none."))
    workspace = await lab.workspace()
    (workspace.path / "README.md").write_text("x")
    assert (await workspace.take_snapshot(["README.md"])).changed == ["README.md"]
    with pytest.raises(SandboxUnavailable):
        await workspace.take_snapshot(None)
    workspace.mark_dirty()
    await lab.workspace()
    assert (workspace.path / "README.md").read_text() == "hello\n"


async def test_where_a_person_waived_the_sandbox_it_works_without(lab: Lab) -> None:
    lab.sandbox = await Sandbox.open_sandbox(SandboxMode.NONE)
    lab.project.commit({".gitignore": b"venv\n"})
    await lab.rebase("run-2")
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "README.md").write_text("x")
    (workspace.path / "venv").mkdir()
    assert (await workspace.take_snapshot(None)).changed == ["README.md"]
    await lab.workspace()
    assert (workspace.path / "README.md").read_text() == "hello\n"
    assert (workspace.path / "venv").is_dir(), "in place"


async def test_discarding(lab: Lab) -> None:
    workspace = await lab.workspace()
    async with hold_workspace(lab.store, lab.lane):
        (workspace.path / "shut/inner").mkdir(parents=True)
        (workspace.path / "shut").chmod(0o000)
        await workspace.remove_files()
        assert not workspace.path.exists()
        await lab.workspace()
    await discard_run(lab.store, "run-1")
    assert not (lab.home / "workspaces/run-1").exists()
    await discard_run(lab.store, "run-1")
    assert await Checkpoints(lab.store).read_head(lab.lane) == lab.checkpoint
    with pytest.raises(WorkspaceError):
        await discard_run(lab.store, "../stores")
    async with hold_workspace(lab.store, lab.lane):
        await lab.workspace()
