"""A host whose hands are full is not dead: its steps wait in its queue, at no cost, for as long as it takes."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.worker import Worker

from activities.runtime.host_queue import HostActivities
from activities.runtime.presence import ActivitySlots, PresenceActivities
from baton import identifiers
from baton.records.run import RunRequest, RunStatus
from baton.replayed_figures import SAVE_EVERY
from standin.script.scenario import Scenario
from system.uncancellable import run_in_thread
from tests.conftest import HANGS, assert_eventually
from tests.pipelines.conftest import Stage, events
from tests.support.network_line import Line
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, reviewed, scenario, session, simple_task, task, tested
from tests.support.worker_process import WorkerProcess
from workers.temporal_service import TemporalService
from workflows.pipeline import Pipeline
from workflows.registry import WORKFLOWS

WAIT = "touch src/started; until [ -e src/go ]; do sleep 0.05; done; rm src/started src/go; echo {0} > src/{0}.txt"
"""A command that keeps its slot until the test says that it may end."""

SETTLED = timedelta(seconds=12)
"""Longer than a step waits before its host is asked whether it lives."""


def script(*tasks: str) -> Scenario:
    """Tasks beside each other, in each of which one command waits."""
    parts = [plan(*(task(name) for name in tasks))]
    for name in tasks:
        parts += [
            session("backend", name, [[bash(WAIT.format(name))], [made()]]),
            session("tester", name, [[tested()]]),
            session("reviewer", name, [[reviewed()]]),
        ]
    return scenario(*parts)


def at_work(home: Path, run: str) -> list[Path]:
    """The workspaces in which a command waits."""
    return [path.parent for path in home.glob(f"workspaces/{run}/*/work/src/started")]


async def lengths(stage: Stage) -> dict[str, int]:
    """How many events the open workflows of a run have."""
    found = {}
    query = f'(WorkflowId = "{stage.run}" OR WorkflowId STARTS_WITH "{stage.run}/") AND ExecutionStatus = "Running"'
    async for one in stage.client.list_workflows(query):
        found[one.id] = (await stage.client.get_workflow_handle(one.id, run_id=one.run_id).describe()).history_length
    return found


@asynccontextmanager
async def letting_go(home: Path, run: str) -> AsyncIterator[set[str]]:
    """Let every command end that waits, from now on; gives the tasks whose commands have waited."""
    seen: set[str] = set()

    async def let_go() -> None:
        while True:
            for place in at_work(home, run):
                seen.add(place.parent.parent.name)
                with suppress(OSError):
                    (place / "go").touch()
            await asyncio.sleep(0.2)

    going = asyncio.create_task(let_go())
    try:
        yield seen
    finally:
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going


async def until_all_wait(stage: Stage, home: Path, number: int) -> None:
    """Wait until so many commands keep their slots, and all others have had time to find none."""
    await assert_eventually(lambda: len(at_work(home, stage.run)) == number)
    await asyncio.sleep(SETTLED.total_seconds())


async def test_a_step_that_waits_for_a_busy_host_costs_no_events(staged: Any) -> None:
    async with staged(script("t1", "t2", "t3"), max_activities=2) as stage:
        handle = await stage.start()
        home = stage.settings.home
        await until_all_wait(stage, home, 2)
        before = await lengths(stage)
        missed = [
            len(await events(stage.client.get_workflow_handle(name), EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT))
            for name in before
        ]
        assert set(missed) == {0, 1}, missed
        await asyncio.sleep(SETTLED.total_seconds())
        assert await lengths(stage) == before
        async with letting_go(home, stage.run):
            document = await stage.outcome(handle)

    assert document.status is RunStatus.DONE, document
    assert (document.errors, document.decisions) == ([], [])


class TwoHosts:
    """Two workers with homes of their own and one state remote; the line to the server is the first one's own."""

    def __init__(self, stage: Stage, service: TemporalService, line: Line, place: Path) -> None:
        git(place, "init", "-q", "--bare", str(place / "state.git"))
        own = stage.settings.model_copy(update={"state_remote": str(place / "state.git")})
        self.homes = [place / "first", place / "second"]
        self.logs = [place / "first.log", place / "second.log"]
        self.first, self.second = (
            WorkerProcess(own.model_copy(update={"home": home}), service.address, log, within=within)
            for home, log, within in zip(
                self.homes, self.logs, (["env", f"TEMPORAL_ADDRESS=127.0.0.1:{line.port}"], []), strict=True
            )
        )

    async def start(self, number: int) -> None:
        """Start a worker, and wait until it is at work."""
        (self.first, self.second)[number].start()
        log = self.logs[number]
        await assert_eventually(lambda: log.exists() and "A worker is at work" in log.read_text())


@pytest.fixture
def hosts(staged: Any, service: TemporalService, tmp_path: Path) -> Any:
    @asynccontextmanager
    async def open_hosts(chosen: Scenario, slots: int) -> AsyncIterator[tuple[Stage, TwoHosts, Line]]:
        place = tmp_path / "hosts"
        place.mkdir()
        line = Line(service.address)
        await line.open()
        async with staged(chosen, worker=False, max_activities=slots) as stage:
            both = TwoHosts(stage, service, line, place)
            await both.start(0)
            try:
                yield stage, both, line
            finally:
                both.first.kill()
                if both.logs[1].exists():
                    both.second.stop()
                await line.cut()
                for log in both.logs:
                    if log.exists():
                        print(f"--- {log.name}\n{log.read_text()[-3_000:]}")

    return open_hosts


@pytest.mark.parametrize("how", ["killed", "cut off", "silent"])
async def test_a_host_that_is_lost_while_steps_wait_in_its_queue_is_taken_over(hosts: Any, how: str) -> None:
    async with hosts(script("t1", "t2", "t3"), 2) as (stage, both, line):
        handle = await stage.start()
        await until_all_wait(stage, both.homes[0], 2)
        await both.start(1)
        if how == "killed":
            both.first.kill()
        elif how == "cut off":
            await line.cut()
        else:
            line.flows.clear()
        async with letting_go(both.homes[1], stage.run) as taken:
            document = await stage.outcome(handle)
        line.flows.set()

    assert document.status is RunStatus.DONE, document
    assert (document.errors, document.decisions) == ([], [])
    assert taken == {"t1", "t2", "t3"}


async def test_two_busy_hosts_take_nothing_from_each_other(hosts: Any) -> None:
    async with hosts(script("t1"), 1) as (stage, both, _):
        await both.start(1)
        runs: list[str] = []
        # Which host a run gets is chance; so many that both have one at work and one that waits.
        for number in itertools.count():
            runs.append(f"{stage.run}-{number}")
            request = RunRequest(task="Add a feature", repo=str(stage.repo))
            await stage.client.start_workflow(Pipeline.run, request, id=runs[-1], task_queue=identifiers.TASK_QUEUE)
            await asyncio.sleep(3)
            working = [sum(bool(at_work(home, run)) for run in runs) for home in both.homes]
            if working == [1, 1] and number >= 3:
                break
            assert number < 30, working
        # The last changes of the runs' states are saved by then.
        await asyncio.sleep((SAVE_EVERY + SETTLED).total_seconds())
        before = [await lengths(Stage(stage.client, stage.settings, stage.standin, stage.repo, run)) for run in runs]
        await asyncio.sleep(SETTLED.total_seconds())
        after = [await lengths(Stage(stage.client, stage.settings, stage.standin, stage.repo, run)) for run in runs]
        assert after == before
        for run in runs:
            await stage.client.get_workflow_handle(run).cancel()
        async with asyncio.timeout(HANGS.total_seconds()):
            for run in runs:
                await stage.outcome(stage.client.get_workflow_handle_for(Pipeline.run, run))


async def test_a_host_that_lives_but_is_cut_off_from_its_queue_is_left(staged: Any, client: Client) -> None:
    """Its worker says that it lives, has its hands free, and takes nothing up."""
    slots = ActivitySlots(total=1)
    queue = identifiers.host_queue("cut-off")
    presence = PresenceActivities(slots).attend_step
    async with staged(scenario(plan(task("t1")), simple_task("t1")), worker=False) as stage:
        living = Worker(client, task_queue=identifiers.presence_queue(queue), activities=[presence])
        async with living:
            granting = HostActivities(queue).acquire_host
            async with Worker(client, task_queue=identifiers.TASK_QUEUE, workflows=WORKFLOWS, activities=[granting]):
                handle = await stage.start()

                async def attended() -> bool:
                    pending = (await handle.describe()).raw_description.pending_activities
                    return any(one.activity_type.name == "attend_step" for one in pending)

                await assert_eventually(attended)
            async with stage.worker():
                document = await stage.outcome(handle)

    assert document.status is RunStatus.DONE, document
    assert (document.errors, document.decisions) == ([], [])


async def test_steps_that_block_their_threads_hold_up_no_other_step(staged: Any) -> None:
    """As many as may run at once, each in a thread that waits for a lock or a disk; heartbeats go on."""
    slow = session("backend", "t1", [[bash("sleep 7")], [made()]])
    async with staged(scenario(plan(task("t1")), slow, simple_task("t1")[1:]), max_activities=24) as stage:
        held = threading.Event()
        blocking = [asyncio.create_task(run_in_thread(held.wait, HANGS.total_seconds())) for _ in range(24)]
        try:
            document = await stage.finish()
            assert not any(one.done() for one in blocking)
        finally:
            held.set()
            await asyncio.gather(*blocking)
        begun = await events(stage.session("t1", "1-backend"), EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED)

    assert document.status is RunStatus.DONE, document
    assert [event.activity_task_started_event_attributes.attempt for event in begun] == [1, 1]


async def test_a_run_waits_for_a_busy_shared_queue_without_events(staged: Any, client: Client) -> None:
    """Where no slot is free to name a host: an activity that holds the only one stands for long deliveries."""

    @activity.defn(name="acquire_host")
    async def hold() -> None:
        await asyncio.Event().wait()

    async with staged(scenario(plan(task("t1")), simple_task("t1")), worker=False) as stage:
        other = Stage(stage.client, stage.settings, stage.standin, stage.repo, f"{stage.run}-2")
        busy = Worker(
            client,
            task_queue=identifiers.TASK_QUEUE,
            workflows=WORKFLOWS,
            activities=[hold],
            max_concurrent_activities=1,
            graceful_shutdown_timeout=timedelta(0),
        )
        async with busy:
            handles = [await one.start() for one in (stage, other)]
            await asyncio.sleep(SETTLED.total_seconds() / 2)
            before = [await lengths(one) for one in (stage, other)]
            await asyncio.sleep(SETTLED.total_seconds())
            assert [await lengths(one) for one in (stage, other)] == before
        async with stage.worker():
            documents = [await stage.outcome(handle) for handle in handles]

    assert [document.status for document in documents] == [RunStatus.DONE] * 2, documents
