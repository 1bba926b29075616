"""A second host takes over from one that is dead, or asleep, by way of the state remote."""

import collections
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pygit2
import pytest
from pygit2.enums import FileMode

from baton import identifiers
from baton.records.run import RunDocument, RunStatus
from standin.script.scenario import Fault, Scenario, ScriptedStep
from tests.conftest import assert_eventually
from tests.pipelines.conftest import Stage
from tests.support.git_over_http import PASSWORD, USER, serving
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, reviewed, scenario, session, task, tested, write
from tests.support.worker_process import WorkerProcess
from workflows.session import AgentSession
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.store.store import Store

LANE = "t1"


GATE = "touch src/started; until [ -e src/go ]; do sleep 0.05; done; rm src/started src/go; echo line >> src/log.txt"
"""A command that ends when the test says so: nothing here depends on how fast a process starts."""


ODD = (
    r"printf 'a\000b\377\r\n' > src/bytes; printf '#!/bin/sh\n' > src/tool; chmod 755 src/tool;"
    " printf key > src/private; chmod 600 src/private; mkdir src/empty; ln -s one.txt src/link"
)
"""Makes what a copy easily gets wrong: bytes that are no text, modes, an empty directory, a link."""

LOOK = "(stat -c '%A %n' src/bytes src/tool src/private src/empty; readlink src/link) > src/seen.txt"

RESULT = {
    "src/bytes": (FileMode.BLOB, b"a\0b\xff\r\n"),
    "src/link": (FileMode.LINK, b"one.txt"),
    "src/log.txt": (FileMode.BLOB, b"line\n"),
    "src/one.txt": (FileMode.BLOB, b"one\n"),
    "src/private": (FileMode.BLOB, b"key"),
    "src/seen.txt": (
        FileMode.BLOB,
        b"-rw-r--r-- src/bytes\n-rwxr-xr-x src/tool\n-rw------- src/private\ndrwxr-xr-x src/empty\none.txt\n",
    ),
    "src/tool": (FileMode.BLOB_EXECUTABLE, b"#!/bin/sh\n"),
    "src/two.txt": (FileMode.BLOB, b"two\n"),
}
"""What the run adds to the repository, wherever it was carried out. The last turn looks at what the first one made."""


def script(*, slow_answer: bool = False) -> Scenario:
    """A task with files, a shell command, and another look at the files."""
    faults: list[Fault | None] = [Fault(delay=1.0)] if slow_answer else []
    third = ScriptedStep(calls=[write("src/two.txt", "two\n"), bash(LOOK)], faults=faults)
    return scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/one.txt", "one\n"), bash(ODD)], [bash(GATE)], third, [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )


class Hosts:
    """Two workers with homes of their own, and one state remote."""

    def __init__(self, stage: Stage, address: str, place: Path, remote: str | None) -> None:
        self.state = place / "state.git"
        own = stage.settings.model_copy(update={"state_remote": remote})
        self.settings = [own.model_copy(update={"home": place / name}) for name in ("first", "second")]
        self.logs = [place / "first.log", place / "second.log"]
        self.first, self.second = (
            WorkerProcess(settings, address, log) for settings, log in zip(self.settings, self.logs, strict=True)
        )
        self.stage = stage

    async def store(self, number: int) -> Store:
        return await Store.open(self.settings[number].home, str(self.stage.repo))

    def gate(self, number: int) -> Path | None:
        """The workspace in which the command waits on a host."""
        return next((path.parent for path in self.settings[number].home.glob("workspaces/*/t1/work/src/started")), None)

    async def until_at_gate(self, number: int) -> Path:
        """Wait until the command waits on a host."""
        await assert_eventually(lambda: self.gate(number) is not None)
        found = self.gate(number)
        assert found is not None
        return found

    async def until_ready(self, number: int) -> None:
        """Wait until a worker has said that it is at work."""
        log = self.logs[number]
        await assert_eventually(lambda: log.exists() and "A worker is at work" in log.read_text())

    async def until_committed(self, words: str) -> None:
        """Wait until the state remote has a checkpoint of this name, and return at once."""
        key = identifiers.repo_key(str(self.stage.repo))
        ref = identifiers.task_ref(self.stage.run, LANE).replace("refs/baton", f"refs/baton/{key}")
        seen = ""

        def there() -> bool:
            nonlocal seen
            now = (self.state / ref).read_text() if (self.state / ref).exists() else ""
            changed, seen = now != seen, now
            return changed and words in git(self.state, "log", "-1", "--format=%s", now.strip())

        await assert_eventually(there, every=timedelta(milliseconds=2))

    async def history(self, number: int) -> list[str]:
        """What the checkpoints of the task are called on a host, the oldest first."""
        lane = Lane(self.stage.run, LANE)
        return [info.summary for info in await Checkpoints(await self.store(number)).list_history(lane)]


@pytest.fixture
def hosts(staged, service, tmp_path: Path):  # type: ignore[no-untyped-def]
    @asynccontextmanager
    async def open_hosts(chosen: Scenario, *, remote: str | None = "file") -> AsyncIterator[Hosts]:
        place = tmp_path / "hosts"
        place.mkdir()
        git(place, "init", "-q", "--bare", "state.git")
        git(place / "state.git", "config", "http.receivepack", "true")
        with ExitStack() as stack:
            where = str(place / "state.git") if remote else None
            if remote == "http":
                port = stack.enter_context(serving(place))
                where = f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/state.git"
            async with staged(chosen, worker=False) as stage:
                both = Hosts(stage, service.address, place, where)
                try:
                    yield both
                finally:
                    both.first.wake()
                    both.first.stop()
                    both.second.stop()
                    for log in both.logs:
                        if log.exists():
                            print(f"--- {log.name}\n{log.read_text()[-3_000:]}")

    return open_hosts


def expected_tree(repo: Path) -> str:
    """The id of the tree that the run must publish, to the byte and the mode."""
    repository = pygit2.Repository(str(repo))
    index = pygit2.Index()
    index.read_tree(repository.revparse_single("main").peel(pygit2.Tree))
    for path, (mode, data) in RESULT.items():
        index.add(pygit2.IndexEntry(path, repository.create_blob(data), mode))
    return str(index.write_tree(repository))


def check_result(stage: Stage, document: RunDocument, *, repeated: list[tuple[str, str, int, int]]) -> None:
    """The branch is right, and nothing was asked twice but what was in flight."""
    assert document.status is RunStatus.DONE, document
    assert git(stage.repo, "rev-parse", f"{document.branch}^{{tree}}") == expected_tree(stage.repo), git(
        stage.repo, "diff", "main", str(document.branch)
    )
    times = collections.Counter(stage.asked())
    again = {call: count for call, count in times.items() if count > 1}
    assert again.keys() <= set(repeated), again
    assert all(count == 2 for count in again.values()), again
    assert document.decisions == []


@pytest.mark.parametrize(("moment", "remote"), [("in mid-tool", "http"), ("after a commit", "file")])
async def test_a_second_host_takes_over_from_a_dead_one(hosts, moment: str, remote: str) -> None:  # type: ignore[no-untyped-def]
    async with hosts(script(), remote=remote) as both:
        stage = both.stage
        both.first.start()
        handle = await stage.start()
        gate = await both.until_at_gate(0)
        both.second.start()
        await both.until_ready(1)
        if moment == "after a commit":
            (gate / "go").touch()
            await both.until_committed("1-backend turn 3: answer")
        both.first.kill()
        if moment == "in mid-tool":
            gate = await both.until_at_gate(1)
            (gate / "go").touch()
        else:
            await assert_eventually(lambda: (both.settings[1].home / "workspaces" / stage.run / LANE).exists())
        document = await stage.outcome(handle)
        history = await both.history(1)

    check_result(stage, document, repeated=[])
    assert sum(summary.startswith("taken over by host") for summary in history) == 1


async def test_a_host_that_wakes_up_after_its_successor_changes_nothing(hosts) -> None:  # type: ignore[no-untyped-def]
    async with hosts(script(slow_answer=True)) as both:
        stage = both.stage
        both.first.start()
        handle = await stage.start()
        gate = await both.until_at_gate(0)
        both.second.start()
        await both.until_ready(1)
        (gate / "go").touch()
        asked = ("t1", "backend", 1, 3)
        await assert_eventually(lambda: asked in stage.asked(), every=timedelta(milliseconds=2))
        both.first.pause()
        paused = time.monotonic()
        # The second host has asked the model, too; now the first one finds its own answer, and would write it.
        await assert_eventually(lambda: stage.asked().count(asked) == 2)
        print(f"the second host had asked {time.monotonic() - paused:.1f} s after the first one fell asleep")
        both.first.wake()
        document = await stage.outcome(handle)
        history = await both.history(1)

    check_result(stage, document, repeated=[asked])
    # One line of checkpoints with each turn in it once, on top of one take-over: the first host got nothing in.
    turns = [summary for summary in history if " turn " in summary]
    assert len(turns) == len(set(turns)), history
    taken = next(number for number, summary in enumerate(history) if summary.startswith("taken over by host"))
    assert history[taken - 1].startswith("1-backend turn 3: ")
    assert history[taken + 1].startswith("1-backend turn 3: answer")


async def test_a_host_that_comes_back_goes_on_from_what_others_did(hosts) -> None:  # type: ignore[no-untyped-def]
    """First, second, first again: the first one's own refs are old by then."""
    async with hosts(script()) as both:
        stage = both.stage
        both.first.start()
        handle = await stage.start()
        await both.until_at_gate(0)
        both.first.kill()
        both.second.start()
        gate = await both.until_at_gate(1)
        (gate / "go").touch()
        await both.until_committed("1-backend turn 3: answer")
        both.second.kill()
        both.first.start()
        document = await stage.outcome(handle)
        history = await both.history(0)

    check_result(stage, document, repeated=[])
    assert sum(summary.startswith("taken over by host") for summary in history) == 2


async def test_without_a_state_remote_the_run_waits_for_its_host(hosts) -> None:  # type: ignore[no-untyped-def]
    async with hosts(script(), remote=None) as both:
        stage = both.stage
        both.first.start()
        handle = await stage.start()
        gate = await both.until_at_gate(0)
        both.first.kill()
        (gate / "started").unlink()  # so that the next one is seen; what is left here counts for nothing
        both.second.start()
        waiting = stage.session(LANE, "1-backend")

        async def waits() -> bool:
            return "that has this run's work" in (await waiting.query(AgentSession.status)).waiting_for

        await assert_eventually(waits, every=timedelta(milliseconds=200))
        both.first.start()
        gate = await both.until_at_gate(0)
        (gate / "go").touch()
        document = await stage.outcome(handle)

    check_result(stage, document, repeated=[])
