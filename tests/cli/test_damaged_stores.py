"""One damaged store or record beside a good one: every command tells of it, does the rest, and `--repair` mends it."""

import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from baton import identifiers
from baton.records.run import RunDocument, RunRequest, RunStatus, TaskDocument
from tests.cli.conftest import Cli, Result
from tests.faults.scene import new_namespace
from tests.workspaces.conftest import AT, Project, apart, run_files, run_git
from workers.temporal_service import TemporalService
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.store.store import Store

pytestmark = pytest.mark.server

GOOD, BAD, OLD = "shop-good", "till-bad", "shop-old"
DEEP = b"[" * 100_000
HUGE = b'{"run": "' + b"x" * 20_000_000 + b'"'


@dataclass
class Home:
    """A home with a good store and one that a test damages, and the command that reads it."""

    cli: Cli
    good: Store
    bad: Store

    async def damage_record(self, name: str, data: bytes, run: str = BAD) -> None:
        """Let a file of the bad store's run be this, in a commit on top, as a hand or a disk would have it."""
        ref = identifiers.run_ref(run)
        head = await self.bad.read_head(ref)
        await self.bad.commit_files(ref, expected=head, files={name: data}, message="x", at=AT)


async def make(cli: Cli, place: Path, name: str, *runs: str) -> Store:
    project = Project(place / name)
    first = project.commit({"README.md": b"x\n"}, "first")
    store = await Store.open(cli.home, str(project.path))
    await store.fetch_base(None)
    for run in runs:
        document = RunDocument(
            run=run, status=RunStatus.DONE, repo=store.repo, base_commit=first, task=f"task of {run}"
        )
        document.tasks = [TaskDocument(id="t1", title="x", role="backend")]
        document.ended_at = datetime.now(UTC) - timedelta(days=50 if run == OLD else 2)
        files = {
            **run_files(run, store.repo),
            "decisions.json": b"[]",
            "state.json": document.model_dump_json().encode(),
        }
        files["request.json"] = json.dumps({**json.loads(files["request.json"]), "base_commit": first}).encode()
        await store.commit_files(identifiers.run_ref(run), expected=None, files=files, message="r", at=AT)
        await store.move_ref(identifiers.integration_ref(run), first, expected=None)
        began = await Checkpoints(store).begin_lane(Lane(run, "t1"), first, at=AT)
        turn = {"transcript/1-backend/00001-user.json": b'{"turn": 1, "message": {"role": "user", "content": "hi"}}'}
        await Checkpoints(store).record_checkpoint(
            Lane(run, "t1"), expected=began, files=turn, workspace=None, summary="1", at=AT
        )
    return store


@dataclass
class Pristine:
    """Two stores as they were before any test, and a namespace whose server knows two of their three runs."""

    template: Path
    place: Path
    cli: Cli
    repos: tuple[str, str]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pristine(service: TemporalService, tmp_path_factory: pytest.TempPathFactory) -> Pristine:
    """Make the stores and start the runs once: server and namespace serve all tests of a process."""
    top = tmp_path_factory.mktemp("damaged")
    template, place = top / "template", top / "place"
    client = await new_namespace(service.address)
    cli = Cli(place / "home", TEMPORAL_ADDRESS=service.address, TEMPORAL_NAMESPACE=client.namespace)
    good, bad = await make(cli, place, "shop", GOOD, OLD), await make(cli, place, "till", BAD)
    for run, store in ((GOOD, good), (BAD, bad)):
        request = RunRequest(task="x", repo=store.repo)
        memo = {"repo": store.repo, "task": f"task of {run}"}
        await client.start_workflow("Pipeline", request, id=run, task_queue="nowhere", memo=memo)
        await client.get_workflow_handle(run).terminate()
    place.rename(template)
    return Pristine(template, place, cli, (good.repo, bad.repo))


@pytest_asyncio.fixture(loop_scope="session")
async def home(pristine: Pristine) -> AsyncIterator[Home]:
    """Two stores, three runs that have ended and that a server has forgotten or knows, and that server."""
    shutil.copytree(pristine.template, pristine.place, symlinks=True)
    good, bad = [await Store.open(pristine.cli.home, repo) for repo in pristine.repos]
    yield Home(pristine.cli, good, bad)
    await pristine.cli.end()
    shutil.rmtree(pristine.place)


def lose(*names: str) -> Callable[[Store], None]:
    def fault(store: Store) -> None:
        for name in names:
            path = store.root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return fault


def fill(name: str, data: bytes) -> Callable[[Store], None]:
    def fault(store: Store) -> None:
        path = store.root / name
        if path.is_dir():
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return fault


def replace_by_file(store: Store) -> None:
    store.root.rename(store.root.parent.parent / "aside")
    store.root.write_text("x")


def replace_by_loop(store: Store) -> None:
    """As one that cannot be read at all, whoever the user is: the tests may be root's."""
    store.root.rename(store.root.parent.parent / "aside")
    store.root.symlink_to(store.root)


def make_directory(name: str) -> Callable[[Store], None]:
    def fault(store: Store) -> None:
        (store.root / name).unlink()
        (store.root / name).mkdir()

    return fault


RUN_HEAD = f"store.git/refs/baton/{BAD}/run/head"
FRAMES: dict[str, tuple[Callable[[Store], None], bool]] = {
    "no HEAD": (lose("store.git/HEAD"), True),
    "no HEAD in the source": (lose("source.git/HEAD"), True),
    "HEAD is empty": (fill("store.git/HEAD", b""), True),
    "HEAD is garbage": (fill("store.git/HEAD", b"\xff\0garbage"), True),
    "HEAD is a directory": (make_directory("store.git/HEAD"), True),
    "no configuration": (lose("store.git/config", "source.git/config"), True),
    "the configuration is garbage": (fill("source.git/config", b"[core\n\xff"), True),
    "no alternates": (lose("store.git/objects/info/alternates"), True),
    "repository is empty": (fill("repository", b""), True),
    "repository is garbage": (fill("repository", b"\xff\xfe\0"), True),
    "repository is another's": (fill("repository", b"/somewhere/else\n"), True),
    "repository is lost": (lose("repository"), True),
    "repository is a directory": (make_directory("repository"), True),
    "repository and HEAD are lost": (lose("repository", "store.git/HEAD", "ready"), True),
    "packed-refs is garbage": (fill("store.git/packed-refs", b"\xff\xfe garbage\n"), True),
    "a broken ref of a run": (fill(RUN_HEAD, b"garbage\n"), True),
    "an empty ref of a run": (fill(RUN_HEAD, b""), True),
    "refs is a file": (fill("store.git/refs", b""), False),
    "store.git is a file": (fill("store.git", b""), False),
    "store.git is gone": (lose("store.git"), False),
    "the store is a file": (replace_by_file, False),
    "the store cannot be read": (replace_by_loop, False),
}


FEW = ("list", "log", "gc", "doctor")
"""The commands that walk over all stores; the others look for one run, each in the same way."""


async def read_everything(home: Home, *, few: bool = False) -> dict[str, Result]:
    """Every command that walks over stores, and does not change them."""
    commands = {
        "list": ("list", "--json"),
        "show": ("show", GOOD, "--json"),
        "state": ("show", GOOD, "--state"),
        "log": ("log", GOOD),
        "diff": ("diff", GOOD, "--json"),
        "worker status": ("worker", "status", "--json"),
        "watch": ("watch", GOOD, "--json"),
        "decide": ("decide", GOOD, "D1", "retry"),
        "gc": ("gc", "--dry-run", "--json"),
        "doctor": ("doctor", "--store", "--json"),
        "fork": ("fork", GOOD, "--detach", "--json"),
    }
    return {name: await home.cli(*words) for name, words in commands.items() if not few or name in FEW}


WHOLE = ("no HEAD", "repository is garbage", "a broken ref of a run", "store.git is gone", "the store is a file")
"""The faults that every command is tried with."""


@pytest.mark.parametrize("fault", FRAMES)
async def test_one_damaged_store_is_a_finding_beside_the_others(home: Home, fault: str) -> None:
    break_it, mendable = FRAMES[fault]
    break_it(home.bad)
    few = fault not in WHOLE
    said = await read_everything(home, few=few)
    for name, result in said.items():
        assert "Traceback" not in result.err, (name, result.err)
    rows = {row["run"]: row for row in json.loads(said["list"].out)}
    assert said["list"].code == 0
    assert set(rows) == {GOOD, BAD}
    assert rows[GOOD]["unreadable"] is None
    assert rows[GOOD]["base_commit"]
    assert home.bad.root.name in said["list"].err or rows[BAD]["unreadable"], said["list"].err
    assert said["log"].code == 0
    if not few:
        assert [said[name].code for name in ("show", "state", "diff", "watch")] == [0] * 4, said
        assert (said["decide"].code, "has ended" in said["decide"].err) == (2, True)
        # It has no plan to fork from, which can be known only where its store could be read.
        assert (said["fork"].code, "plan" in said["fork"].err) == (2, True), said["fork"].err
    assert "hi" in said["log"].out
    collected = json.loads(said["gc"].out)
    assert [one["run"] for one in collected["removed"]] == [OLD]
    assert [one["path"] for one in collected["damaged"]] == [str(home.bad.root)]
    assert said["gc"].code == 1
    checked = {Path(store["path"]).name: store for store in json.loads(said["doctor"].out)["stores"]}
    assert said["doctor"].code == 1
    assert checked[home.good.root.name]["ok"]
    found = checked[home.bad.root.name]
    assert not found["ok"]
    assert all(finding["what"] and finding["advice"] for finding in found["findings"])

    of_it = await home.cli("log", BAD)
    assert "Traceback" not in of_it.err
    assert of_it.code in (0, 1), of_it.err
    assert of_it.code == 0 or "doctor --store" in of_it.err or str(home.bad.root) in of_it.err

    mended = await home.cli("doctor", "--store", "--repair", "--json")
    (store,) = [one for one in json.loads(mended.out)["stores"] if Path(one["path"]) == home.bad.root]
    assert store["ok"] == mendable, store
    if not mendable:
        assert all(finding["what"] and finding["advice"] for finding in store["findings"])
        return
    assert mended.code == 0
    assert store["mended"]
    assert (await home.cli("doctor", "--store")).code == 0
    again = await home.cli("log", BAD)
    assert (again.code, "hi" in again.out) == (0, True), again.err
    for repository in ("source.git", "store.git"):
        run_git(home.bad.root / repository, "fsck", "--full")


RECORDS = {
    "no JSON": b"{ no json",
    "empty": b"",
    "not UTF-8": b'{"run": "\xff\xfe"}',
    "a list": b"[]",
    "null": b"null",
    "wrong types": b'{"run": 5, "status": [], "repo": {}}',
    "without the base commit": b'{"task": "x", "repo": "/srv/shop"}',
    "too deep": DEEP,
    "huge and cut": HUGE,
}


@pytest.mark.parametrize("data", RECORDS)
@pytest.mark.parametrize("name", ["state.json", "decisions.json", "request.json"])
async def test_a_damaged_record_is_a_finding_and_comes_back(home: Home, name: str, data: str) -> None:
    if (name, data) == ("decisions.json", "a list"):
        pytest.skip("that is what it is when nothing was decided")
    await home.damage_record(name, RECORDS[data])
    few = data not in ("wrong types", "without the base commit", "too deep")
    said = await read_everything(home, few=few)
    for command, result in said.items():
        assert "Traceback" not in result.err, (command, result.err)
    assert said["list"].code == 0
    rows = {row["run"]: row for row in json.loads(said["list"].out)}
    assert rows[GOOD]["unreadable"] is None
    if name == "state.json":
        assert "state.json" in rows[BAD]["unreadable"]
        assert BAD in said["list"].err
    assert said["gc"].code == 0
    (found,) = [one for one in json.loads(said["doctor"].out)["stores"] if not one["ok"]]
    assert [finding["kind"] for finding in found["findings"]] == ["record"]
    of_it = (("log", BAD), ("diff", BAD), ("show", BAD), ("show", BAD, "--state"), ("fork", BAD, "--detach"))
    for words in of_it[: 1 if few else None]:
        result = await home.cli(*words)
        assert "Traceback" not in result.err, (words, result.err)
        if words[0] in ("log", "diff"):
            assert result.code == 0, (words, result.err)
    lost = await home.bad.read_head(identifiers.run_ref(BAD))

    mended = await home.cli("doctor", "--store", "--repair", "--json")
    assert mended.code == 0, mended.out
    assert (await home.cli("show", BAD, "--state")).code == 0
    after = await Store.open(home.cli.home, home.bad.repo)
    head = await after.read_head(identifiers.run_ref(BAD))
    assert lost in await after.list_parents(str(head))  # nothing is deleted: what was damaged is one commit before


async def test_a_record_that_was_never_whole_is_said_plainly(home: Home) -> None:
    ref = identifiers.run_ref("till-never")
    await home.bad.commit_files(ref, expected=None, files={"state.json": b"{"}, message="x", at=AT)
    mended = await home.cli("doctor", "--store", "--repair")
    assert mended.code == 1
    assert "No version of it in the run's history is whole." in mended.out


async def test_a_run_that_is_nowhere_may_be_in_a_store_that_cannot_be_read(home: Home) -> None:
    assert (await home.cli("log", "shop-unknown")).code == 2
    lose("store.git/HEAD")(home.bad)
    unknown = await home.cli("log", "shop-unknown")
    assert unknown.code == 1
    assert "it may be in one that cannot" in unknown.err
    there = await home.cli("log", BAD)
    assert there.code == 1
    assert f"The run {BAD} cannot be read. The store {home.bad.root} cannot be used" in there.err


async def test_a_listing_opens_each_store_once_and_only_for_what_it_shows(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interfaces.cli.runs.stored_run import OpenStores

    opened: list[str] = []
    real = Store.open

    async def counting(root: Path, repo: str) -> Store:
        opened.append(repo)
        return await real(root, repo)

    monkeypatch.setattr(Store, "open", counting)
    shelf = OpenStores(home.cli.home)
    for _ in range(3):
        for run in (GOOD, OLD):
            assert await shelf.read_document(home.good.repo, run) is not None
    assert opened == [home.good.repo]
    assert await shelf.read_document("/not/here", GOOD) is None
    assert len(opened) == 1
    waiting = await home.cli("list", "--status", "waiting", "--json")
    assert (waiting.code, json.loads(waiting.out)) == (0, [])


async def test_stores_is_a_file_or_not_to_be_read(cli: Cli) -> None:
    cli.home.mkdir()
    (cli.home / "stores").write_text("")
    checked = await cli("doctor", "--store", "--json")
    assert checked.code == 1
    (store,) = json.loads(checked.out)["stores"]
    assert store["findings"][0]["what"].startswith("stores cannot be read")
    for words in (("log", "a-run"), ("gc",)):
        result = await cli(*words)
        assert "Traceback" not in result.err
        assert result.code == 1, (words, result.err)
    assert os.path.exists(cli.home / "stores")


async def test_a_run_in_a_damaged_store_says_what_to_do_and_goes_on_once_it_is_mended(
    scripted: Cli, repository: Path
) -> None:
    store = await Store.open(scripted.home, str(repository))
    (store.path / "HEAD").unlink()
    asked = await scripted("run", "Refuse orders without a quantity", "--repo", str(repository), "--json")
    assert "Traceback" not in asked.err
    document = json.loads(asked.out)
    assert (asked.code, document["cost_usd"]) == (1, 0.0)
    assert "`baton doctor --store --repair` repairs it." in document["errors"][-1]["error"]
    assert (await scripted("doctor", "--store", "--repair")).code == 0
    again = await scripted("run", "Refuse orders without a quantity", "--repo", str(repository), "--json")
    assert json.loads(again.out)["base_commit"], again.err


@pytest.mark.parametrize("lost", ["state.json", "commit", "transcript"])
async def test_a_lost_object_is_a_finding_and_ends_no_command(home: Home, lost: str) -> None:
    ref = identifiers.task_ref(BAD, "t1") if lost == "transcript" else identifiers.run_ref(BAD)
    oid = str(await home.bad.read_head(ref))
    if lost != "commit":
        path = "transcript/1-backend/00001-user.json" if lost == "transcript" else lost
        entry = home.bad.objects.find_entry(home.bad.objects.tree_of(oid), path)
        assert entry is not None
        oid = entry.oid
    await apart(home.bad.path)
    (home.bad.path / "objects" / oid[:2] / oid[2:]).unlink()
    said = await read_everything(home)
    for command, result in said.items():
        assert "Traceback" not in result.err, (command, result.err)
    assert [said[name].code for name in ("list", "show", "log", "diff", "watch")] == [0] * 5, said
    assert OLD in said["gc"].out
    (found,) = [one for one in json.loads(said["doctor"].out)["stores"] if not one["ok"]]
    assert {finding["kind"] for finding in found["findings"]} >= {"missing"}
    for words in (("log", BAD), ("show", BAD, "--state"), ("diff", BAD)):
        result = await home.cli(*words)
        assert "Traceback" not in result.err, (words, result.err)
    mended = await home.cli("doctor", "--store", "--repair", "--json")
    (found,) = [one for one in json.loads(mended.out)["stores"] if not one["ok"]]
    assert all(finding["advice"] for finding in found["findings"])
