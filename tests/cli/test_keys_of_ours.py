"""A key that a person types into a command goes nowhere, and the person is told."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

KEY = "sk-ant-scripted-key-0000"


def nowhere(home: Path) -> bool:
    """Whether neither the server's database nor anything else below a home has the key, in whatever case."""
    asked = ["grep", "-rlaiF", "-e", KEY, "-e", "scripted-key", str(home)]
    return subprocess.run(asked, capture_output=True, check=False).stdout == b""


@pytest.mark.server
@pytest.mark.parametrize("way", ["typed", "file", "stdin", "broken"])
async def test_a_task(scripted: Cli, repository: Path, tmp_path: Path, way: str) -> None:
    task = f"{KEY} is the key to use"
    (tmp_path / "task").write_text(task)
    given = {"file": f"@{tmp_path}/task", "stdin": "-", "broken": f"{KEY[:12]}\n{KEY[12:]} is it"}.get(way, task)
    started = await scripted("run", given, "--repo", str(repository), "--detach", "--json", given=task)
    assert started.code == 0, started.err
    assert "masked: it looked like the value of ANTHROPIC_API_KEY" in started.err
    run = json.loads(started.out)["run"]
    assert "scripted" not in run
    assert nowhere(scripted.home)
    if way == "typed":
        told = await scripted("guide", run, f"Use {KEY}")
        assert (told.code, "masked" in told.err) == (0, True)
        other = await scripted("guide", run, "Use ghp_" + "a1" * 18)
        assert "masked: it looked like a key or token" in other.err
        answered = await scripted("decide", run, "D1", "retry", "--note", KEY)
        assert "masked" in answered.err
        assert nowhere(scripted.home)


@pytest.mark.server
async def test_halves_of_letters(scripted: Cli, repository: Path) -> None:
    """Bytes that are no UTF-8 reach a command as halves of surrogate pairs."""
    started = await scripted("run", "Add \udcff it", "--repo", str(repository), "--detach", "--json")
    assert started.code == 0, started.err
    run = json.loads(started.out)["run"]
    told = await scripted("guide", run, "Mind \udcff this")
    assert (told.code, "Traceback" in told.err) == (0, False), told.err
    # No such decision yet: the run itself says so, to words that it could read.
    answered = await scripted("decide", run, "D1", "\udcff", "--note", "\udcff", "--by", "\udcff")
    assert "Traceback" not in answered.err
