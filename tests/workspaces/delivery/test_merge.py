"""Project commits from checkpoints, merges without touching refs, conflicts as work for their maker."""

from pathlib import Path

import pytest

from tests.workspaces.conftest import AT, Lab
from workspaces.checkpoints.checkpoints import Lane
from workspaces.checkpoints.workspace import Workspace
from workspaces.delivery.merge import begin_from_conflict, commit_tree, merge_commits, project_commit
from workspaces.git.run import call_git


async def change(lab: Lab, files: dict[str, bytes | None], name: str = "1") -> str:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    for path, data in files.items():
        target = workspace.path / path
        if data is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    return await lab.record(workspace, await workspace.take_snapshot(None), name)


async def commit(lab: Lab, checkpoint: str, parent: str | None = None) -> str:
    return await project_commit(lab.store, lab.lane, checkpoint, parent=parent or lab.base, message="Do it\n", at=AT)


async def test_a_project_commit_is_what_git_add_would_make(lab: Lab, tmp_path: Path) -> None:
    """The same changes with plain git in a plain checkout give the very same tree."""
    attributes = (
        b"*.txt text\n*.bat text eol=crlf\n*.auto text=auto\n*.raw -text\n*.utf16 working-tree-encoding=UTF-16\n"
        b"*.c ident\n*.eol eol=crlf\n*.bin binary\n"
    )
    lab.project.commit({"plain.txt": b"a\n", "run.bat": b"a\n", "x.raw": b"a\r\n", "old.auto": b"a\n"})
    # In the repository with CRLF although it is text: only `text=auto` leaves that alone.
    lab.project.commit({"crlf.auto": b"a\r\nb\r\n"})
    lab.project.commit({".gitattributes": attributes, "sub/.gitattributes": b"*.txt -text\n"})
    await lab.rebase("run-2")
    files: dict[str, bytes | None] = {
        "plain.txt": b"a\r\nb\r\n",
        "run.bat": b"x\r\ny\r\n",
        "x.raw": b"a\r\nb\r\n",
        "old.auto": b"a\r\nb\r\n",
        "crlf.auto": b"a\r\nb\r\nc\r\n",
        "new.auto": b"a\r\n",
        "sub/deep/keep.txt": b"a\r\n",
        "version.c": b"/* $Id: 0123456789abcdef $ */\r\n",
        "sub/new.c": b"/* $Id$ */\n",
        "new.eol": b"a\r\nb\r\n",
        "x.bin": b"\r\n$Id: 1 $\r\n",
        "README.md": None,
    }
    made = await commit(lab, await change(lab, files))
    for path, data in files.items():
        target = lab.project.path / path
        if data is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    lab.project.git("add", "--all")
    assert lab.store.find_tree(made) == lab.project.git("write-tree")
    assert await lab.store.read_file(made, "plain.txt") == b"a\nb\n"
    assert await lab.store.read_file(made, "crlf.auto") == b"a\r\nb\r\nc\r\n"


async def test_an_encoded_file_stays_as_the_agent_wrote_it(lab: Lab) -> None:
    """In a workspace such a file is UTF-8, as in the repository; converting it again would destroy it."""
    lab.project.write({".gitattributes": b"*.u working-tree-encoding=UTF-16 text\n", "f.u": "größe\n".encode("utf-16")})
    lab.project.git("add", "--all")
    lab.project.git("commit", "--quiet", "-m", "encoded")
    await lab.rebase("run-2")
    assert (await lab.workspace()).path.joinpath("f.u").read_bytes() == "größe\n".encode()
    made = await commit(lab, await change(lab, {"f.u": "größer\n".encode()}))
    assert await lab.store.read_file(made, "f.u") == "größer\n".encode()


async def test_no_filter_runs(lab: Lab, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    files: dict[str, bytes | None] = {
        ".gitattributes": b"* filter=evil text\n",
        ".gitconfig": f'[filter "evil"]\n\tclean = touch {canary}\n'.encode(),
        "f.txt": b"x\r\n",
    }
    made = await commit(lab, await change(lab, files))
    assert await lab.store.read_file(made, "f.txt") == b"x\n"
    assert not canary.exists()


async def test_a_retry_makes_the_same_commit_and_agents_can_see_it(lab: Lab) -> None:
    checkpoint = await change(lab, {"new/file.txt": b"x"})
    one, two = await commit(lab, checkpoint), await commit(lab, checkpoint)
    assert one == two
    await call_git(["fsck", "--strict", "--connectivity-only"], git_dir=lab.store.source_path)
    listed = await call_git(["ls-tree", "-r", "--name-only", one], git_dir=lab.store.source_path)
    assert listed.text.split() == ["README.md", "new/file.txt", "src/app.py", "src/lib/util.py"]
    log = await call_git(["log", "-1", "--format=%an <%ae> %s %P", one], git_dir=lab.store.source_path)
    assert log.text == f"Baton <baton@localhost> Do it {lab.base}"


async def test_submodules_stay(lab: Lab) -> None:
    gitlink = lab.project.git("rev-parse", "HEAD")
    for path in ("deps/lib", "deps/other"):
        lab.project.git("update-index", "--add", "--cacheinfo", f"160000,{gitlink},{path}")
    lab.project.git("commit", "--quiet", "-m", "submodules")
    await lab.rebase("run-2")
    made = await commit(lab, await change(lab, {"deps/other/file": b"x", "README.md": b"y"}))
    listed = await call_git(["ls-tree", "-r", made], git_dir=lab.store.source_path)
    assert f"160000 commit {gitlink}\tdeps/lib" in listed.text
    assert f"160000 commit {gitlink}\tdeps/other" in listed.text
    assert sorted(await lab.store.changed_paths(lab.base, made)) == ["README.md"]


async def two_tasks(lab: Lab, one: dict[str, bytes | None], other: dict[str, bytes | None]) -> tuple[str, str, str]:
    """Two tasks from the same base; their commits, and the second's checkpoint."""
    first = await commit(lab, await change(lab, one))
    lab.lane = Lane("run-1", "task-2")
    lab.checkpoint = await lab.checkpoints.begin_lane(lab.lane, lab.base, at=AT)
    checkpoint = await change(lab, other)
    return first, await commit(lab, checkpoint), checkpoint


async def test_two_tasks_merge(lab: Lab) -> None:
    one, other, _ = await two_tasks(
        lab, {"a.txt": b"a", "src/app.py": b"print(2)\n"}, {"b.txt": b"b", "README.md": None}
    )
    merged = await merge_commits(lab.store, base=lab.base, ours=one, theirs=other)
    assert merged.conflicts == []
    assert merged.tree is not None
    result = await commit_tree(lab.store, merged.tree, [one], "merged", AT)
    assert result == await commit_tree(lab.store, merged.tree, [one], "merged", AT)
    assert await lab.store.list_paths(result) == ["a.txt", "b.txt", "src/app.py", "src/lib/util.py"]
    assert await lab.store.read_file(result, "src/app.py") == b"print(2)\n"
    assert (await call_git(["for-each-ref"], git_dir=lab.store.source_path)).text.count("\n") <= 1, "no ref was made"


@pytest.mark.parametrize("kind", ["content", "delete", "add"])
async def test_a_conflict_becomes_work_for_its_maker(lab: Lab, kind: str) -> None:
    mine: dict[str, bytes | None] = {
        "content": {"README.md": b"mine\n"},
        "delete": {"README.md": b"mine\n"},
        "add": {"n": b"1\n"},
    }[kind]  # type: ignore[assignment]
    theirs: dict[str, bytes | None] = {
        "content": {"README.md": b"theirs\n"},
        "delete": {"README.md": None},
        "add": {"n": b"2\n"},
    }[kind]  # type: ignore[assignment]
    one, other, checkpoint = await two_tasks(lab, mine, {**theirs, "b.txt": b"b"})
    merged = await merge_commits(lab.store, base=lab.base, ours=one, theirs=other)
    path = "n" if kind == "add" else "README.md"
    assert merged.tree is None
    assert merged.conflicts == [path]
    began = await begin_from_conflict(
        lab.store,
        lab.lane,
        expected=checkpoint,
        tree=merged.conflict_tree,
        project_base=one,
        files={"conflicts/1.json": b"{}"},
        at=AT,
    )
    workspace = await Workspace.open_at(lab.store, lab.lane, began, sandbox=lab.sandbox)
    text = (workspace.path / path).read_text()
    if kind != "delete":
        assert "<<<<<<< integrated" in text
        assert ">>>>>>> this-task" in text
    assert (workspace.path / "b.txt").read_bytes() == b"b"
    assert await lab.store.read_file(began, "conflicts/1.json") == b"{}"
    assert await lab.store.read_file(began, "transcript/1.json") == b"{}"
    lab.checkpoint = began
    resolved = await commit(lab, await change(lab, {path: b"both\n"}, "2"), parent=one)
    again = await merge_commits(lab.store, base=one, ours=one, theirs=resolved)
    assert again.tree == lab.store.find_tree(resolved)


async def test_line_ends_do_not_conflict(lab: Lab) -> None:
    """The store's attributes must not make every file a binary."""
    lab.project.commit({"long.txt": b"".join(b"line %d\n" % number for number in range(30))})
    await lab.rebase("run-1b")
    lines = [b"line %d\n" % number for number in range(30)]
    one = await commit(lab, await change(lab, {"long.txt": b"".join([b"top\n", *lines[1:]])}))
    lab.lane = Lane("run-1b", "task-2")
    lab.checkpoint = await lab.checkpoints.begin_lane(lab.lane, lab.base, at=AT)
    other = await commit(lab, await change(lab, {"long.txt": b"".join([*lines[:-1], b"end\n"])}))
    merged = await merge_commits(lab.store, base=lab.base, ours=one, theirs=other)
    assert merged.tree is not None
    assert await lab.store.read_file(merged.tree, "long.txt") == b"".join([b"top\n", *lines[1:-1], b"end\n"])
