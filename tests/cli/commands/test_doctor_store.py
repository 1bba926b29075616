"""`baton doctor --store`: what its user reads, and what is mended."""

import json
import os
import time
from pathlib import Path

import pytest

from baton import identifiers
from tests.cli.conftest import Cli
from tests.workspaces.conftest import AT, Project, apart, run_files, run_git
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.store.state_remote import StateRemote
from workspaces.store.store import Store

LANE = Lane("shop-1", "t1")


async def make(home: Path, place: Path) -> tuple[Path, str]:
    """A run in a store of this home, copied to a state remote; gives the remote and the newest checkpoint."""
    run_git(place, "init", "--quiet", "--bare", "state.git")
    project = Project(place / "shop")
    project.commit({"README.md": b"shop\n"}, "first")
    store = await Store.open(home, str(project.path), StateRemote.parse(str(place / "state.git"), "first"))
    base = await store.fetch_base(None)
    run = identifiers.run_ref(LANE.run)
    await store.commit_files(run, expected=None, files=run_files(LANE.run, store.repo), message="r", at=AT)
    await store.move_ref(identifiers.integration_ref(LANE.run), base.commit, expected=None)
    began = await Checkpoints(store).begin_lane(LANE, base.commit, at=AT)
    files = {"transcript/1-backend/00001-user.json": b'{"turn": 1}'}
    head = await Checkpoints(store).record_checkpoint(
        LANE, expected=began, files=files, workspace=None, summary="1", at=AT
    )
    return place / "state.git", head


async def test_a_store_is_checked_and_mended(cli: Cli, tmp_path: Path) -> None:
    empty = await cli("doctor", "--store")
    assert (empty.code, empty.out) == (0, "There is no store in this home yet.\n")

    state, head = await make(cli.home, tmp_path)
    whole = await cli("doctor", "--store", "--json")
    assert whole.code == 0
    (found,) = json.loads(whole.out)["stores"]
    assert (found["ok"], found["findings"], found["repository"]) == (True, [], str(tmp_path / "shop"))

    await apart(*cli.home.glob("stores/*/store.git"))
    (damaged,) = cli.home.glob(f"stores/*/store.git/objects/{head[:2]}/{head[2:]}")
    damaged.chmod(0o600)
    os.truncate(damaged, damaged.stat().st_size // 2)
    left = damaged.with_name("tmp_obj_left")
    left.touch()
    os.utime(left, (time.time() - 86_400,) * 2)

    said = await cli("doctor", "--store")
    assert said.code == 1
    assert "the task t1 of the run shop-1 cannot go on from its newest checkpoint" in said.out
    assert "`baton store repair`" in said.out
    assert "tmp_obj_left" in said.out
    assert left.exists()

    # Without the remote what was only there stays lost, and that is said; leftovers go.
    alone = await cli("doctor", "--store", "--repair")
    assert alone.code == 1
    assert "BATON_STATE_REMOTE is not set" in alone.out
    assert not left.exists()

    cli.env["BATON_STATE_REMOTE"] = str(state)
    mended = await cli("doctor", "--store", "--repair", "--json")
    assert mended.code == 0, mended.out
    (found,) = json.loads(mended.out)["stores"]
    assert found["ok"]
    assert {finding["kind"] for finding in found["mended"]} >= {"missing", "checkpoint"}
    assert (await cli("doctor", "--store")).code == 0
    run_git(next(cli.home.glob("stores/*/store.git")), "fsck", "--full")


async def test_repair_needs_store(cli: Cli) -> None:
    refused = await cli("doctor", "--repair")
    assert refused.code == 2
    assert "baton doctor --store --repair" in refused.err


@pytest.mark.server
async def test_doctor_asks_the_state_remote_and_hides_its_password(cli: Cli, tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--quiet", "--bare", "state.git")
    cli.env["BATON_STATE_REMOTE"] = str(tmp_path / "state.git")
    checks = {check["name"]: check for check in json.loads((await cli("doctor", "--json")).out)["checks"]}
    assert checks["remote"]["status"] == "ok"
    for setting in ("http://ada:s3cret-canary@127.0.0.1:9/state.git", "http://s3cret-canary@127.0.0.1:9/state.git"):
        cli.env["BATON_STATE_REMOTE"] = setting
        said = await cli("doctor", "--json")
        assert said.code == 1
        checks = {check["name"]: check for check in json.loads(said.out)["checks"]}
        assert "cannot be reached" in checks["remote"]["detail"]
        assert "s3cret-canary" not in said.out + said.err
