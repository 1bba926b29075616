"""A snapshot names every path that it does not keep, with the reason, whichever way it looks."""

import os
import socket
from pathlib import Path

from tests.workspaces.conftest import Lab, Project
from workspaces.checkpoints.walk import MAX_DEPTH


async def test_each_reason_is_known(lab: Lab) -> None:
    workspace = await lab.workspace()
    work = workspace.path
    (work / ".gitignore").write_text("*.log\n!kept.log\nbuild/\n/top.txt\n")
    (work / "sub").mkdir()
    (work / "sub/.gitignore").write_text("local.*\n")
    for name in ("a.log", "kept.log", "top.txt", "sub/top.txt", "sub/local.py", "sub/b.log"):
        (work / name).write_text("x")
    (work / "build/deep/er").mkdir(parents=True)
    (work / "build/deep/er/out").write_text("x")
    (work / "logs").mkdir()
    (work / "logs/c.log").write_text("x")
    os.mkfifo(work / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(work)
        try:
            listening.bind("sock")
        finally:
            os.chdir(before)
    (work / ".GIT").write_text("x")
    (work / ".gitmodules").symlink_to("README.md")
    with (work / "large").open("wb") as file:
        file.truncate(101 * 1024 * 1024)
    (work / "nothing/here").mkdir(parents=True)
    nested = Project(work / "lib")
    nested.write({".gitignore": b"*.o\nout/\n", "a.o": b"o", "a.c": b"c", "out/x": b"x"})
    deep = work / "/".join(["d"] * (MAX_DEPTH + 1))
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.unkept == {
        "a.log": "ignored",
        "top.txt": "ignored",
        "sub/local.py": "ignored",
        "sub/b.log": "ignored",
        "build/": "ignored",
        "logs/c.log": "ignored",
        "pipe": "special",
        "sock": "special",
        ".GIT": "name",
        ".gitmodules": "refused",
        "large": "large",
        "nothing/here/": "empty",
        "lib/.git/": "nested",
        "lib/a.o": "ignored",
        "lib/out/": "ignored",
        "/".join(["d"] * (MAX_DEPTH + 1)): "deep",
    }
    assert set(snapshot.left_out) == {".GIT", "large", "/".join(["d"] * (MAX_DEPTH + 1))}


async def test_paths_that_file_tools_wrote_are_known_without_git(lab: Lab) -> None:
    workspace = await lab.workspace()
    work = workspace.path
    (work / ".gitignore").write_text("build/\n*.env\nsrc/app.py\n")
    for name in ("build/a/b.txt", ".env", "src/app.py", "src/fine.py"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("x")
    deep = "/".join(["d"] * (MAX_DEPTH + 1)) + "/file"
    (work / deep).parent.mkdir(parents=True)
    (work / deep).write_text("x")
    touched = ["build/a/b.txt", ".env", "src/app.py", "src/fine.py", deep, ".gitignore", "gone.txt"]
    snapshot = await workspace.take_snapshot(touched)
    assert snapshot.unkept == {"build/a/b.txt": "ignored", ".env": "ignored", deep: "deep"}
    assert set(snapshot.changed) == {".gitignore", "src/app.py", "src/fine.py", deep}


async def test_names_that_are_no_text_are_named(lab: Lab) -> None:
    workspace = await lab.workspace()
    (workspace.path / ".gitignore").write_text("*.log\n")
    odd = os.fsdecode(b"caf\xe9.log")
    (workspace.path / odd).write_text("x")
    (workspace.path / "two\nlines.log").write_text("x")
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.unkept == {odd: "ignored", "two\nlines.log": "ignored"}
