"""A path that is written and will not be in the branch is said: to the agent at once, to the person in the document."""

import json
from pathlib import Path

import pytest

from baton.records.run import RunStatus
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, reviewed, scenario, session, task, tested, write


@pytest.fixture
def repo(repo: Path) -> Path:
    """A repository that ignores more than its author may think."""
    (repo / ".gitignore").write_text("config/\n*.secret\nbuild\n__pycache__/\nnode_modules/\n")
    (repo / "src/.gitignore").write_text("generated.*\n")
    (repo / "baton.toml").write_text('[gate]\ntest = "sh check.sh"\ntimeout = 60\n[scope]\nbackend = ["**"]\n')
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "Ignore")
    return repo


def _texts(body: object) -> list[str]:
    """What the engine says in the last message of a request: answers of tools first, then its remarks."""
    content = body["messages"][-1]["content"]  # type: ignore[index]
    return [block.get("text") or block.get("content") for block in content]


async def test_what_is_not_kept_is_said_at_once_and_in_the_end(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session(
            "backend",
            "t1",
            [
                [write("config/settings.txt", "a\n"), write("src/kept.txt", "k\n")],
                [
                    bash(
                        "mkdir -p build/deep node_modules/a src/__pycache__; echo > build/deep/out.bin;"
                        " echo > node_modules/a/index.js; echo > src/__pycache__/m.pyc; echo > src/generated.py;"
                        " mkfifo src/pipe; mkdir -p src/lib; git init -q src/lib; echo x > src/lib/file.txt;"
                        " truncate -s 101M src/large.dat"
                    )
                ],
                [bash("cat src/kept.txt")],
                [write("src/generated.py", "again\n"), made()],
                [made()],
            ],
        ),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        said = {r.turn: _texts(r.body) for r in stage.standin.requests if r.role == "backend"}

    assert document.status is RunStatus.DONE, document
    assert "NOT KEPT: a .gitignore leaves it out" in said[2][0]
    assert "NOT KEPT" not in said[2][1]
    assert "- config/settings.txt (a .gitignore leaves it out)" in said[2][2]

    answer, remark, *_of_its_git = said[3]
    for path in ("build/", "src/generated.py", "src/pipe", "src/lib/.git/", "src/large.dat"):
        assert f"{path} (" in answer
        assert f"- {path} (" in remark
    assert "config/settings.txt" not in remark
    assert "pipe, a socket or a device" in remark
    assert "larger than 100 MiB" in remark
    caches = remark.splitlines()[-1]
    assert "node_modules/" in caches
    assert "src/__pycache__/" in caches
    assert "node_modules" not in answer
    assert len(said[4]) == 1
    assert "NOT KEPT" not in said[4][0]
    assert "NOT KEPT" in said[5][0]
    assert "Not accepted yet" in said[5][1]

    changed = git(stage.repo, "diff", "--name-only", "main", str(document.branch)).splitlines()
    assert changed == ["src/kept.txt", "src/lib/file.txt"]
    assert document.left_out == [
        "build/",
        "config/settings.txt",
        "node_modules/",
        "src/__pycache__/",
        "src/generated.py",
        "src/large.dat",
        "src/lib/.git/",
        "src/pipe",
    ]
    note = next(note for note in document.notes if "not kept" in note)
    assert "config/settings.txt (a .gitignore leaves it out)" in note
    assert "and 1 more" in note
    assert "node_modules" not in note
    assert json.loads(document.model_dump_json())["left_out"] == document.left_out


async def test_what_is_kept_after_all_or_deleted_leaves_the_list(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("a"), task("b", depends_on=["a"])),
        session(
            "backend",
            "a",
            [
                [
                    write("config/renamed.txt", "r\n"),
                    write("config/deleted.txt", "d\n"),
                    write("config/later.txt", "l\n"),
                    write("src/generated.txt", "g\n"),
                    write("config/stays.txt", "s\n"),
                ],
                [bash("mv config/renamed.txt src/renamed.txt; rm config/deleted.txt; rm src/.gitignore")],
                [made()],
            ],
        ),
        session("tester", "a", [[tested()]]),
        session("reviewer", "a", [[reviewed()]]),
        session("backend", "b", [[bash("sed -i /config/d .gitignore"), write("config/later.txt", "l\n")], [made()]]),
        session("tester", "b", [[tested()]]),
        session("reviewer", "b", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
    assert document.status is RunStatus.DONE, document
    changed = git(stage.repo, "diff", "--name-only", "main", str(document.branch)).splitlines()
    assert changed == [".gitignore", "config/later.txt", "src/.gitignore", "src/generated.txt", "src/renamed.txt"]
    assert document.left_out == ["config/stays.txt"]
    notes = [note for note in document.notes if "not kept" in note]
    assert len(notes) == 1
    assert "config/stays.txt" in notes[0]
    assert "config/later.txt" not in notes[0]


async def test_names_that_are_no_text_are_put_back_and_said(staged) -> None:  # type: ignore[no-untyped-def]
    odd = "for name in $(seq 30); do echo > \"src/$(printf 'caf\\351')$name\"; done; echo > src/good.txt"
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[bash(odd)], [bash("echo x > \"src/$(printf 'caf\\351')\"; ls src")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        said = {r.turn: _texts(r.body) for r in stage.standin.requests if r.role == "backend"}
    assert document.status is RunStatus.DONE, document
    assert '- "src/caf\\3511"' in said[2][-1]
    assert "- and 10 more" in said[2][-1]
    note = next(note for note in document.notes if "put back" in note)
    assert '"src/caf\\351' in note
    assert "more." in note
    assert "backend" in note
    changed = git(stage.repo, "diff", "--name-only", "main", str(document.branch)).splitlines()
    assert changed == ["src/good.txt"]


async def test_a_later_session_hears_once_of_what_an_earlier_one_left(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("config/a.txt", "a\n")], [made()]]),
        session("tester", "t1", [[bash("true")], [bash("true")], [tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        said = {r.turn: _texts(r.body) for r in stage.standin.requests if r.role == "tester"}
    assert document.left_out == ["config/a.txt"]
    assert "- config/a.txt (" in said[2][-1]
    assert len(said[3]) == 1
    assert not any("put back" in note for note in document.notes)


NEST = "python3 -c \"import os\nfor _ in range({}):\n    os.mkdir('d')\n    os.chdir('d')\nopen('f', 'w').close()\""


async def test_directories_nested_thousands_deep_are_said_and_the_run_goes_on(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session(
            "backend",
            "t1",
            [
                [
                    write("src/kept.txt", "k\n"),
                    bash(f"cd src; {NEST.format(5_000)}; mkdir ../build; cd ../build; {NEST.format(1_200)}"),
                ],
                [write("/".join(["n"] * 900) + "/f", "x\n")],
                [bash("rm -f src/none")],
                [made()],
                [made()],
            ],
        ),
        session("tester", "t1", [[bash(NEST.format(1_500))], [tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        said = {r.turn: _texts(r.body) for r in stage.standin.requests if r.role == "backend"}
        tester = {r.turn: _texts(r.body) for r in stage.standin.requests if r.role == "tester"}

    assert document.status is RunStatus.DONE, document
    deep = "src/" + "/".join(["d"] * 100)
    assert f"{deep} (more than 100 directories deep" in said[2][-1] + said[2][-2]
    assert said[3][0].endswith("Give a shorter path.")
    (remark,) = [text for text in tester[2] if text.startswith("The engine put these paths back")]
    assert "- d/d/d" in remark
    assert deep not in remark
    assert deep in document.left_out
    changed = git(stage.repo, "diff", "--name-only", "main", str(document.branch)).splitlines()
    assert changed == ["src/kept.txt"]
