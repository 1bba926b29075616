"""Whose packages a project's commands see: its own. Neither Baton's nor those of Baton's interpreter are importable."""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest

from baton.records.run import Evidence
from baton.settings.core import SandboxMode
from tests.conftest import HANGS
from workspaces.project.baton_toml import GateConfig
from workspaces.project.gate import run_gate
from workspaces.sandbox.engine_python import make_own_python
from workspaces.sandbox.environment import Toolchains
from workspaces.sandbox.sandbox import CommandResult, Sandbox, SandboxCommand

ISOLATED = [True, False]


@pytest.fixture(scope="session")
async def boxes(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Sandbox]:
    home = tmp_path_factory.mktemp("home")
    modes = {True: SandboxMode.AUTO, False: SandboxMode.NONE}
    return {isolated: await Sandbox.open_sandbox(mode, home=home) for isolated, mode in modes.items()}


async def gate(box: Sandbox, place: Path, files: Mapping[str, str], command: str = "python -m pytest -q") -> Evidence:
    """The gate's evidence of a project with these files."""

    async def checkout(_commit: str, directory: Path) -> None:
        for name, text in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)

    evidence, _log = await run_gate(checkout, "c0ffee", place / "gate", GateConfig(test=command), box)
    return evidence


async def run(box: Sandbox, text: str, work: Path) -> CommandResult:
    work.mkdir(exist_ok=True)
    return await box.run_command(SandboxCommand(argv=text, workspace=work))


BROKEN = {
    name: {
        "pyproject.toml": f'[project]\nname = "{name}"\nversion = "1"\n[tool.pytest.ini_options]\n',
        f"src/{name}/__init__.py": "raise RuntimeError('broken by the change')\n",
        "tests/test_it.py": f"import {name}\n\ndef test_it():\n    assert {name}\n",
    }
    for name in ("structlog", "pathspec", "pluggy", "packaging", "iniconfig", "pygments", "pip")
}


@pytest.mark.parametrize("isolated", ISOLATED)
@pytest.mark.parametrize("name", BROKEN)
async def test_a_project_that_is_a_dependency_of_batons_is_never_tested_from_batons_copy(
    boxes: dict[bool, Sandbox], tmp_path: Path, name: str, isolated: bool
) -> None:
    """With a change that raises on import, published as green before."""
    for command in ("python -m pytest -q", "pytest -q", "python3 -m pytest"):
        evidence = await gate(boxes[isolated], tmp_path, BROKEN[name], command)
        assert not evidence.is_green, evidence.log_tail
    installed = BROKEN[name] | {"pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\n'}
    evidence = await gate(boxes[isolated], tmp_path, installed)
    assert not evidence.is_green
    assert "broken by the change" in evidence.log_tail


@pytest.mark.parametrize("isolated", ISOLATED)
async def test_a_project_that_is_pytest_is_not_tested_by_the_copy_of_it(
    boxes: dict[bool, Sandbox], tmp_path: Path, isolated: bool
) -> None:
    files = {
        "src/_pytest/__init__.py": "raise RuntimeError\n",
        "src/pytest/__init__.py": "raise RuntimeError\n",
        "testing/test_it.py": "import pytest\n\ndef test_it():\n    assert pytest\n",
    }
    for command in ("python -m pytest -q", "pytest -q", "cd testing && pytest -q"):
        evidence = await gate(boxes[isolated], tmp_path, files, command)
        assert not evidence.is_green
        assert "holds pytest itself" in evidence.log_tail


@pytest.mark.parametrize("isolated", ISOLATED)
async def test_no_package_of_batons_is_importable(boxes: dict[bool, Sandbox], tmp_path: Path, isolated: bool) -> None:
    """All that is installed beside Baton, also in the very process that runs the tests with Baton's pytest."""
    found = {
        name
        for distribution in metadata.distributions()
        for name in (distribution.read_text("top_level.txt") or distribution.name.replace("-", "_")).split()
        if name.isidentifier()
    }
    found |= {"baton", "workspaces", "yaml", "structlog", "pydantic", "pluggy", "packaging", "iniconfig", "pygments"}
    found -= {"pytest", "_pytest", "py"}
    test = (
        "import importlib.util, pytest\n"
        f"@pytest.mark.parametrize('name', {sorted(found)!r})\n"
        "def test_it(name):\n"
        "    with pytest.raises(ModuleNotFoundError):\n"
        "        __import__(name)\n"
    )
    for command in ("python -m pytest -q", "pytest -q"):
        evidence = await gate(boxes[isolated], tmp_path, {"test_it.py": test}, command)
        assert evidence.is_green, evidence.log_tail


async def test_a_forgotten_dependency_is_red(boxes: dict[bool, Sandbox], tmp_path: Path) -> None:
    files = {"app.py": "import structlog\n", "test_app.py": "import app\n\ndef test_app():\n    assert app\n"}
    evidence = await gate(boxes[True], tmp_path, files)
    assert not evidence.is_green
    assert "No module named 'structlog'" in evidence.log_tail


async def test_no_file_of_batons_packages_is_there_to_be_found(boxes: dict[bool, Sandbox], tmp_path: Path) -> None:
    """Not by the paths of Baton's environment or checkout either, nor by the interpreter below it."""
    root = Path(__file__).parents[3]
    places = [sys.prefix, str(root / "baton"), *(entry for entry in sys.path if "packages" in entry)]
    for place in dict.fromkeys(places):
        result = await run(boxes[True], f"find {place!r} -mindepth 1 2>/dev/null | head -3", tmp_path / "work")
        assert result.output == "", place
    below = (
        "import subprocess, sys\n"
        "code = 'import sys, structlog'\n"
        "for python in (sys._base_executable, sys.executable):\n"
        "    assert subprocess.run([python, '-c', code], capture_output=True).returncode == 1, python\n"
        "assert subprocess.run([sys._base_executable, '-c', 'import yaml'], capture_output=True).returncode == 1\n"
    )
    (tmp_path / "work" / "below.py").write_text(below)
    result = await run(boxes[True], "python below.py", tmp_path / "work")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("isolated", ISOLATED)
async def test_a_project_has_its_own_environment_and_its_own_pytest(
    boxes: dict[bool, Sandbox], tmp_path: Path, isolated: bool
) -> None:
    """`python -m venv` works without a network, and what is installed in it wins over what the engine brings."""
    text = (
        "python -m venv --without-pip .venv && ls .venv/bin/python && "
        "site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))') && "
        "mkdir $site/pytest && touch $site/pytest/__main__.py && "
        "echo 'print(\"its own\")' > $site/pytest/__init__.py && "
        ".venv/bin/python -m pytest && "
        "mkdir -p vendor/pytest && cp $site/pytest/*.py vendor/pytest && PYTHONPATH=vendor python -m pytest"
    )
    result = await run(boxes[isolated], text, tmp_path / "work")
    assert result.exit_code == 0, result.output
    assert result.output.count("its own") == 2


@pytest.mark.parametrize("isolated", ISOLATED)
async def test_pip_and_ripgrep_are_there_as_programs(
    boxes: dict[bool, Sandbox], tmp_path: Path, isolated: bool
) -> None:
    text = "python -m pip --version && pip --version && rg --version && python -c 'import pip'"
    result = await run(boxes[isolated], text, tmp_path / "work")
    assert result.output.count("pip ") >= 2, result.output
    assert "ripgrep" in result.output
    assert "No module named 'pip'" in result.output


async def test_what_a_project_brings_comes_before_the_engines_programs(
    boxes: dict[bool, Sandbox], tmp_path: Path
) -> None:
    result = await run(boxes[True], 'printf "$PATH"', tmp_path / "work")
    path = result.output.split(":")
    assert path[-1] == "/baton/last"
    assert path.index("/baton/last") > path.index("/usr/bin") > path.index("/baton/bin")


def test_programs_of_hidden_packages_do_not_come_first() -> None:
    """Where Baton lies in the system's own Python, `/usr/local/bin/pytest` is there and has lost its packages."""
    path = Toolchains(tools=Path("/x"), hidden=(Path("/usr/local/lib/python3.13/site-packages"),)).search_path.split(
        ":"
    )
    assert path[:2] == ["/baton/bin", "/baton/last"]
    assert Toolchains(tools=Path("/x"), hidden=(Path("/opt/venv"),)).search_path.split(":")[-1] == "/baton/last"


def test_the_engines_python_is_made_once_and_by_one(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from workspaces.sandbox.engine_python import make_own_python\n"
        "print(make_own_python(Path(sys.argv[1])).stat().st_ino)"
    )
    (tmp_path / "python" / ".making-killed").mkdir(parents=True)
    os.utime(tmp_path / "python" / ".making-killed", (0, 0))
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) for _ in range(2)]
    said = {process.communicate(timeout=HANGS.total_seconds())[0] for process in both}
    assert len(said) == 1
    assert len(list((tmp_path / "python").iterdir())) == 1


def test_the_engines_python_is_made_by_several_threads_at_once(tmp_path: Path) -> None:
    """As tasks that run side by side do: `ast.parse` fails where garbage collection lets another thread parse, too."""
    homes = [tmp_path / f"home{number % 3}" for number in range(6)]

    def give_way(phase: str, found: Mapping[str, int]) -> None:
        time.sleep(0)

    gc.callbacks.append(give_way)
    try:
        with ThreadPoolExecutor(len(homes)) as threads:
            made = list(threads.map(make_own_python, homes))
    finally:
        gc.callbacks.remove(give_way)
    assert [place.parent.parent for place in made] == homes
    assert [len(list((home / "python").iterdir())) for home in homes] == [1] * len(homes)


@pytest.mark.parametrize("isolated", ISOLATED)
async def test_the_copy_of_pytest_does_what_pytest_does(
    boxes: dict[bool, Sandbox], tmp_path: Path, isolated: bool
) -> None:
    files = {
        "pyproject.toml": '[tool.pytest.ini_options]\nminversion = "8"\naddopts = "-ra --strict-markers"\n',
        "tests/conftest.py": "import pytest\n@pytest.fixture\ndef one(tmp_path, monkeypatch, capsys): return 1\n",
        "tests/test_it.py": (
            "import importlib.metadata, logging, pytest, unittest, warnings\n"
            "pytest_plugins = ['pytester']\n"
            "@pytest.mark.parametrize('two', [2, pytest.param(3, marks=pytest.mark.xfail)])\n"
            "def test_one(one, two): assert one + one == two\n"
            "def test_approx(): assert 0.1 + 0.2 == pytest.approx(0.3)\n"
            "def test_needs(): pytest.importorskip('os', minversion=None)\n"
            "def test_version(): assert importlib.metadata.version('pytest') == pytest.__version__\n"
            "def test_run(pytester):\n"
            "    pytester.makepyfile('def test(): assert [1] == [2]')\n"
            "    pytester.runpytest('-vv', '--color=yes', '--debug').assert_outcomes(failed=1)\n"
            "    pytester.runpytest_subprocess('--junitxml=x.xml', '--doctest-modules').assert_outcomes(failed=1)\n"
            "class Old(unittest.TestCase):\n"
            "    def test_old(self):\n"
            "        with self.assertLogs(level='INFO'): logging.getLogger().info('x')\n"
        ),
    }
    for command in (
        "python -m pytest",
        "pytest -vv",
        "python -W error -m pytest --version -VV",
        "py.test -q -p no:logging",
    ):
        evidence = await gate(boxes[isolated], tmp_path, files, command)
        assert evidence.is_green, evidence.log_tail
