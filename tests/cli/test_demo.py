"""`baton demo` from beginning to end: what it promises is what lies in the repository afterwards."""

import json
import sys
from pathlib import Path

import pygit2

from tests.cli.conftest import Cli, nothing_runs


async def test_the_demo_shows_what_it_promises(cli: Cli, tmp_path: Path) -> None:
    # Named like the script itself, which must not be taken for it.
    place = tmp_path / "demo"
    # A server that somebody has configured is none of a demo's business.
    cli.env["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
    # 33 s on an idle machine with two cores.
    result = await cli("demo", "--keep", "./demo", cwd=tmp_path, within=240)
    assert result.code == 0, result
    assert "model is scripted" in result.err
    assert "D1" in result.err
    assert "red (exit code 1) -> green -> green" in result.out
    # Progress says it as it happens.
    assert "round 1: gate red (exit code 1), " in result.err
    assert "round 2: gate green, " in result.err
    assert "the reviewer says request_changes, 1 blocking finding\n" in result.err
    assert "request_changes -> approve" in result.out
    # The program is named as it can be called from here, so that the line can be copied.
    program = str(Path(sys.executable).with_name("baton"))
    assert f"env -u TEMPORAL_ADDRESS BATON_HOME={place}/home {program} show" in result.out
    assert nothing_runs(place)

    repository = pygit2.Repository(str(place / "orders"))
    (name,) = [name for name in repository.branches.local if name.startswith("baton/")]
    subjects = {commit.message.splitlines()[0] for commit in repository.walk(repository.branches[name].target)}
    assert {"Add pagination to GET /orders", "Show the orders page by page"} <= subjects
    assert str(repository.head.shorthand) == "main"

    later = Cli(place / "home")
    shown = await later("show", name.removeprefix("baton/"), "--json")
    document = json.loads(shown.out)
    assert document["status"] == "done"
    assert document["head_commit"] == str(repository.branches[name].target)
    assert [(decision["state"], decision["by"]) for decision in document["decisions"]] == [("answered", "baton demo")]
    assert any("scripted" in note for note in document["notes"])
    assert (await later("diff", document["run"], "--stat")).code == 0
