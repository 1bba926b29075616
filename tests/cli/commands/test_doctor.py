"""`baton doctor` where something is missing: it looks at everything all the same, and says what to do about each."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import BATON, Cli, finish, nothing_runs
from tests.conftest import assert_eventually
from tests.pipelines.failures.test_poor_places import NAMESPACE


def checks(out: str) -> dict[str, dict[str, Any]]:
    """What `--json` says, by the name of the check."""
    return {check["name"]: check for check in json.loads(out)["checks"]}


async def test_everything_that_is_missing_is_named_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    """No git, no sandbox, no key, and a home without room: one look says all of it."""
    cli.home.mkdir()
    poverty = (
        f"mount -t tmpfs -o size=1m,mode=700 tmpfs '{cli.home}'",
        f"(dd if=/dev/zero of='{cli.home}/ballast' bs=4k 2>/dev/null || true)",
        "echo 0 > /proc/sys/user/max_user_namespaces",
        f"PATH='{tmp_path}'",
        'exec "$@"',
    )
    process = await cli.start("doctor", "--json", program=[*NAMESPACE, " && ".join(poverty), "sh", str(BATON)])
    result = await finish(process)
    assert result.code == 1, result
    found = checks(result.out)
    assert {name: check["status"] for name, check in found.items()} == {
        "packages": "ok",
        "disk": "fail",
        "git": "fail",
        "sandbox": "fail",
        "key": "warn",
        "prices": "ok",
        "server": "fail",
    }
    assert "larger disk" in found["disk"]["advice"]
    assert "apt install git" in found["git"]["advice"]
    assert "apt install bubblewrap" in found["sandbox"]["advice"]
    assert "baton demo" in found["key"]["advice"]
    await assert_eventually(lambda: nothing_runs(cli.home))


@pytest.mark.parametrize("home", ["file", "/proc/x"])
async def test_a_home_that_is_no_directory_does_not_hide_the_rest(cli: Cli, tmp_path: Path, home: str) -> None:
    if home == "/proc/x" and os.geteuid() != 0:
        pytest.skip("only root needs a path that even root cannot write")
    (tmp_path / "file").touch()
    cli.env["BATON_HOME"] = str(tmp_path / home)
    result = await cli("doctor", "--json")
    assert result.code == 1, result
    found = checks(result.out)
    assert (found["git"]["status"], found["sandbox"]["status"]) == ("ok", "ok")
    assert found["disk"]["status"] == "fail"
    assert "Set BATON_HOME" in found["disk"]["advice"]
    assert found["server"]["status"] == "fail"
    assert "BATON_HOME" in found["server"]["advice"]
    said = await cli("doctor")
    assert (said.code, said.err) == (1, "")
    assert f"fail  disk      {cli.env['BATON_HOME']}: " in said.out
    assert "BATON_HOME  " not in said.out, "`baton config` lists the settings"


@pytest.mark.server
async def test_directories_that_baton_toml_may_ask_for_are_looked_at(cli: Cli) -> None:
    cli.env["BATON_SANDBOX_BINDS"] = "/usr/share/git-core:/opt/is-not-there"
    said = await cli("doctor", "--json")
    found = checks(said.out)["binds"]
    assert found["status"] == "warn"
    assert "/usr/share/git-core, /opt/is-not-there" in found["detail"]
    assert found["advice"].startswith("/opt/is-not-there is not shown")
    cli.env["BATON_SANDBOX_BINDS"] = "/usr/share/git-core:/srv"
    for command in (("doctor",), ("list",), ("run", "x")):
        said = await cli(*command)
        assert said.code == 2
        assert "BATON_SANDBOX_BINDS is invalid: /srv" in said.err
        assert len(said.err.splitlines()) == 1
