"""A run whose encryption key is not here: the others are shown, and of this one that it cannot be read."""

import base64
import json
from pathlib import Path

import pytest

from baton.settings.core import read_settings
from tests.cli.conftest import Cli
from workers.embedded.server import use_embedded_server

pytestmark = pytest.mark.server


def key(name: str) -> str:
    return f"{name}:{base64.b64encode(name.encode() * 16).decode()}"


async def test_other_runs_are_shown(scripted: Cli, repository: Path) -> None:
    scripted.env["BATON_CODEC_TOKEN"] = "a-token-of-some-length"
    runs = []
    for name in ("k1", "k2"):
        scripted.env["BATON_ENCRYPTION_KEYS"] = key(name)
        started = await scripted("run", f"Do {name}", "--repo", str(repository), "--detach", "--json")
        assert started.code == 0, started.err
        runs.append(json.loads(started.out)["run"])
    async with use_embedded_server(read_settings(home=scripted.home)):
        await look_at(scripted, runs)


async def look_at(scripted: Cli, runs: list[str]) -> None:
    """Both runs are known to the server alone; the second one's key is here."""
    listed = await scripted("list", "--json")
    assert listed.code == 0, listed.err
    rows = {row["run"]: row for row in json.loads(listed.out)}
    assert rows.keys() == set(runs)
    assert (rows[runs[1]]["task"], rows[runs[1]]["unreadable"]) == ("Do k2", None)
    assert "'k1'" in rows[runs[0]]["unreadable"]
    assert rows[runs[0]]["status"] == "planning"
    assert f"Of the run {runs[0]} not all can be read" in listed.err
    plain = await scripted("list")
    assert (plain.code, all(run in plain.out for run in runs)) == (0, True)
    collected = await scripted("gc", "--dry-run")
    assert collected.code == 0, collected.err
    for command in ("show", "watch", "guide"):
        said = await scripted(command, runs[0], *(["Mind this"] if command == "guide" else []))
        assert (said.code, said.err.count("\n")) == (2, 1), said.err
        assert "encrypted with the key 'k1'" in said.err
