"""A repository with submodules: agents and the person are told, and the branch keeps them, whatever agents do."""

import json
from pathlib import Path

import pytest

from baton.records.run import RunStatus
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, reviewed, scenario, session, task, tested, write


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "mirrors/lib"
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    (path / "lib.txt").write_text("the library\n")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "Library")
    return path


@pytest.fixture
def repo(repo: Path, library: Path) -> Path:
    commit = git(library, "rev-parse", "HEAD")
    (repo / ".gitmodules").write_text(f'[submodule "lib"]\n\tpath = src/lib\n\turl = {library}\n')
    git(repo, "add", "-A")
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{commit},src/lib")
    git(repo, "commit", "-qm", "A submodule")
    return repo


async def test_a_submodule_is_told_of_and_stays(staged, library: Path) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session(
            "backend",
            "t1",
            [
                [write("src/lib/stub.txt", "stub\n"), write("src/new.txt", "n\n")],
                [bash("rm -rf src/lib && echo flat > src/lib; git rm -rq --cached src/lib; sed -i d .gitmodules")],
                [
                    bash(
                        "mv src source && mkdir src && mv source/*.txt src/ && mkdir -p src/lib && echo > src/lib/x.txt"
                    )
                ],
                [made()],
            ],
        ),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        bodies = {(r.role, r.turn): json.dumps(r.body["messages"][-1]) for r in stage.standin.requests}
    commit = git(library, "rev-parse", "HEAD")
    assert document.status is RunStatus.DONE, document
    listed = git(stage.repo, "ls-tree", "-r", str(document.branch))
    assert f"160000 commit {commit}\tsrc/lib" in listed
    changed = git(stage.repo, "diff", "--name-only", "main", str(document.branch)).splitlines()
    assert changed == ["src/new.txt"]
    for role in ("orchestrator", "backend", "tester", "reviewer"):
        assert f"src/lib at {commit[:12]}" in bodies[(role, 1)]
        assert "contents are not there" in bodies[(role, 1)]
        assert str(library) in bodies[(role, 1)]
    assert "src/lib/stub.txt is inside a submodule" in bodies[("backend", 2)]
    assert "- src/lib" in bodies[("backend", 3)]
    assert "- .gitmodules" in bodies[("backend", 3)]
    assert "- src/lib/x.txt" in bodies[("backend", 4)]
    notes = " ".join(document.notes)
    assert f"src/lib at {commit[:12]}" in notes
    assert "BATON_SUBMODULES" in notes
    assert "put back" in notes


async def test_allowed_contents_are_there_for_agents_and_tests(staged, repo: Path, library: Path) -> None:  # type: ignore[no-untyped-def]
    (repo / "tests/lib.expect").write_text("src/lib/lib.txt the library\n")
    git(repo, "add", "tests")
    git(repo, "commit", "-qm", "Tests need the library")
    script = scenario(
        plan(task("t1")),
        session(
            "backend",
            "t1",
            [[bash("cat src/lib/lib.txt; echo x >> src/lib/lib.txt"), write("src/new.txt", "n\n")], [made()]],
        ),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script, submodules=str(library.parent)) as stage:
        document = await stage.finish()
        bodies = {(r.role, r.turn): json.dumps(r.body["messages"][-1]) for r in stage.standin.requests}
    assert document.status is RunStatus.DONE, document
    assert document.gate is not None
    assert document.gate.exit_code == 0
    assert "contents are there, read-only" in bodies[("backend", 1)]
    assert "the library" in bodies[("backend", 2)]
    assert "Read-only file system" in bodies[("backend", 2)]
    changed = git(stage.repo, "diff", "--name-only", "main", str(document.branch)).splitlines()
    assert changed == ["src/new.txt"]
