"""The wheel as its users get it: built, installed into an environment of its own, and run far from the checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pygit2
import pytest

from baton import __version__
from tests.cli.conftest import Cli, nothing_runs
from tests.conftest import HANGS, assert_eventually

ROOT = Path(__file__).parents[2]
UV = str(Path(sys.executable).with_name("uv"))


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """What a command says on stdout; its failure is the test's."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=HANGS.total_seconds(),
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2_000:]}\n{done.stderr[-4_000:]}"
    return done.stdout


def newest_python() -> str:
    """The newest interpreter of this machine that Baton is declared for; the other tests run on the oldest."""
    places = [*map(Path, os.get_exec_path()), *sorted((Path.home() / ".pyenv/versions").glob("*/bin"))]
    for minor in (14, 13, 12):
        for place in places:
            program = place / f"python3.{minor}"
            # A shim of a version manager is there, and does not run.
            if program.exists() and subprocess.run([program, "-c", ""], capture_output=True).returncode == 0:
                return str(program)
    return sys.executable


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`baton` as `uv tool install` lays it down, with the locked versions of what it needs."""
    place = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", place, ROOT, cwd=place)
    (wheel,) = place.glob("*.whl")
    tools = {"UV_TOOL_DIR": str(place / "tools"), "UV_TOOL_BIN_DIR": str(place / "bin"), "UV_LINK_MODE": "hardlink"}
    options = ("--quiet", "--python", newest_python(), "--constraints", ROOT / "requirements.lock")
    run(UV, "tool", "install", *options, wheel, cwd=place, **tools)
    return place / "bin" / "baton"


@pytest.mark.server
async def test_the_installed_command_runs_the_demo_from_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    """The whole demo; it takes no server that is configured, and says so in the lines it prints to copy."""
    # Named like the demo's script, which must not be taken from there.
    empty, there = tmp_path / "empty", tmp_path / "there"
    place = there / "demo"
    empty.mkdir()
    there.mkdir()
    far = {"HOME": str(tmp_path), "PATH": os.defpath, "TEMPORAL_ADDRESS": "127.0.0.1:1"}
    # uv compiles nothing when it installs: without this, every process here would compile all packages anew.
    far["PYTHONDONTWRITEBYTECODE"] = ""
    cli = Cli(empty / "home", installed, **far)
    assert (await cli("--version", cwd=empty)).out == f"baton {__version__}\n"
    result = await cli("demo", "--keep", "./demo", cwd=there, within=HANGS.total_seconds())
    assert result.code == 0, result
    assert "model is scripted" in result.err
    assert "D1" in result.err
    assert "red (exit code 1) -> green -> green" in result.out
    assert "request_changes -> approve" in result.out
    # Progress says it as it happens.
    assert "round 1: gate red (exit code 1), " in result.err
    assert "round 2: gate green, " in result.err
    assert "the reviewer says request_changes, 1 blocking finding\n" in result.err
    # The program is named as it can be called from here, so that the line can be copied.
    assert f"env -u TEMPORAL_ADDRESS BATON_HOME={place}/home {installed} show" in result.out
    await assert_eventually(lambda: nothing_runs(place))

    repository = pygit2.Repository(str(place / "orders"))
    (name,) = [name for name in repository.branches.local if name.startswith("baton/")]
    subjects = {commit.message.splitlines()[0] for commit in repository.walk(repository.branches[name].target)}
    assert {"Add pagination to GET /orders", "Show the orders page by page"} <= subjects
    assert str(repository.head.shorthand) == "main"

    later = Cli(place / "home", installed, **far)
    del later.env["TEMPORAL_ADDRESS"]
    shown = await later("show", name.removeprefix("baton/"), "--json")
    document = json.loads(shown.out)
    assert document["status"] == "done"
    assert document["head_commit"] == str(repository.branches[name].target)
    assert [(decision["state"], decision["by"]) for decision in document["decisions"]] == [("answered", "baton demo")]
    assert any("scripted" in note for note in document["notes"])
    assert (await later("diff", document["run"], "--stat")).code == 0
    # Role files come from the wheel, too, and nothing is left where it was called.
    assert "backend" in (await later("agents", "list", cwd=empty)).out
    assert list(empty.iterdir()) == []
    assert list(there.iterdir()) == [place]


GATE = """
import asyncio, json, sys
from pathlib import Path
import structlog
from baton.settings.core import SandboxMode
from workspaces.project.baton_toml import GateConfig
from workspaces.project.gate import run_gate
from workspaces.sandbox.sandbox import Sandbox

PROJECT = {
    "src/structlog/__init__.py": "raise RuntimeError('broken by the change')",
    "tests/test_it.py": "import structlog\\ndef test_it(): assert structlog.get_logger()",
}
FINE = {"tests/test_it.py": "import pytest\\ndef test_it(): assert pytest"}

async def green(mode, files):
    async def checkout(commit, directory):
        for name, text in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
    box = await Sandbox.open_sandbox(mode, home=Path("home").absolute())
    evidence, _log = await run_gate(checkout, "c", Path("gate").absolute(), GateConfig(test="python -m pytest"), box)
    return evidence.is_green

async def main():
    modes = (SandboxMode.AUTO, SandboxMode.NONE)
    print(json.dumps([[await green(mode, files) for files in (PROJECT, FINE)] for mode in modes]))

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["a virtual environment", "PYTHONPATH"])
def test_a_checkout_of_a_dependency_of_batons_is_not_tested_from_where_baton_is_installed(
    installed: Path, tmp_path: Path, how: str
) -> None:
    """A change that makes structlog raise on import was published as green: the tests found Baton's structlog."""
    python, env = Path(os.path.realpath(installed)).with_name("python"), {}
    if how == "PYTHONPATH":
        look = "import sys, structlog; print(sys._base_executable, *structlog.__path__)"
        said = run(python, "-c", look, cwd=tmp_path)
        base, package = said.split()
        python, env = Path(base), {"PYTHONPATH": str(Path(package).parent)}
    assert json.loads(run(python, "-c", GATE, cwd=tmp_path, **env)) == [[False, True], [False, True]]


def test_the_shell_completes_commands(installed: Path, tmp_path: Path) -> None:
    script = f'cd {tmp_path} && "{installed}" --install-completion && cat ~/.bashrc'
    said = run("bash", "-c", script, cwd=tmp_path, HOME=str(tmp_path))
    assert "baton.sh" in said
    asked = {"_BATON_COMPLETE": "complete_bash", "COMP_WORDS": "baton code", "COMP_CWORD": "1"}
    assert run(installed, cwd=tmp_path, **asked).split() == ["codec-server"]
