"""Two hosts and a state remote: what one did the other one has, byte for byte, and only one of them may write."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from baton import identifiers
from baton.errors import ConfigurationError, StaleAttempt, StateRemoteAway, WorkElsewhere
from tests.workspaces.conftest import AT, Project, contents, run_git
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.workspace import Workspace
from workspaces.delivery.merge import project_commit
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.state_remote import StateRemote
from workspaces.store.store import Store

LANE = Lane("run-1", "task-1")
RUN_REF = identifiers.run_ref("run-1")
INTEGRATION = identifiers.integration_ref("run-1")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The bare repository that both hosts write to."""
    run_git(tmp_path, "init", "--quiet", "--bare", "state.git")
    return tmp_path / "state.git"


@dataclass
class Host:
    """One host's store, as its activities use it."""

    store: Store

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.store)

    async def begin(self) -> str:
        """What `prepare_run` does: the run's files, the base, the first checkpoint."""
        await self.store.catch_up("run-1", LANE.ref)
        base = await self.store.fetch_base(None)
        await self.run_files({"request.json": b"{}"})
        await self.store.move_ref(INTEGRATION, base.commit, expected=None)
        return await self.checkpoints.begin_lane(LANE, base.commit, at=AT)

    async def run_files(self, files: dict[str, bytes]) -> str:
        head = await self.store.read_head(RUN_REF)
        return await self.store.commit_files(RUN_REF, expected=head, files=files, message="files", at=AT)

    async def turn(self, expected: str, name: str) -> str:
        return await self.checkpoints.record_checkpoint(
            LANE,
            expected=expected,
            files={f"transcript/{name}.json": name.encode()},
            workspace=None,
            summary=name,
            at=AT,
        )

    async def claim(self) -> str:
        head = await self.checkpoints.claim_lane(LANE)
        assert head is not None
        return head


async def host(tmp_path: Path, name: str, project: Project, remote: str | Path | None) -> Host:
    found = StateRemote.parse(str(remote), name) if remote else None
    return Host(await Store.open(tmp_path / name, str(project.path), found))


@pytest.fixture
async def first(tmp_path: Path, project: Project, state: Path) -> Host:
    return await host(tmp_path, "first", project, state)


@pytest.fixture
async def second(tmp_path: Path, project: Project, state: Path) -> Host:
    return await host(tmp_path, "second", project, state)


def there(state: Path) -> dict[str, str]:
    """The refs in the state remote, without the project trees, by the names they have in a store."""
    lines = run_git(state, "for-each-ref", "--format=%(objectname) %(refname)").splitlines()
    pairs = [line.split(" ") for line in lines]
    named = {"refs/baton/" + name.split("/", 3)[3]: oid for oid, name in pairs}
    return {name: oid for name, oid in named.items() if not name.startswith("refs/baton/trees/")}


async def test_every_move_is_in_the_remote_before_it_is_done(first: Host, state: Path) -> None:
    began = await first.begin()
    assert there(state)[LANE.ref] == began
    assert there(state)[INTEGRATION] == first.checkpoints.project_commit(began)
    turned = await first.turn(began, "00001-user")
    files = await first.run_files({"state.json": b"1"})
    assert there(state) == {
        LANE.ref: turned,
        RUN_REF: files,
        INTEGRATION: await first.store.read_head(INTEGRATION),
    }
    run_git(state, "fsck", "--full", "--strict")


async def test_a_second_host_has_all_of_it_byte_for_byte(
    tmp_path: Path, first: Host, second: Host, project: Project, machine_sandbox: Sandbox
) -> None:
    project.commit({"crlf.txt": b"a\r\nb\r\n", ".gitattributes": b"* text=auto\n", "bin": bytes(range(256))}, "more")
    (project.path / "src/app.py").chmod(0o755)
    project.commit({"src/app.py": b"print(2)\n"}, "mode")
    began = await first.begin()
    workspace = await Workspace.open_at(first.store, LANE, began, sandbox=machine_sandbox)
    workspace.mark_dirty()
    (workspace.path / "empty").mkdir()
    (workspace.path / "private").write_bytes(b"x")
    (workspace.path / "private").chmod(0o600)
    (workspace.path / "link").symlink_to("src/app.py")
    (workspace.path / "README.md").unlink()
    snapshot = await workspace.take_snapshot(None)
    turned = await first.checkpoints.record_checkpoint(
        LANE, expected=began, files={"transcript/t.json": b"\xff\x00"}, workspace=snapshot, summary="t", at=AT
    )
    workspace.mark_clean(turned)
    candidate = await project_commit(
        first.store, LANE, turned, parent=first.checkpoints.project_commit(turned), message="work", at=AT
    )
    await first.store.move_ref(identifiers.candidate_ref("run-1", "task-1", candidate), candidate, expected=None)
    await first.run_files({"state.json": b"1"})
    turned = await first.turn(turned, "after the gate")

    head = await second.claim()
    assert second.checkpoints.stands_at(head, turned)
    other = await Workspace.open_at(second.store, LANE, turned, sandbox=machine_sandbox)
    assert contents(other.path) == contents(workspace.path)
    assert await second.store.read_file(head, "transcript/t.json") == b"\xff\x00"
    assert await second.store.read_file(await second.store.read_head(RUN_REF) or "", "state.json") == b"1"
    assert await second.store.read_head(INTEGRATION) == await first.store.read_head(INTEGRATION)
    second.store.require_commits("run-1", candidate, turned)
    assert run_git(other.path, "log", "--format=%s") == run_git(workspace.path, "log", "--format=%s")
    for repository in (second.store.path, second.store.source_path):
        run_git(repository, "fsck", "--full")


async def test_a_host_that_was_taken_over_from_can_write_no_more(first: Host, second: Host, state: Path) -> None:
    began = await first.begin()
    head = await second.claim()
    assert head != began  # a commit of its own: the first host's push would be accepted otherwise
    assert second.checkpoints.stands_at(head, began)
    with pytest.raises(StaleAttempt, match="another host"):
        await first.turn(began, "zombie")
    assert there(state)[LANE.ref] == head
    turned = await second.turn(head, "00001-user")
    assert there(state)[LANE.ref] == turned
    # The first host comes back to work on it: it goes on from what the second one did, not from what it had.
    back = await first.claim()
    assert first.checkpoints.stands_at(back, turned)
    assert await first.store.list_paths(back, "transcript") == ["transcript/00001-user.json"]
    with pytest.raises(StaleAttempt):
        await second.turn(turned, "zombie, too")


async def test_nothing_is_taken_over_by_the_host_that_wrote_last(first: Host) -> None:
    began = await first.begin()
    assert await first.claim() == began
    turned = await first.turn(began, "00001-user")
    assert await first.claim() == turned


async def test_of_hosts_that_take_over_at_once_one_can_write(
    tmp_path: Path, project: Project, state: Path, first: Host
) -> None:
    began = await first.begin()
    others = [await host(tmp_path, f"other{number}", project, state) for number in range(4)]
    heads = await asyncio.gather(*(other.claim() for other in others))
    done = await asyncio.gather(
        *(other.turn(head, f"by {number}") for number, (other, head) in enumerate(zip(others, heads, strict=True))),
        return_exceptions=True,
    )
    written = [result for result in done if isinstance(result, str)]
    assert len(written) == 1
    assert all(isinstance(result, StaleAttempt) for result in done if not isinstance(result, str))
    assert there(state)[LANE.ref] == written[0]
    assert written[0] not in (began, *heads)


async def test_shared_refs_lose_nothing_to_writers_on_two_hosts(first: Host, second: Host, state: Path) -> None:
    await first.begin()
    await second.store.catch_up("run-1")

    async def write(one: Host, name: str) -> None:
        for _ in range(50):
            try:
                await one.run_files({name: b"x"})
            except StaleAttempt:
                continue
            return
        raise AssertionError(f"{name} was never written")

    await asyncio.gather(*(write((first, second)[number % 2], f"f{number}") for number in range(8)))
    head = there(state)[RUN_REF]
    await second.store.catch_up("run-1")
    assert await second.store.read_head(RUN_REF) == head
    assert await second.store.list_paths(head) == ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "request.json"]


async def test_a_remote_that_is_away_loses_nothing(first: Host, state: Path) -> None:
    began = await first.begin()
    away = state.with_name("away.git")
    state.rename(away)
    with pytest.raises(StateRemoteAway, match="BATON_STATE_REMOTE") as caught:
        await first.turn(began, "00001-user")
    assert "\n" not in str(caught.value)
    with pytest.raises(StateRemoteAway):
        await first.claim()
    away.rename(state)
    # What was paid for was kept here, and is copied when the step is tried again.
    head = await first.claim()
    assert there(state)[LANE.ref] == head
    assert await first.store.read_file(head, "transcript/00001-user.json") == b"00001-user"


async def test_what_a_remote_missed_is_not_pushed_over_a_successor(first: Host, second: Host, state: Path) -> None:
    began = await first.begin()
    state.rename(state.with_name("away.git"))
    with pytest.raises(StateRemoteAway):
        await first.turn(began, "never arrived")
    state.with_name("away.git").rename(state)
    turned = await second.turn(await second.claim(), "by the second")
    head = await first.claim()
    assert first.checkpoints.stands_at(head, turned)
    assert await first.store.list_paths(head, "transcript") == ["transcript/by the second.json"]


async def test_a_push_whose_answer_was_lost_counts(first: Host, state: Path) -> None:
    began = await first.begin()
    turned = await first.turn(began, "00001-user")
    # As after a crash between the push and the note of it.
    (first.store.root / "pushed" / LANE.ref.removeprefix("refs/baton/")).write_text(f"{began}\n")
    head = await first.claim()
    assert first.checkpoints.stands_at(head, turned)
    assert there(state)[LANE.ref] == head


async def test_a_remote_that_is_set_later_or_emptied_gets_everything(
    tmp_path: Path, project: Project, state: Path, second: Host
) -> None:
    alone = await host(tmp_path, "first", project, None)
    began = await alone.begin()
    turned = await alone.turn(began, "00001-user")
    first = await host(tmp_path, "first", project, state)
    assert await first.claim() == turned
    assert set(there(state)) == {LANE.ref, RUN_REF, INTEGRATION}
    for name in run_git(state, "for-each-ref", "--format=%(refname)").splitlines():
        run_git(state, "update-ref", "-d", name)
    turned = await first.turn(turned, "00002-user")
    assert await first.claim() == turned
    assert second.checkpoints.stands_at(await second.claim(), turned)
    assert await second.store.read_head(INTEGRATION) == await first.store.read_head(INTEGRATION)


async def test_without_a_remote_the_error_says_what_to_do(tmp_path: Path, project: Project, first: Host) -> None:
    began = await first.begin()
    alone = await host(tmp_path, "alone", project, None)
    with pytest.raises(WorkElsewhere, match="set BATON_STATE_REMOTE on all hosts"):
        alone.store.require_commits("run-1", began)


async def test_what_the_remote_knows_is_not_sent_again(
    tmp_path: Path, project: Project, first: Host, state: Path
) -> None:
    project.commit({f"src/file{number}.py": b"%d\n" % number for number in range(300)}, "many")
    began = await first.begin()

    def objects() -> int:
        lines = run_git(state, "count-objects", "-v").splitlines()
        numbers = dict(line.split(": ") for line in lines)
        return int(numbers["count"]) + int(numbers["in-pack"])

    before = objects()
    await first.turn(began, "00001-user")
    assert objects() - before == 4  # the commit, its tree, the directory `transcript` and the file in it
    before = objects()
    await first.checkpoints.begin_lane(Lane("run-1", "task-2"), first.checkpoints.project_commit(began), at=AT)
    assert objects() - before <= 4


async def test_repositories_and_runs_share_a_remote_and_do_not_meet(
    tmp_path: Path, project: Project, state: Path, first: Host
) -> None:
    began = await first.begin()
    stranger = Project(tmp_path / "elsewhere" / "project")
    stranger.commit({"other": b"1"}, "other")
    other = await host(tmp_path, "second", stranger, state)
    assert await other.checkpoints.claim_lane(LANE) is None
    mine = await other.begin()
    assert mine != began
    assert await first.claim() == began
    run_git(state, "fsck", "--full")


async def test_a_shallow_target_is_refused_in_words(tmp_path: Path, project: Project, state: Path) -> None:
    project.commit({"a": b"1"}, "second")
    run_git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{project.path}", "shallow")
    shallow = Project.__new__(Project)
    shallow.path = tmp_path / "shallow"
    one = await host(tmp_path, "first", shallow, state)
    with pytest.raises(StateRemoteAway, match=r"receive\.shallowUpdate=true"):
        await one.begin()
    run_git(state, "config", "receive.shallowUpdate", "true")
    began = await one.begin()
    other = await host(tmp_path, "second", shallow, state)
    assert other.checkpoints.stands_at(await other.claim(), began)


@pytest.mark.parametrize("setting", ["relative/path", "ext::sh -c touch% canary", "-u/etc", "nonsense://x/y"])
def test_what_is_no_remote_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="BATON_STATE_REMOTE"):
        StateRemote.parse(setting)


async def test_the_target_itself_is_refused(tmp_path: Path, project: Project) -> None:
    for setting in (str(project.path), f"file://{project.path}/", f"{project.path}/.git"):
        with pytest.raises(ConfigurationError, match="publish the transcripts"):
            await host(tmp_path, "first", project, setting)


async def test_a_cancelled_push_comes_to_its_end(first: Host, state: Path) -> None:
    began = await first.begin()
    work = asyncio.create_task(first.turn(began, "00001-user"))
    while not list((first.store.root / "pushing").iterdir()) or await first.store.read_head(LANE.ref) == began:
        await asyncio.sleep(0.001)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not list(state.rglob("*.lock"))
    assert first.checkpoints.stands_at(await first.claim(), there(state)[LANE.ref])


async def test_a_lock_that_a_crash_left_in_the_remote_is_said(first: Host, state: Path) -> None:
    began = await first.begin()
    (lock,) = [path.with_name("head.lock") for path in state.rglob("task-1/head")]
    lock.touch()
    with pytest.raises(StateRemoteAway, match="a lock that a crash left"):
        await first.turn(began, "00001-user")
    lock.unlink()
    head = await first.claim()
    assert there(state)[LANE.ref] == head
    assert head != began
