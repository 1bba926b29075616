"""The tools: what they answer to good and bad calls, and every way out of workspace and scope that we know of."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baton import policies
from baton.errors import DiskFull
from baton.settings.core import SandboxMode
from system.safe_directory import clear_away
from tests.support.deep_directories import nest
from workspaces.project.baton_toml import parse_config
from workspaces.project.scopes import scope_for
from workspaces.sandbox.sandbox import TIMED_OUT, Sandbox, SandboxStatus
from workspaces.tools.bash import allowed_argv
from workspaces.tools.inputs import ToolFault
from workspaces.tools.toolbox import Toolbox, ToolOutcome

ALL = ("Read", "Write", "Edit", "Glob", "Grep", "Bash")
CANARY = "CANARY-52c1"
Make = Callable[..., Toolbox]


@pytest.fixture(scope="session")
async def sandbox() -> Sandbox:
    opened = await Sandbox.open_sandbox(SandboxMode.AUTO)
    opened.require_available()
    return opened


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A small project, with a secret beside it."""
    (tmp_path / "secret.txt").write_text(CANARY)
    root = tmp_path / "work"
    for name, text in {
        "src/app.py": "one = 1\ntwo = 2\nthree = 3\n",
        "src/util.py": "def helper():\n    return 'one'\n",
        "frontend/App.tsx": "export const one = 1\n",
        "tests/test_app.py": "def test_one():\n    assert True\n",
        "README.md": "# Project\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def make(work: Path, sandbox: Sandbox) -> Make:
    def toolbox(role: str = "backend", **more: object) -> Toolbox:
        arguments = {
            "workspace": work,
            "scope": scope_for(role),
            "sandbox": sandbox,
            "grants": dict.fromkeys(ALL),
            **more,
        }
        return Toolbox(**arguments)  # type: ignore[arg-type]

    return toolbox


@pytest.fixture
def tools(make: Make) -> Toolbox:
    return make()


def text(outcome: ToolOutcome) -> str:
    assert isinstance(outcome.content, str)
    assert outcome.content, "the API refuses an empty result"
    return outcome.content


def state(work: Path) -> dict[str, str]:
    return {
        str(path.relative_to(work)): path.read_text()
        for path in work.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


# --- what they do


async def test_read_numbers_lines(tools: Toolbox) -> None:
    outcome = await tools.run_tool("Read", {"file_path": "src/app.py"})
    assert outcome.content == "     1\tone = 1\n     2\ttwo = 2\n     3\tthree = 3"
    assert (outcome.is_error, outcome.touched, outcome.exit_code) == (False, set(), None)
    assert text(await tools.run_tool("Read", {"path": "/workspace/src/app.py", "offset": 2, "limit": 1})).startswith(
        "     2\ttwo = 2\n(more"
    )
    assert await content(tools, "Read", file_path="./src//app.py", offset="3") == "     3\tthree = 3"
    assert "fewer than 9 lines" in await content(tools, "Read", file_path="src/app.py", offset=9)


async def content(tools: Toolbox, name: str, **data: object) -> str:
    return text(await tools.run_tool(name, data))


async def test_read_of_awkward_files(tools: Toolbox, work: Path) -> None:
    (work / "empty").write_bytes(b"")
    (work / "blank").write_bytes(b"\n\n")
    (work / "open").write_bytes(b"a\nb")
    (work / "crlf").write_bytes(b"a\r\nb\r\n")
    (work / "long").write_text("x" * 10_000 + "\n")
    (work / "latin1").write_bytes(b"caf\xe9\n")
    (work / "many").write_text("".join(f"line {number}\n" for number in range(1, 5_001)))
    assert await content(tools, "Read", file_path="empty") == "(the file is empty)"
    assert await content(tools, "Read", file_path="blank") == "     1\t\n     2\t"
    assert await content(tools, "Read", file_path="open") == "     1\ta\n     2\tb"
    assert await content(tools, "Read", file_path="crlf") == "     1\ta\n     2\tb"
    assert "8,000 characters more" in await content(tools, "Read", file_path="long")
    outcome = await tools.run_tool("Read", {"file_path": "latin1"})
    assert outcome.is_error
    assert "not valid UTF-8" in text(outcome)
    many = await content(tools, "Read", file_path="many")
    assert many.endswith("(more lines follow: read on with offset=2001)")
    assert len(many) <= policies.MAX_TOOL_OUTPUT + 100
    assert await content(tools, "Read", file_path="many", offset=4_999) == "  4999\tline 4999\n  5000\tline 5000"


async def test_write_and_edit(tools: Toolbox, work: Path) -> None:
    outcome = await tools.run_tool("Write", {"file_path": "src/deep/new.py", "content": "ä = 1\n"})
    assert (outcome.is_error, outcome.touched) == (False, {"src/deep/new.py"})
    assert (work / "src/deep/new.py").read_bytes() == "ä = 1\n".encode()
    edit = {"file_path": "/workspace/src/app.py", "old_string": "two = 2", "new_string": "two = 22"}
    outcome = await tools.run_tool("Edit", edit)
    assert (outcome.is_error, outcome.touched) == (False, {"src/app.py"})
    assert (work / "src/app.py").read_text() == "one = 1\ntwo = 22\nthree = 3\n"
    outcome = await tools.run_tool("Edit", {"path": "src/app.py", "old_str": " = ", "new_str": " == "})
    assert outcome.is_error
    assert "3 times" in text(outcome)
    await tools.run_tool("Edit", {"path": "src/app.py", "old_str": " = ", "new_str": " == ", "replace_all": True})
    assert (work / "src/app.py").read_text().count(" == ") == 3


async def test_edit_means_the_line_ends_of_the_file(tools: Toolbox, work: Path) -> None:
    (work / "src/crlf.py").write_bytes(b"a = 1\r\nb = 2\r\nc = 3\r\n")
    outcome = await tools.run_tool(
        "Edit", {"file_path": "src/crlf.py", "old_string": "a = 1\nb = 2", "new_string": "a = 9\nb = 9"}
    )
    assert not outcome.is_error
    assert (work / "src/crlf.py").read_bytes() == b"a = 9\r\nb = 9\r\nc = 3\r\n"


CONVENTIONS = [
    # contents, old, new, everywhere, contents then
    pytest.param(b"a\r\nb\r\n", "a", "x\ny", False, b"x\r\ny\r\nb\r\n", id="one line becomes two"),
    pytest.param(b"a\r\nb\r\n", "a\n", "x\ny\n", False, b"x\r\ny\r\nb\r\n", id="with its line end"),
    pytest.param(b"a\r\nb\r\nc\r\n", "a\nb", "x\ny\nz", False, b"x\r\ny\r\nz\r\nc\r\n", id="two lines become three"),
    pytest.param(b"a\r\nb\r\n", "a", "x\r\ny", False, b"x\r\ny\r\nb\r\n", id="CRLF from the model"),
    pytest.param(b"a\r\nb\r\n", "a\r\nb", "x\ny", False, b"x\r\ny\r\n", id="CRLF in old only"),
    pytest.param(b"a\r\nb\r\n", "a\r\nb", "a\nb", False, b"a\nb\r\n", id="the line end is the change"),
    pytest.param(b"a\nb\n", "a\r\nb", "x\r\ny", False, b"x\ny\n", id="CRLF for LF"),
    pytest.param(b"a\nb\n", "a\nb", "a\r\nb", False, b"a\r\nb\n", id="CRLF is wanted"),
    pytest.param(b"a\r\nb\r\na\r\n", "a\n", "x\ny\n", True, b"x\r\ny\r\nb\r\nx\r\ny\r\n", id="everywhere"),
    pytest.param(b"a\nb\r\na\r\nb\n", "a\nb", "x\ny", True, b"x\ny\r\nx\r\ny\n", id="everywhere, mixed"),
    pytest.param(b"a\rb\rc", "a\nb", "x\ny\nz", False, b"x\ry\rz\rc", id="CR"),
    pytest.param(b"a\rb\r", "a", "x\ny", False, b"x\ry\rb\r", id="CR, one line"),
    pytest.param(b"a\r\nb\nc\r\nd\r\n", "b", "x\ny", False, b"a\r\nx\r\ny\nc\r\nd\r\n", id="mixed, most often CRLF"),
    pytest.param(b"a\nb\r\nc\nd\n", "a\nb\nc", "a\nnew\nb\nc", False, b"a\nnew\nb\r\nc\nd\n", id="mixed, lines stay"),
    pytest.param(b"a\r\nb\nc\n", "a\nb\n", "x\ny\n", False, b"x\r\ny\nc\n", id="mixed, lines replaced"),
    pytest.param(b"a\nb\nc\r\nd\r\ne\r\n", "a\nb", "a\nx\nb", False, b"a\nx\nb\nc\r\nd\r\ne\r\n", id="all LF here"),
    pytest.param(b"10%\r20%\ndone\n", "done", "over\nout", False, b"10%\r20%\nover\nout\n", id="CR within a line"),
    pytest.param(b"a\r\n\r\n\r\nb", "\n\n\nb", "\nb", False, b"a\r\nb", id="blank lines"),
    pytest.param(b"a\nb", "b", "b\nc", False, b"a\nb\nc", id="no last line end"),
    pytest.param(b"a\nb", "b\n", "x\n", False, b"a\nx", id="no last line end, which the model cannot see"),
    pytest.param(b"a\r\nb", "a\nb\n", "x\ny\nz\n", False, b"x\r\ny\r\nz", id="no last line end, CRLF"),
    pytest.param(b"\xef\xbb\xbfa\nb\n", "a\n", "x\n", False, b"\xef\xbb\xbfx\nb\n", id="mark"),
    pytest.param(
        b"\xef\xbb\xbfa\r\n", "\ufeffa", "\ufeffx\ny", False, b"\xef\xbb\xbfx\r\ny\r\n", id="mark in old and new"
    ),
    pytest.param(
        "\ufeffä\r\nb".encode("utf-16-le"), "ä\n", "ö\nü\n", False, "\ufeffö\r\nü\r\nb".encode("utf-16-le"), id="UTF-16"
    ),
    pytest.param(
        "\ufeffä\nb".encode("utf-16-be"), "ä", "😀", False, "\ufeff😀\nb".encode("utf-16-be"), id="UTF-16, big end"
    ),
    pytest.param("\ufeffa\n".encode("utf-32-le"), "a", "b", False, "\ufeffb\n".encode("utf-32-le"), id="UTF-32"),
    pytest.param(b"a\x0cb\x00\xc2\x85c\n", "c", "d", False, b"a\x0cb\x00\xc2\x85d\n", id="odd characters"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "old", "new", "everywhere", "after"), CONVENTIONS)
async def test_an_edit_keeps_what_a_file_has(
    tools: Toolbox, work: Path, before: bytes, old: str, new: str, everywhere: bool, after: bytes
) -> None:
    path = work / "src/file.py"
    path.write_bytes(before)
    path.chmod(0o755)
    arguments = {"file_path": "src/file.py", "old_string": old, "new_string": new, "replace_all": everywhere}
    outcome = await tools.run_tool("Edit", arguments)
    assert not outcome.is_error, outcome.content
    assert path.read_bytes() == after
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("before", "content", "after"),
    [
        pytest.param(b"a\r\nb\r\n", "x\ny\nz\n", b"x\r\ny\r\nz\r\n", id="CRLF"),
        pytest.param(b"a\r\nb\r\n", "x\r\ny\n", b"x\r\ny\n", id="line ends of its own"),
        pytest.param(b"a\nb\n", "x\r\n", b"x\r\n", id="CRLF is wanted"),
        pytest.param(b"a\rb\r", "x\ny\n", b"x\ry\r", id="CR"),
        pytest.param(b"a\nb\r\nc\r\n", "a\nx\nb\nc\n", b"a\nx\r\nb\r\nc\r\n", id="mixed"),
        pytest.param(b"\xef\xbb\xbfa\n", "x\n", b"\xef\xbb\xbfx\n", id="mark"),
        pytest.param(b"\xef\xbb\xbfa\r\n", "\ufeffx\n", b"\xef\xbb\xbfx\r\n", id="mark in the content"),
        pytest.param(b"a\n", "\ufeffx\n", b"\xef\xbb\xbfx\n", id="mark is wanted"),
        pytest.param("\ufeffa\r\n".encode("utf-16-le"), "ä\n", "\ufeffä\r\n".encode("utf-16-le"), id="UTF-16"),
        pytest.param("\ufeffa\n".encode("utf-16-be"), "ä\n", "\ufeffä\n".encode("utf-16-be"), id="UTF-16, big end"),
        pytest.param(b"", "x\n", b"x\n", id="empty"),
    ],
)
async def test_a_write_keeps_what_a_file_has(
    tools: Toolbox, work: Path, before: bytes, content: str, after: bytes
) -> None:
    (work / "src/file.py").write_bytes(before)
    outcome = await tools.run_tool("Write", {"file_path": "src/file.py", "content": content})
    assert f"({len(after)} bytes" in text(outcome)
    assert (work / "src/file.py").read_bytes() == after


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfone\r\ntwo\r\n",
        b"one\rtwo\r",
        b"one\rtwo",
        b"one\ntwo\r\n",
        *("\ufeffone\r\ntwo\r\n".encode(name) for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")),
    ],
)
async def test_what_is_read_can_be_edited(tools: Toolbox, work: Path, data: bytes) -> None:
    (work / "src/file.py").write_bytes(data)
    shown = await content(tools, "Read", file_path="src/file.py")
    assert shown == "     1\tone\n     2\ttwo"
    assert await content(tools, "Read", file_path="src/file.py", offset=2) == "     2\ttwo"
    lines = "\n".join(line.partition("\t")[2] for line in shown.splitlines())
    outcome = await tools.run_tool("Edit", {"file_path": "src/file.py", "old_string": lines, "new_string": "a\nb"})
    assert not outcome.is_error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-32" if b"\0" in data else "utf-8-sig"
    encoding = "utf-32" if data.startswith(b"\xff\xfe\0\0") else encoding
    assert (work / "src/file.py").read_bytes().decode(encoding) == data.decode(encoding).replace("one", "a").replace(
        "two", "b"
    )


@pytest.mark.parametrize("data", [b"caf\xe9\n", b"\xff\xfea", b"\xff\xfe\x00\xd8\n\x00", b"\x89PNG\r\n\x1a\n"])
async def test_what_is_no_text_is_not_edited_and_its_replacement_is_said(
    tools: Toolbox, work: Path, data: bytes
) -> None:
    (work / "src/file.py").write_bytes(data)
    for name, more in (("Read", {}), ("Edit", {"old_string": "\n", "new_string": "x"})):
        outcome = await tools.run_tool(name, {"file_path": "src/file.py", **more})
        assert outcome.is_error
        assert "not valid UTF-" in text(outcome)
        assert (work / "src/file.py").read_bytes() == data
    assert "not valid UTF-" in await content(tools, "Write", file_path="src/file.py", content="x\n")


async def test_modes_survive_a_change(tools: Toolbox, work: Path) -> None:
    (work / "run.sh").write_text("#!/bin/sh\n")
    (work / "run.sh").chmod(0o755)
    await tools.run_tool("Write", {"file_path": "run.sh", "content": "#!/bin/sh\necho\n"})
    assert (work / "run.sh").stat().st_mode & 0o777 == 0o755


async def test_glob_and_grep_give_paths_that_can_be_read_again(tools: Toolbox, work: Path) -> None:
    (work / ".gitignore").write_text("build/\n")
    (work / "build").mkdir()
    (work / "build/out.py").write_text("one\n")
    (work / ".git").mkdir()
    (work / ".git/config.py").write_text("one\n")
    os.utime(work / "src/util.py", (1, 1))
    assert await content(tools, "Glob", pattern="src/**/*.{py,ts}") == "src/app.py\nsrc/util.py"
    assert await content(tools, "Glob", pattern="*.py", path="src") == "src/app.py\nsrc/util.py"
    assert sorted((await content(tools, "Glob", pattern="**/*.py")).split()) == [
        "src/app.py",
        "src/util.py",
        "tests/test_app.py",
    ]
    assert "No files match" in await content(tools, "Glob", pattern="*.rb")
    assert await content(tools, "Grep", pattern="^one") == "src/app.py:1:one = 1"
    assert await content(
        tools, "Grep", pattern="ONE", **{"-i": True, "glob": "*.py", "output_mode": "files_with_matches"}
    ) == ("src/app.py\nsrc/util.py\ntests/test_app.py")
    assert await content(tools, "Grep", pattern="one", path="src/util.py", output_mode="count") == "src/util.py:1"
    assert await content(tools, "Grep", pattern="three", **{"-B": 1}) == "src/app.py-2-two = 2\nsrc/app.py:3:three = 3"
    assert await content(tools, "Grep", pattern="nowhere") == "No matches."
    assert (await content(tools, "Grep", pattern=".", head_limit=2)).count("\n") == 2
    outcome = await tools.run_tool("Grep", {"pattern": "("})
    assert outcome.is_error
    assert "regex parse error" in text(outcome)
    assert not (await tools.run_tool("Grep", {"pattern": "--files"})).is_error
    assert not (await tools.run_tool("Grep", {"pattern": "x", "glob": "--pre=touch /tmp/x"})).is_error


async def test_brackets_in_a_pattern_may_be_those_of_a_name(tools: Toolbox, work: Path) -> None:
    for name in (
        "app/[slug]/page.tsx",
        "app/[id-Name]/page.tsx",
        "app/[[...all]]/page.tsx",
        "app/s/page.tsx",
        "{a}.md",
    ):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("needle\n")
    for pattern, wanted in {
        "app/[slug]/page.tsx": {"app/[slug]/page.tsx", "app/s/page.tsx"},
        "app/[slug]/**": {"app/[slug]/page.tsx", "app/s/page.tsx"},
        "/workspace/app/[id-Name]/*.tsx": {"app/[id-Name]/page.tsx"},
        "app/[[...all]]/page.tsx": {"app/[[...all]]/page.tsx"},
        "{a}.md": {"{a}.md"},
    }.items():
        assert set((await content(tools, "Glob", pattern=pattern)).splitlines()) == wanted, pattern
        if not pattern.startswith("{"):
            found = await content(tools, "Grep", pattern="needle", glob=pattern, output_mode="files_with_matches")
            assert set(found.splitlines()) == wanted, pattern


async def test_grep_keeps_the_characters_of_a_line(tools: Toolbox, work: Path) -> None:
    (work / "src/odd").write_bytes(b"one\x0cneedle\r\ntwo\rneedle\n")
    assert await content(tools, "Grep", pattern="needle") == "src/odd:1:one\x0cneedle\nsrc/odd:2:two\rneedle"


async def test_bash_tells_output_and_exit_code(tools: Toolbox, work: Path) -> None:
    outcome = await tools.run_tool("Bash", {"command": "pwd; echo oops >&2; exit 3", "description": "look"})
    assert outcome.content == "/workspace\noops\n[exit code 3]"
    assert (outcome.is_error, outcome.exit_code, outcome.touched) == (True, 3, None)
    outcome = await tools.run_tool("Bash", {"command": "cd src; X=1"})
    assert (outcome.content, outcome.is_error) == ("(no output)\n[exit code 0]", False)
    assert await content(tools, "Bash", command="pwd; echo [$X]") == "/workspace\n[]\n[exit code 0]"
    outcome = await tools.run_tool("Bash", {"command": "sleep 3600 & sleep 3600", "timeout": 300})
    assert outcome.exit_code == TIMED_OUT
    assert "time limit of 0.3 s" in text(outcome)


async def test_ten_megabytes_of_output_are_cut_in_the_middle(tools: Toolbox) -> None:
    outcome = await tools.run_tool(
        "Bash", {"command": "echo BEGIN; head -c 10000000 /dev/zero | tr '\\0' y; echo END; exit 1"}
    )
    answer = text(outcome)
    assert len(answer) <= policies.MAX_TOOL_OUTPUT
    assert answer.startswith("BEGIN\n")
    assert answer.endswith("END\n[exit code 1]")
    assert "bytes left out here" in answer


async def test_what_needs_no_input_gets_none(tools: Toolbox) -> None:
    outcome = await tools.run_tool("Bash", {"command": "cat; read x; echo done"})
    assert outcome.content == "done\n[exit code 0]"


# --- wrong calls


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("Read", {}, "file_path: is missing"),
        ("Read", {"file_path": 7}, "file_path"),
        ("Read", {"file_path": ""}, "file_path"),
        ("Read", {"file_path": "a\0b"}, "file_path: holds a NUL character"),
        ("Read", {"file_path": "src/app.py", "offset": -1}, "offset"),
        ("Read", {"file_path": "src/app.py", "limit": "many"}, "limit"),
        ("Read", {"file_path": "src/app.py", "colour": "red"}, "colour: there is no such argument"),
        ("Read", {"file_path": "src"}, "is a directory"),
        ("Read", {"file_path": "src/nothing.py"}, "no such file"),
        ("Read", {"file_path": "src/app.py/x"}, "no such file"),
        ("Read", {"file_path": "x" * 300}, "255 bytes"),
        ("Read", "src/app.py", "must be an object"),
        ("Read", None, "must be an object"),
        ("Read", ["src/app.py"], "must be an object"),
        ("Write", {"file_path": "src/a.py"}, "content: is missing"),
        ("Write", {"file_path": "src/a.py", "content": "\ud800"}, "content: holds half of a character"),
        ("Write", {"file_path": "src/a.py", "content": "a\0"}, "content"),
        ("Write", {"file_path": "src", "content": "x"}, "is a directory"),
        ("Write", {"file_path": ".", "content": "x"}, "the workspace itself"),
        ("Write", {"file_path": "src/app.py/x.py", "content": "x"}, "src/app.py/x.py"),
        ("Edit", {"file_path": "src/app.py", "old_string": "", "new_string": "x"}, "old_string is empty"),
        ("Edit", {"file_path": "src/app.py", "old_string": "one", "new_string": "one"}, "the same"),
        ("Edit", {"file_path": "src/app.py", "old_string": "absent", "new_string": "x"}, "not found"),
        ("Edit", {"file_path": "src/none.py", "old_string": "a", "new_string": "b"}, "no such file"),
        ("Glob", {"pattern": "/etc/*"}, "outside the workspace"),
        ("Glob", {"pattern": "../*"}, "outside the workspace"),
        ("Glob", {"pattern": "*", "path": "src/app.py"}, "not a directory"),
        ("Glob", {"pattern": "{a,b}" * 20}, "too many alternatives"),
        ("Glob", {"pattern": "[z-a]"}, "brackets"),
        ("Grep", {"pattern": "x", "output_mode": "poem"}, "output_mode"),
        ("Grep", {"pattern": "x", "path": "nowhere"}, "no such file or directory"),
        ("Bash", {"cmnd": "true"}, "command: is missing"),
        ("Bash", {"command": ""}, "command"),
        ("Bash", {"command": "true", "timeout": 0}, "timeout"),
        ("Bash", {"command": "true\0"}, "command: holds a NUL character"),
        ("Bash", {"command": "x" * 200_000}, "command"),
        ("Bash", {"command": "sleep 1", "run_in_background": True}, "background"),
        ("Task", {"prompt": "x"}, "no tool 'Task'"),
        ("", {}, "no tool ''"),
        ("__class__", {}, "you have Read"),
    ],
)  # fmt: skip
async def test_wrong_calls_are_answered_not_raised(
    tools: Toolbox, work: Path, name: str, data: object, named: str
) -> None:
    before = state(work)
    outcome = await tools.run_tool(name, data)
    assert outcome.is_error
    assert named in text(outcome)
    assert str(work) not in text(outcome)
    assert state(work) == before


FIELDS = st.sampled_from(["file_path", "pattern", "content", "old_string", "path"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
)


@given(st.sampled_from(ALL[:5]), ANYTHING)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_input_at_all_raises(make: Make, work: Path, name: str, data: object) -> None:
    outcome = asyncio.run(make().run_tool(name, data))
    assert text(outcome)
    assert CANARY not in text(outcome)


async def test_a_tool_that_is_not_granted_does_not_run(make: Make, work: Path) -> None:
    reader = make(grants={"Read": None, "Glob": None})
    for name, data in (("Write", {"file_path": "src/x.py", "content": "x"}), ("Bash", {"command": "touch x"})):
        outcome = await reader.run_tool(name, data)
        assert outcome.is_error
        assert "you have Read, Glob" in text(outcome)
    assert (await make(grants={"Read": ["src/**"]}).run_tool("Read", {"file_path": "src/app.py"})).is_error
    assert not (work / "x").exists()


# --- ways out of the workspace


async def test_paths_that_lead_outside_are_refused(tools: Toolbox, work: Path) -> None:
    outside = [
        str(work.parent / "secret.txt"),
        "../secret.txt",
        "src/../../secret.txt",
        "/workspace/../secret.txt",
        "~/x",
    ]
    outside += ["/etc/passwd", "/proc/self/environ", "/workspace2/x", "//etc/passwd"]
    for path in outside:
        for name, more in (("Read", {}), ("Write", {"content": "x"}), ("Edit", {"old_string": "C", "new_string": "D"})):
            outcome = await tools.run_tool(name, {"file_path": path, **more})
            assert outcome.is_error, path
            assert CANARY not in text(outcome)
        for name in ("Glob", "Grep"):
            assert (await tools.run_tool(name, {"pattern": "*" if name == "Glob" else ".", "path": path})).is_error
    assert (work.parent / "secret.txt").read_text() == CANARY
    assert not (work.parent / "x").exists()


async def test_links_that_lead_outside_are_refused_by_each_tool(tools: Toolbox, work: Path) -> None:
    secret = work.parent / "secret.txt"
    (work / "src/file").symlink_to(secret)
    (work / "src/relative").symlink_to("../../secret.txt")
    (work / "src/chain").symlink_to("relative")
    (work / "src/dir").symlink_to(work.parent)
    (work / "src/dangling").symlink_to(work.parent / "new.txt")
    (work / "src/loop").symlink_to("loop")
    for path in (
        "src/file",
        "src/relative",
        "src/chain",
        "src/dir/secret.txt",
        "src/dangling",
        "src/dir/new.txt",
        "src/loop",
    ):
        for name, more in (("Read", {}), ("Write", {"content": "x"}), ("Edit", {"old_string": "C", "new_string": "D"})):
            outcome = await tools.run_tool(name, {"file_path": path, **more})
            assert outcome.is_error, (name, path)
            assert CANARY not in text(outcome)
        assert CANARY not in text(await tools.run_tool("Grep", {"pattern": "CANARY", "path": path}))
    assert CANARY not in await content(tools, "Grep", pattern="CANARY")
    assert "secret" not in await content(tools, "Glob", pattern="**/*secret*")
    assert (await tools.run_tool("Glob", {"pattern": "*", "path": "src/dir"})).is_error
    assert secret.read_text() == CANARY
    assert not (work.parent / "new.txt").exists()


async def test_a_link_is_no_way_around_the_scope(tools: Toolbox, work: Path) -> None:
    (work / "src/link.py").symlink_to("../frontend/App.tsx")
    (work / "src/pages").symlink_to("../frontend")
    for path in ("src/link.py", "src/pages/New.py2", "src/pages/App.tsx"):
        for name, more in (("Write", {"content": "evil"}), ("Edit", {"old_string": "one", "new_string": "evil"})):
            outcome = await tools.run_tool(name, {"file_path": path, **more})
            assert outcome.is_error, (name, path)
            assert "evil" not in (work / "frontend/App.tsx").read_text()
    assert not (work / "frontend/New.py2").exists()


async def test_a_hard_link_is_no_way_around_the_scope(tools: Toolbox, work: Path) -> None:
    before = (work / "frontend/App.tsx").read_text()
    for name, more in (("Write", {"content": "evil"}), ("Edit", {"old_string": "one", "new_string": "evil"})):
        target = work / f"src/{name}.py"
        os.link(work / "frontend/App.tsx", target)
        outcome = await tools.run_tool(name, {"file_path": f"src/{name}.py", **more})
        assert not outcome.is_error
        assert "evil" in target.read_text()
        assert (work / "frontend/App.tsx").read_text() == before
    assert not list(work.rglob(".baton-*"))


@pytest.mark.parametrize(
    ("role", "allowed", "refused"),
    [
        (
            "backend",
            "src/x.py",
            ["frontend/App.tsx", "Frontend/a.js", "tests/test_app.py", "src/./../tests/a.py", "TESTS/a.py"],
        ),
        ("frontend", "frontend/x.tsx", ["src/app.py", "tests/test_app.py", "frontend/../src/app.py"]),
        ("tester", "tests/x.py", ["src/app.py", "frontend/App.tsx", "tests/../src/app.py"]),
        ("reviewer", None, ["src/app.py", "tests/test_app.py", "notes.md"]),
        ("orchestrator", None, ["plan.md"]),
    ],
)
async def test_the_scope_is_kept_at_once(
    make: Make, work: Path, role: str, allowed: str | None, refused: list[str]
) -> None:
    tools = make(role)
    before = state(work)
    for path in [
        *refused,
        ".git/config",
        ".GIT/config",
        "baton.toml",
        ".github/workflows/ci.yml",
        ".claude/agents/a.md",
    ]:
        outcome = await tools.run_tool("Write", {"file_path": path, "content": "evil"})
        assert outcome.is_error
        assert "outside your scope" in text(outcome)
        assert "belongs to" in text(outcome)
        assert outcome.touched == set()
    assert state(work) == before
    if allowed:
        assert not (await tools.run_tool("Write", {"file_path": allowed, "content": "x"})).is_error


async def test_what_is_no_plain_file_is_left_alone(tools: Toolbox, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(work / "src/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(work)  # the path of a socket may have 107 bytes only
        listener.bind("src/socket")
    for path in ("src/fifo", "src/socket"):
        for name, more in (("Read", {}), ("Write", {"content": "x"}), ("Edit", {"old_string": "a", "new_string": "b"})):
            outcome = await tools.run_tool(name, {"file_path": path, **more})
            assert outcome.is_error
            assert "not a plain file" in text(outcome)
        assert (await tools.run_tool("Grep", {"pattern": "x", "path": path})).is_error
    await tools.run_tool("Grep", {"pattern": "x"})


async def test_huge_files_and_images_are_refused(tools: Toolbox, work: Path) -> None:
    with (work / "huge").open("wb") as file:
        file.truncate(50 << 30)
    with (work / "large.py").open("wb") as file:
        file.truncate(10 << 20)
    (work / "logo.png").write_bytes(b"not really a picture")
    for name, path in (
        ("Read", "huge"),
        ("Edit", "huge"),
        ("Edit", "large.py"),
        ("Read", "large.py"),
        ("Read", "logo.png"),
    ):
        more = {"old_string": "a", "new_string": "b"} if name == "Edit" else {}
        outcome = await tools.run_tool(name, {"file_path": path, **more})
        assert outcome.is_error, path
        assert "view_range" not in text(outcome)


async def test_a_full_disk_is_no_fault_of_the_call(tools: Toolbox, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFull, match="free some"):
        await tools.run_tool("Write", {"file_path": "src/new.py", "content": "x"})


# --- Bash for those who may not change anything, or only run some commands


async def test_a_reviewer_cannot_write_by_bash(make: Make, work: Path) -> None:
    before = state(work)
    outcome = await make("reviewer").run_tool(
        "Bash", {"command": "echo evil > src/app.py; touch new; rm -rf tests; chmod 777 src"}
    )
    assert "Read-only file system" in text(outcome)
    assert outcome.touched == set()
    assert state(work) == before


async def test_bash_sees_no_more_than_the_workspace_and_its_mounts(make: Make, work: Path, tmp_path: Path) -> None:
    objects = tmp_path / "objects"
    objects.mkdir()
    (objects / "x").write_text("object")
    tools = make(read_only={objects: str(objects)})
    answer = await content(tools, "Bash", command=f"cat {objects}/x; touch {objects}/y; cat {tmp_path}/secret.txt; env")
    assert answer.startswith("object")
    assert "Read-only file system" in answer
    assert CANARY not in answer
    assert not (objects / "y").exists()


async def test_without_a_sandbox_there_is_no_bash_but_reading_goes_on(make: Make, work: Path) -> None:
    tools = make(sandbox=Sandbox(SandboxStatus("unavailable", "No sandbox can be made here.", "Install bubblewrap.")))
    outcome = await tools.run_tool("Bash", {"command": "touch ran"})
    assert outcome.is_error
    assert "Install bubblewrap" in text(outcome)
    assert not (work / "ran").exists()
    assert not (await tools.run_tool("Read", {"file_path": "src/app.py"})).is_error
    assert not (await tools.run_tool("Grep", {"pattern": "one"})).is_error


async def test_where_isolation_was_waived_even_a_reviewers_changes_are_looked_for(make: Make) -> None:
    tools = make("reviewer", sandbox=await Sandbox.open_sandbox(SandboxMode.NONE))
    assert (await tools.run_tool("Bash", {"command": "true"})).touched is None


async def test_a_bind_that_may_not_be_is_not_there_and_the_agent_is_told(make: Make) -> None:
    tools = make(binds=["/root/.ssh", "/opt/tool"])
    outcome = await tools.run_tool("Bash", {"command": "ls /root/.ssh /opt/tool"})
    assert outcome.is_error
    assert "/root/.ssh is not shown to commands" in str(outcome.content)
    assert "/opt/tool is not shown to commands" in str(outcome.content)
    assert "BATON_SANDBOX_BINDS" in str(outcome.content)


PATTERNS = ["pytest:*", "git diff *", "npm test"]


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("pytest", ["pytest"]),
        ("pytest -q tests/test_a.py::test_b[1]", ["pytest", "-q", "tests/test_a.py::test_b[1]"]),
        ("pytest -k 'a and b'", ["pytest", "-k", "a and b"]),
        ("git diff --stat", ["git", "diff", "--stat"]),
        ("npm test", ["npm", "test"]),
    ],
)
def test_commands_that_a_pattern_admits(command: str, argv: list[str]) -> None:
    assert allowed_argv(command, PATTERNS) == argv


@pytest.mark.parametrize(
    "command",
    [
        *("ls", "pytests", "pytest2 -q", "./pytest", "X=1 pytest", "env pytest", "git", "git push", "git -c x=y diff"),
        *("npm test extra", "npm", "pytest; id", "pytest && id", "pytest || id", "pytest | sh", "pytest & id"),
        *("pytest > x", "pytest < x", "pytest $(id)", "pytest `id`", "pytest $HOME", "pytest\nid", "pytest\r\nid"),
        *("pytest {a,b}", "(pytest)", "pytest *", "pytest ~", "pytest 'x", "pytest \\; id", "'pytest;id'", "   ", "#"),
        "! pytest",
    ],
)
def test_commands_that_no_pattern_admits(command: str) -> None:
    with pytest.raises(ToolFault):
        allowed_argv(command, PATTERNS)


@pytest.mark.parametrize("pattern", ["*", ":*", "", " *", "py*", "'", "pytest*:*"])
def test_patterns_that_admit_nothing(pattern: str) -> None:
    with pytest.raises(ToolFault):
        allowed_argv("pytest", [pattern])


async def test_a_narrowed_bash_runs_without_a_shell(make: Make, work: Path) -> None:
    tools = make(grants={"Bash": ["printf:*", "python:*"]})
    assert await content(tools, "Bash", command="printf %s '[a b]'") == "[a b]\n[exit code 0]"
    outcome = await tools.run_tool("Bash", {"command": "printf x > made"})
    assert outcome.is_error
    assert (outcome.touched, outcome.exit_code) == (set(), None)
    assert not (work / "made").exists()
    assert (await tools.run_tool("Bash", {"command": "touch made"})).is_error


async def test_a_projects_own_scope_holds_for_the_tools(make: Make, work: Path) -> None:
    config = parse_config(b'[scope]\nbackend = ["src/**", "!src/util.py"]')
    tools = make(scope=scope_for("backend", config))
    assert not (await tools.run_tool("Write", {"file_path": "src/new.py", "content": "x"})).is_error
    for path in ("src/util.py", "src/Util.py", "README.md"):
        assert (await tools.run_tool("Write", {"file_path": path, "content": "x"})).is_error


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("big.dat", POINTER.encode(), "Git LFS pointer"),
        ("picture.png", POINTER.encode(), "Git LFS pointer"),
        ("secret.key", b"\0GITCRYPT\0one = 1" + bytes(range(256)), "ciphertext of git-crypt"),
        ("transcrypt.txt", b"U2FsdGVkX1+one=1\n", "ciphertext"),
        ("sops.yaml", b"one: ENC[AES256_GCM,data:xxxx,iv:yyyy]\nsops:\n", "ciphertext of sops"),
    ],
)
async def test_content_that_a_filter_put_there_is_told_from_the_files_own(
    make: Make, work: Path, name: str, content: bytes, words: str
) -> None:
    (work / "src" / name).write_bytes(content)
    box = make()
    read = await box.run_tool("Read", {"file_path": f"src/{name}"})
    assert words in str(read.content)
    one = await box.run_tool("Grep", {"pattern": "one|version", "path": f"src/{name}"})
    assert words in str(one.content)
    none = await box.run_tool("Grep", {"pattern": "no such word", "path": f"src/{name}"})
    assert words in str(none.content)
    if b"\0" not in content:
        found = await box.run_tool("Grep", {"pattern": "version|ne[=:]|U2Fs", "path": "src"})
        assert f"(src/{name} is " in str(found.content)
    assert "is a Git LFS" not in str((await box.run_tool("Read", {"file_path": "src/app.py"})).content)


DEEP_CALLS: dict[str, tuple[str, dict[str, object]]] = {
    "Read": ("Read", {"file_path": "{path}/f"}),
    "Write": ("Write", {"file_path": "{path}/f", "content": "x"}),
    "Edit": ("Edit", {"file_path": "{path}/f", "old_string": "a", "new_string": "b"}),
    "Glob in it": ("Glob", {"path": "{path}", "pattern": "**/*.py"}),
    "Glob for it": ("Glob", {"pattern": "{path}/f"}),
    "Grep in it": ("Grep", {"path": "{path}", "pattern": "x"}),
    "Grep for it": ("Grep", {"pattern": "x", "glob": "{path}/f"}),
}


@pytest.mark.parametrize("name", DEEP_CALLS)
@pytest.mark.parametrize("levels", [150, 2_000, 5_000])
@pytest.mark.parametrize("exists", [False, True])
async def test_a_path_of_thousands_of_levels_is_one_sentence(
    make: Make, work: Path, request: pytest.FixtureRequest, name: str, levels: int, exists: bool
) -> None:
    request.addfinalizer(lambda: clear_away(work / "d"))  # pytest itself could not remove it
    if exists:
        nest(work, 5_000)
    tool, arguments = DEEP_CALLS[name]
    path = "/".join(["d"] * levels)
    outcome = await make().run_tool(tool, {key: str(value).format(path=path) for key, value in arguments.items()})
    assert isinstance(outcome.content, str)
    lines = outcome.content.splitlines()
    assert len(lines) <= 2, outcome.content
    assert len(lines[-1]) < 700, outcome.content
    if not name.endswith("for it") and not (exists and levels <= 2_000):
        assert outcome.is_error
    assert exists or not (work / "d").exists()


async def test_a_long_chain_of_links_is_one_sentence(make: Make, work: Path) -> None:
    for number in range(3_000):
        (work / f"l{number}").symlink_to(f"l{number + 1}")
    (work / "l3000").write_text("x")
    for call in (
        ("Read", {"file_path": "l0"}),
        ("Write", {"file_path": "l0", "content": "x"}),
        ("Grep", {"pattern": "x", "path": "l0"}),
    ):
        outcome = await make().run_tool(*call)
        assert (outcome.is_error, outcome.content) == (True, "l0: cannot be followed.")
