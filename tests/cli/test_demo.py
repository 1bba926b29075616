"""The demo, as everybody tries it first: one command, no key, no settings, from the request to the branch."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli, nothing_runs
from tests.conftest import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.sample]


async def test_the_demo_runs_to_its_end_and_leaves_no_process(cli: Cli, tmp_path: Path) -> None:
    done = await cli("demo", "--keep", str(tmp_path / "demo"))
    assert done.code == 0, done
    assert "The change is done." in done.out
    assert "model is scripted" in done.err
    assert "red (exit code 1) -> green -> green" in done.out
    await assert_eventually(lambda: nothing_runs(tmp_path))
