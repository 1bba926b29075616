"""`baton gc`: ended runs give their room back, nothing of any other is lost; and what is said when room is short."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from baton import identifiers
from baton.records.run import RunDocument, RunRequest, RunStatus
from baton.settings.core import read_settings
from system.file_lock import hold_lock
from tests.cli.conftest import Cli
from tests.workspaces.conftest import AT, Project, run_files
from workers.temporal_service import connect_service
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.store.store import Store

DAY = timedelta(days=1)


async def make_run(store: Store, run: str, status: RunStatus, ended: timedelta | None, size: int = 50_000) -> str:
    """A run with one checkpoint that holds `size` bytes of its own; gives the checkpoint."""
    base = await store.fetch_base(None)
    when = datetime.now(UTC) - ended if ended is not None else None
    document = RunDocument(run=run, status=status, repo=store.repo, ended_at=when)
    files = {**run_files(run, store.repo), "state.json": document.model_dump_json().encode()}
    await store.commit_files(identifiers.run_ref(run), expected=None, files=files, message="r", at=AT)
    await store.move_ref(identifiers.integration_ref(run), base.commit, expected=None)
    lane = Lane(identifiers.run_key(run), "t1")
    began = await Checkpoints(store).begin_lane(lane, base.commit, at=AT)
    # The same in all runs, and of this run alone: what is shared must stay.
    files = {"transcript/1-backend/00001-user.json": b'{"turn": 1}', "gates/1.log": os.urandom(size)}
    return await Checkpoints(store).record_checkpoint(
        lane, expected=began, files=files, workspace=None, summary="1", at=AT
    )


def age(home: Path, by: timedelta = 3 * DAY) -> None:
    """Let all objects look as old as those of old runs are."""
    for path in (*home.glob("stores/*/*.git/objects/??/*"), *home.glob("stores/*/*.git/objects/pack/*")):
        os.utime(path, (time.time() - by.total_seconds(),) * 2)


@pytest.mark.server
async def test_ended_runs_go_and_nothing_else_does(cli: Cli, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop")
    project.commit({"README.md": b"shop\n"}, "first")
    store = await Store.open(cli.home, str(project.path))
    heads = {
        run: await make_run(store, run, status, ended)
        for run, status, ended in (
            ("old", RunStatus.DONE, 40 * DAY),
            ("held", RunStatus.FAILED, 50 * DAY),
            ("new", RunStatus.DONE, 2 * DAY),
            ("today", RunStatus.DONE, timedelta(hours=1)),
            ("waiting", RunStatus.WAITING, None),
            # Its state.json says that it is over; the server knows better.
            ("open", RunStatus.DONE, 60 * DAY),
        )
    }
    age(cli.home)
    (cli.home / "workspaces/old/t1").mkdir(parents=True)
    settings = read_settings(home=cli.home)
    async with (
        connect_service(settings, embedded_only=True) as service,
        hold_lock(cli.home / "workspaces/held/t1/lock"),
    ):
        request = RunRequest(task="x", repo=store.repo)
        await service.client.start_workflow("Pipeline", request, id="open", task_queue="nowhere")

        dry = json.loads((await cli("gc", "--dry-run", "--json")).out)
        assert [one["run"] for one in dry["removed"]] == ["held", "old"]
        assert all(50_000 < one["bytes"] < 60_000 for one in dry["removed"])
        assert dry["kept"] == {"ended": ["new", "today"], "open": ["open", "waiting"], "in_use": []}
        assert store.objects.has_object(heads["old"])

        assert json.loads((await cli("store", "gc", "--dry-run", "--json")).out) == dry
        said = await cli("gc")
        assert said.code == 0, said.err
        assert "held  is left alone: a worker works in one of its workspaces" in said.out
        assert "1 run removed, about 0." in said.err
        after = await Store.open(cli.home, store.repo)
        assert [run for run, head in heads.items() if not after.objects.has_object(head)] == ["old"]
        assert after.list_refs("old") == [identifiers.run_ref("old")]
        assert not (cli.home / "workspaces/old").exists()

        # What was packed just now is dropped by the next call only, some hours later.
        age(cli.home)
        # By size the oldest goes first, and never what ended within a day.
        cli.env["BATON_DISK_WARN_GB"] = "1000000"
        # This server knows nothing of the run: the store does.
        shown = await cli("show", "today")
        assert "The disk is nearly full: " in shown.err
        assert shown.out.split()[:4] == ["run", "today", "status", "done"]
        sized = json.loads((await cli("gc", "--keep", "60KB", "--json", "--forget")).out)
        assert [one["run"] for one in sized["removed"]] == ["old", "new"]
        assert sized["kept"]["in_use"] == ["held"]
        assert sized["freed_bytes"] > 50_000
    last = await Store.open(cli.home, store.repo)
    assert last.list_refs("old") == last.list_refs("new") == []
    whole = await cli("doctor", "--store", "--json")
    (report,) = json.loads(whole.out)["stores"]
    assert [finding for finding in report["findings"] if finding["kind"] != "leftover"] == []
    for run in ("held", "today", "waiting", "open"):
        assert await last.read_file(heads[run], "transcript/1-backend/00001-user.json") == b'{"turn": 1}'


@pytest.mark.server
async def test_runs_of_a_schedule_go_by_the_id_that_temporal_gave_them(cli: Cli, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop")
    project.commit({"README.md": b"shop\n"}, "first")
    store = await Store.open(cli.home, str(project.path))
    old, held, running = (f"nightly-2026-10-0{day}T02:00:00Z" for day in (1, 2, 3))
    heads = {run: await make_run(store, run, RunStatus.DONE, 40 * DAY) for run in (old, held, running)}
    # A run of the name to which the schedule adds the time.
    heads["nightly"] = await make_run(store, "nightly", RunStatus.DONE, 2 * DAY)
    age(cli.home)
    work = {run: cli.home / "workspaces" / identifiers.run_key(run) / "t1" for run in heads}
    for path in work.values():
        path.mkdir(parents=True)
    settings = read_settings(home=cli.home)
    async with connect_service(settings, embedded_only=True) as service, hold_lock(work[held] / "lock"):
        request = RunRequest(task="x", repo=store.repo)
        await service.client.start_workflow("Pipeline", request, id=running, task_queue="nowhere")
        dry = json.loads((await cli("gc", "--dry-run", "--json")).out)
        assert [one["run"] for one in dry["removed"]] == [old, held]
        assert dry["kept"] == {"ended": ["nightly"], "open": [running], "in_use": []}
        gone = json.loads((await cli("gc", "--json", "--forget")).out)
        assert [one["run"] for one in gone["removed"]] == [old]
        assert gone["kept"] == {"ended": ["nightly"], "open": [running], "in_use": [held]}
        assert held in (await cli("gc")).out
    after = await Store.open(cli.home, store.repo)
    assert after.list_refs(identifiers.run_key(old)) == []
    assert [run for run, head in heads.items() if not after.objects.has_object(head)] == [old]
    assert [run for run, path in work.items() if not path.parent.exists()] == [old]
    assert [path.name for path in after.root.rglob(f"*{identifiers.run_key(old)}*")] == []


async def test_what_does_not_fit_is_refused(cli: Cli) -> None:
    for option, value in (
        ("--older-than", "soon"),
        ("--older-than", "30"),
        ("--older-than", "23h"),
        ("--keep", "much"),
    ):
        refused = await cli("gc", option, value)
        assert (refused.code, refused.out) == (2, "")
        assert f"{option} '{value}' is invalid" in refused.err


@pytest.mark.server
async def test_no_run_begins_without_room(scripted: Cli, repository: Path) -> None:
    scripted.env |= {"BATON_DISK_FLOOR_GB": "1000000", "BATON_DISK_WARN_GB": "2000000"}
    refused = await scripted("run", "Add pagination", "--repo", str(repository))
    assert refused.code == 1
    assert "No run is begun: " in refused.err
    assert "(BATON_DISK_FLOOR_GB)" in refused.err
    checked = await scripted("doctor")
    assert checked.code == 1
    assert "below which no run begins: free some space" in checked.out
