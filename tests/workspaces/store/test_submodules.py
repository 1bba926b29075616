"""Submodules that a person allows: their contents are there to read, at their commits, and are nobody's to change."""

import os
import shutil
from pathlib import Path

import pytest

from tests.workspaces.conftest import AT, Lab, Project, run_git
from workspaces.checkpoints.gitlinks import gitlinks_of
from workspaces.checkpoints.workspace import Workspace
from workspaces.delivery.merge import project_commit
from workspaces.git.run import call_git
from workspaces.sandbox.command import SandboxCommand
from workspaces.store.submodules import (
    MAX_DEPTH,
    SubmoduleContents,
    describe_submodules,
    fetch_submodules,
    fill_submodules,
    find_submodules,
    lay_out_submodules,
)


def _gitmodules(*entries: tuple[str, str, str]) -> bytes:
    return "".join(f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n' for name, path, url in entries).encode()


def _link(project: Project, path: str, commit: str) -> None:
    project.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")


def _library(path: Path) -> tuple[Project, str]:
    library = Project(path)
    commit = library.commit({"src/lib.txt": b"the library\n", "run.sh": b"echo run\n"}, "library")
    library.commit({"src/lib.txt": b"newer\n"}, "newer")
    return library, commit


async def _begin(
    lab: Lab, allowed: tuple[str, ...], *entries: tuple[str, str, str, str]
) -> dict[str, SubmoduleContents]:
    """A lane on a base with these submodules: name, path, URL, commit."""
    lab.project.commit({".gitmodules": _gitmodules(*((name, path, url) for name, path, url, _ in entries))})
    for _, path, _, commit in entries:
        _link(lab.project, path, commit)
    lab.project.git("commit", "--quiet", "-m", "submodules")
    await lab.rebase("run-2")
    return await lay_out_submodules(lab.store, await fetch_submodules(lab.store, lab.base, allowed))


async def _workspace(lab: Lab, fillings: dict[str, SubmoduleContents]) -> Workspace:
    return await Workspace.open_at(lab.store, lab.lane, lab.checkpoint, sandbox=lab.sandbox, fillings=fillings)


async def test_contents_are_there_and_cannot_be_changed(lab: Lab, tmp_path: Path) -> None:
    _, commit = _library(tmp_path / "mirrors/lib")
    url = str(tmp_path / "mirrors/lib")
    fillings = await _begin(lab, (str(tmp_path / "mirrors"),), ("lib", "deps/lib", url, commit))
    workspace = await _workspace(lab, fillings)
    assert (workspace.path / "deps/lib/src/lib.txt").read_text() == "the library\n"
    assert not (workspace.path / "deps/lib/.git").exists()
    assert (await workspace.take_snapshot(None)).put_back == ()
    ran = await lab.sandbox.run_command(
        SandboxCommand(
            argv="cat deps/lib/src/lib.txt; echo x > deps/lib/src/lib.txt; rm -rf deps/lib/run.sh; mv deps gone",
            workspace=workspace.path,
            read_only=workspace.command_mounts(),
        )
    )
    assert "the library" in ran.output
    if lab.sandbox.status.is_isolated:
        assert "Read-only file system" in ran.output
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.changed == []
    assert not (workspace.path / "gone/lib").exists()
    assert "gone/lib" in snapshot.put_back
    assert (workspace.path / "deps/lib/src/lib.txt").read_text() == "the library\n"
    await lab.record(workspace, snapshot)
    made = await project_commit(lab.store, lab.lane, lab.checkpoint, parent=lab.base, message="m", at=AT)
    listed = await call_git(["ls-tree", "-r", made, "deps"], git_dir=lab.store.source_path)
    assert listed.text == f"160000 commit {commit}\tdeps/lib"


async def test_what_is_changed_there_all_the_same_is_put_back_and_said(lab: Lab, tmp_path: Path) -> None:
    """As without a sandbox, where nothing is mounted."""
    _, commit = _library(tmp_path / "mirrors/lib")
    url = str(tmp_path / "mirrors/lib")
    fillings = await _begin(lab, (str(tmp_path / "mirrors"),), ("lib", "deps/lib", url, commit))
    workspace = await _workspace(lab, fillings)
    (workspace.path / "deps/lib/src/lib.txt").write_text("changed")
    snapshot = await workspace.take_snapshot(None)
    assert snapshot.put_back == ("deps/lib",)
    assert (workspace.path / "deps/lib/src/lib.txt").read_text() == "the library\n"
    shutil.rmtree(workspace.path / "deps")
    (workspace.path / "deps").symlink_to(tmp_path)
    snapshot = await workspace.take_snapshot(["README.md"])
    assert snapshot.put_back == ("deps", "deps/lib")
    assert (workspace.path / "deps/lib/src/lib.txt").read_text() == "the library\n"
    assert not (tmp_path / "lib").exists()
    shutil.rmtree(workspace.path)
    again = await _workspace(lab, fillings)
    assert (again.path / "deps/lib/src/lib.txt").read_text() == "the library\n"


async def test_a_gates_checkout_has_them(lab: Lab, tmp_path: Path) -> None:
    _, commit = _library(tmp_path / "mirrors/lib")
    url = str(tmp_path / "mirrors/lib")
    fillings = await _begin(lab, (str(tmp_path / "mirrors"),), ("lib", "deps/lib", url, commit))
    links = gitlinks_of(lab.store.source, lab.store.source.tree_of(lab.base))
    work = tmp_path / "gate/work"
    await lab.store.check_out(lab.base, work)
    assert await fill_submodules(work, links, fillings, tmp_path / "gate") == ["deps/lib"]
    assert (work / "deps/lib/src/lib.txt").read_text() == "the library\n"
    assert await fill_submodules(work, {"deps/lib": "0" * 40}, fillings, tmp_path / "gate") == []


async def test_nothing_is_fetched_that_no_person_allows(lab: Lab, tmp_path: Path) -> None:
    _, commit = _library(tmp_path / "mirrors/lib")
    url = str(tmp_path / "mirrors/lib")
    assert await _begin(lab, (), ("lib", "deps/lib", url, commit)) == {}
    (found,) = await fetch_submodules(lab.store, lab.base, ("github.com",))
    assert (found.path, found.commit, found.url) == ("deps/lib", commit, url)
    assert found.source == ""
    assert "not allowed by BATON_SUBMODULES" in found.reason
    assert "its contents are not there" in describe_submodules([found])[0]
    assert not (lab.store.root / "submodules").exists()


async def test_relative_urls_and_nested_submodules(lab: Lab, tmp_path: Path) -> None:
    mirrors = lab.project.path.parent
    inner, inner_commit = _library(mirrors / "inner")
    outer = Project(mirrors / "outer")
    outer.commit({"o.txt": b"outer\n", ".gitmodules": _gitmodules(("inner", "third/inner", "../inner"))})
    _link(outer, "third/inner", inner_commit)
    outer.git("commit", "--quiet", "-m", "nested")
    commit = outer.git("rev-parse", "HEAD")
    fillings = await _begin(lab, (str(mirrors),), ("o", "deps/outer", "../outer", commit))
    workspace = await _workspace(lab, fillings)
    assert (workspace.path / "deps/outer/o.txt").read_text() == "outer\n"
    assert (workspace.path / "deps/outer/third/inner/src/lib.txt").read_text() == "the library\n"
    del inner


async def test_nesting_has_an_end(lab: Lab, tmp_path: Path) -> None:
    mirrors = lab.project.path.parent
    _, below = _library(mirrors / "m0")
    for number in range(1, MAX_DEPTH + 3):
        project = Project(mirrors / f"m{number}")
        project.commit({"f": b"f", ".gitmodules": _gitmodules(("n", "next", f"../m{number - 1}"))})
        _link(project, "next", below)
        project.git("commit", "--quiet", "-m", "nested")
        below = project.git("rev-parse", "HEAD")
    await _begin(lab, (), ("m", "m", f"../m{MAX_DEPTH + 2}", below))
    found = await fetch_submodules(lab.store, lab.base, (str(mirrors),))
    depth = 0
    while found and found[0].source:
        depth, found = depth + 1, found[0].nested
    assert depth == MAX_DEPTH
    assert "nested deeper" in found[0].reason


HOSTILE = [
    "ext::sh -c touch% {canary}",
    "--upload-pack=touch {canary}",
    "-c core.sshCommand='touch {canary}'",
    "ssh://-oProxyCommand=touch%20{canary}/x",
    "fd::0",
    "file:///etc",
    "/",
    "../../../../../../../../etc",
    "git@evil.example:x --upload-pack=touch",
]


@pytest.mark.parametrize("url", HOSTILE)
@pytest.mark.parametrize("allowed", ["github.com", "https://github.com", "ssh://github.com", "/nowhere/mirrors"])
async def test_a_hostile_url_runs_and_reads_nothing(lab: Lab, tmp_path: Path, url: str, allowed: str) -> None:
    canary = tmp_path / "canary"
    text = url.format(canary=canary).replace("\\", "\\\\")
    commit = lab.project.git("rev-parse", "HEAD")
    assert await _begin(lab, (allowed,), ("x", "deps/x", f'"{text}"', commit)) == {}
    (found,) = await fetch_submodules(lab.store, lab.base, (allowed,))
    assert found.reason
    assert not canary.exists()


@pytest.mark.parametrize("name", ["../../escape", "x/../../../escape", "--help", "a b"])
async def test_a_name_leads_nowhere(lab: Lab, tmp_path: Path, name: str) -> None:
    _, commit = _library(tmp_path / "mirrors/lib")
    fillings = await _begin(
        lab, (str(tmp_path / "mirrors"),), (name, "deps/lib", str(tmp_path / "mirrors/lib"), commit)
    )
    workspace = await _workspace(lab, fillings)
    assert (workspace.path / "deps/lib/src/lib.txt").exists()
    assert not list(tmp_path.rglob("escape"))


@pytest.mark.parametrize("path", ["../outside", ".git/hooks", ".git/..", "/etc", "--option", "deps/lib/../../.git"])
async def test_a_path_in_gitmodules_counts_only_where_the_tree_has_a_gitlink(
    lab: Lab, tmp_path: Path, path: str
) -> None:
    _, commit = _library(tmp_path / "mirrors/lib")
    url = str(tmp_path / "mirrors/lib")
    lab.project.commit({".gitmodules": _gitmodules(("evil", path, url))})
    _link(lab.project, "deps/lib", commit)
    lab.project.git("commit", "--quiet", "-m", "submodules")
    await lab.rebase("run-2")
    (found,) = await fetch_submodules(lab.store, lab.base, (str(tmp_path / "mirrors"),))
    assert (found.path, found.url, found.source) == ("deps/lib", "", "")


async def test_an_option_like_path_is_a_path(lab: Lab, tmp_path: Path) -> None:
    _, commit = _library(tmp_path / "mirrors/lib")
    url = str(tmp_path / "mirrors/lib")
    fillings = await _begin(lab, (str(tmp_path / "mirrors"),), ("o", "--recursive", url, commit))
    workspace = await _workspace(lab, fillings)
    assert (workspace.path / "--recursive/src/lib.txt").exists()
    assert (await workspace.take_snapshot(None)).put_back == ()


async def test_a_submodule_with_evil_trees_is_not_laid_out(lab: Lab, tmp_path: Path) -> None:
    """A tree with `.git/config` in it, as only plumbing makes one."""
    library, _ = _library(tmp_path / "mirrors/lib")
    blob = library.git("hash-object", "-w", "run.sh")
    inner = os.fsencode("100644 config\0") + bytes.fromhex(blob)
    (tmp_path / "inner").write_bytes(inner)
    tree = run_git(library.path, "hash-object", "-t", "tree", "-w", "--literally", str(tmp_path / "inner"))
    (tmp_path / "outer").write_bytes(b"40000 .git\0" + bytes.fromhex(tree))
    evil = run_git(library.path, "hash-object", "-t", "tree", "-w", "--literally", str(tmp_path / "outer"))
    commit = library.git("commit-tree", evil, "-m", "evil")
    library.git("update-ref", "refs/heads/evil", commit)
    lab.project.commit({".gitmodules": _gitmodules(("e", "deps/e", str(library.path)))})
    _link(lab.project, "deps/e", commit)
    lab.project.git("commit", "--quiet", "-m", "submodules")
    await lab.rebase("run-2")
    found = await fetch_submodules(lab.store, lab.base, (str(tmp_path / "mirrors"),))
    assert found[0].source == ""
    assert "cannot be laid out" in found[0].reason
    assert await lay_out_submodules(lab.store, found) == {}


async def test_a_commit_that_is_not_there_is_said(lab: Lab, tmp_path: Path) -> None:
    _library(tmp_path / "mirrors/lib")
    url = str(tmp_path / "mirrors/lib")
    fillings = await _begin(lab, (str(tmp_path / "mirrors"),), ("lib", "deps/lib", url, "1" * 40))
    assert fillings == {}
    (found,) = await fetch_submodules(lab.store, lab.base, (str(tmp_path / "mirrors"),))
    assert "could not be fetched" in found.reason


async def test_odd_gitmodules_stop_nothing(lab: Lab, tmp_path: Path) -> None:
    commit = lab.project.git("rev-parse", "HEAD")
    for number, text in enumerate([b"[submodule", b"\xff\xfe", b"[include]\n\tpath = /etc/passwd\n", b"x" * 2_000_000]):
        lab.project.commit({".gitmodules": text})
        _link(lab.project, "deps/lib", commit)
        lab.project.git("commit", "--quiet", "--allow-empty", "-m", "odd")
        await lab.rebase(f"run-{number + 2}")
        (found,) = await find_submodules(lab.store.source, lab.base)
        assert (found.path, found.url) == ("deps/lib", "")
