"""A command that brings a worker to a configured server works on its own run only, and leaves it to a next worker."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pygit2
import pytest_asyncio
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus

from baton import identifiers
from baton.records.run import RunRequest
from interfaces.cli.runs.sample_repository import make_repository
from standin.server.app import StandIn
from tests.cli.conftest import Cli, finish
from tests.conftest import assert_eventually
from tests.faults.scene import new_namespace
from workers.pollers import describe_queue
from workers.temporal_service import TemporalService

STARTED = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED


class People:
    """Several people with homes of their own, at one Temporal server."""

    def __init__(self, client: Client, address: str, place: Path, model: str) -> None:
        self.client = client
        self._address, self._place, self._model = address, place, model
        self.clis: list[Cli] = []

    def person(self, name: str) -> Cli:
        """The command as that person has it."""
        (self._place / name).mkdir()
        cli = Cli(
            self._place / name / "home",
            TEMPORAL_ADDRESS=self._address,
            TEMPORAL_NAMESPACE=self.client.namespace,
            ANTHROPIC_BASE_URL=self._model,
            ANTHROPIC_API_KEY="sk-ant-scripted-key-0000",
        )
        self.clis.append(cli)
        return cli

    def repository(self, name: str) -> Path:
        """A repository of that person's."""
        path = self._place / name / "orders"
        make_repository(path)
        return path

    async def hosts(self, run: str) -> set[str]:
        """The hosts that have begun a step of a run, or of its children."""
        found = set()
        query = f'WorkflowId = "{run}" OR WorkflowId STARTS_WITH "{run}/"'
        async for one in self.client.list_workflows(query):
            handle = self.client.get_workflow_handle(one.id, run_id=one.run_id)
            async for event in handle.fetch_history_events():
                if event.event_type == STARTED:
                    identity = event.activity_task_started_event_attributes.identity
                    found.add(identity.rpartition("/")[2])
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def people(service: TemporalService, tmp_path: Path, standin: StandIn) -> AsyncIterator[People]:
    client = await new_namespace(service.address)
    everybody = People(client, service.address, tmp_path, standin.base_url)
    yield everybody
    for cli in everybody.clis:
        await cli.end()
    async for left in client.list_workflows("ExecutionStatus = 'Running'"):
        await client.get_workflow_handle(left.id).terminate("its test is over")


def host(cli: Cli) -> str:
    return (cli.home / "host-id").read_text().strip()


async def ready(cli: Cli, *arguments: str) -> None:
    """Start a worker, and wait until it is at work."""
    worker = await cli.start("worker", "--json", *arguments)
    assert worker.stdout is not None
    await worker.stdout.readuntil(b"\n}\n")


async def test_commands_work_on_their_own_runs_and_leave_a_strangers_alone(
    people: People, standin: StandIn, run_id: str
) -> None:
    ada, bob, carl = map(people.person, ("ada", "bob", "carl"))
    theirs = f"{run_id}-theirs"
    request = RunRequest(task="Add pagination", repo=str(people.repository("carl")))
    stranger = await people.client.start_workflow("Pipeline", request, id=theirs, task_queue=identifiers.TASK_QUEUE)

    runs = {f"{run_id}-{name}": (cli, people.repository(name)) for name, cli in (("ada", ada), ("bob", bob))}
    commands = [
        await cli.start("run", "Add pagination", "--repo", ".", "--run-id", run, "--json", cwd=repository)
        for run, (cli, repository) in runs.items()
    ]
    for command in commands:
        ended = await finish(command, within=240)
        assert ended.code == 3, ended
    for run, (cli, _) in runs.items():
        assert await people.hosts(run) == {host(cli)}
    assert {record.run for record in standin.requests if record.run} == set(runs)
    assert await people.hosts(theirs) == set()
    assert (await stranger.describe()).status is WorkflowExecutionStatus.RUNNING

    await ready(carl)
    await assert_eventually(lambda: any(record.run == theirs for record in standin.requests))
    assert await people.hosts(theirs) == {host(carl)}


async def test_a_run_of_here_is_worked_on_here_beside_a_strangers_worker(people: People, run_id: str) -> None:
    ada, bob = map(people.person, ("ada", "bob"))
    repository = people.repository("ada")
    await ready(bob)
    where = ("--repo", ".", "--run-id", run_id, "--json")
    waiting = await ada("run", "Add pagination", *where, cwd=repository)
    assert waiting.code == 3, waiting
    assert await people.hosts(run_id) == {host(ada)}
    # What comes later goes back to where the work is.
    assert (await bob("decide", run_id, "D1", "url")).code == 0
    done = await ada("watch", run_id, "--json")
    assert done.code == 0, done
    found = json.loads(done.out)
    assert (found["status"], found["branch"]) == ("done", f"baton/{run_id}")


async def test_watch_goes_on_with_a_run_whose_command_was_killed(people: People, standin: StandIn, run_id: str) -> None:
    ada, bob = map(people.person, ("ada", "bob"))
    repository = people.repository("ada")
    running = await ada.start("run", "Add pagination", "--repo", ".", "--run-id", run_id, cwd=repository)
    await assert_eventually(lambda: len(standin.requests) > 2)
    running.send_signal(signal.SIGKILL)
    await running.wait()
    # A stranger without the repository's store may look, and brings nothing.
    listed = json.loads((await bob("list", "--json")).out)
    assert [row["run"] for row in listed] == [run_id]
    waiting = await ada("watch", run_id, "--json")
    assert waiting.code == 3, waiting
    assert (await ada("decide", run_id, "D1", "url")).code == 0
    done = await ada("watch", run_id, "--json")
    assert done.code == 0, done
    assert await people.hosts(run_id) == {host(ada)}


async def test_a_service_goes_on_with_a_run_whose_command_was_killed(
    people: People, standin: StandIn, run_id: str
) -> None:
    """In the home that has its work; a stranger's worker could only ask about it, so it leaves it alone."""
    ada, bob = map(people.person, ("ada", "bob"))
    repository = people.repository("ada")
    await ready(bob)
    running = await ada.start("run", "Add pagination", "--repo", ".", "--run-id", run_id, cwd=repository)
    await assert_eventually(lambda: len(standin.requests) > 2)
    running.send_signal(signal.SIGKILL)
    await running.wait()
    await ready(ada)
    waiting = await bob("watch", run_id, "--json")
    assert waiting.code == 3, waiting
    assert await people.hosts(run_id) == {host(ada)}
    assert (await bob("decide", run_id, "D1", "url")).code == 0
    assert (await bob("watch", run_id, "--json")).code == 0
    assert await people.hosts(run_id) == {host(ada)}


async def test_another_home_takes_over_by_the_state_remote_and_gives_back(
    people: People, standin: StandIn, run_id: str, tmp_path: Path
) -> None:
    ada, bob = map(people.person, ("ada", "bob"))
    remote = tmp_path / "state.git"
    pygit2.init_repository(str(remote), bare=True)
    for cli in (ada, bob):
        cli.env["BATON_STATE_REMOTE"] = str(remote)
    repository = people.repository("ada")
    running = await ada.start("run", "Add pagination", "--repo", ".", "--run-id", run_id, cwd=repository)
    await assert_eventually(lambda: len(standin.requests) > 2)
    running.send_signal(signal.SIGKILL)
    await running.wait()
    await ready(bob)
    waiting = await bob("watch", run_id, "--json")
    assert waiting.code == 3, waiting
    assert await people.hosts(run_id) == {host(ada), host(bob)}
    watching = await ada.start("watch", run_id, "--json")

    async def served_by() -> set[str]:
        polled = (await describe_queue(people.client, identifiers.run_queue(run_id), workflows=True)).pollers
        return {one.identity.rpartition("/")[2] for one in polled}

    async def shared() -> bool:
        return await served_by() == {host(ada), host(bob)}

    # The server lists the pollers of minutes ago, too: both have served the run.
    await assert_eventually(shared)
    assert (await bob("decide", run_id, "D1", "url")).code == 0
    await finish(watching, within=240)
    done = await ada("watch", run_id, "--json")
    assert (done.code, json.loads(done.out)["status"]) == (0, "done"), done


async def test_who_watches_goes_on_when_the_command_ends(people: People, standin: StandIn, run_id: str) -> None:
    ada = people.person("ada")
    repository = people.repository("ada")
    running = await ada.start("run", "Add pagination", "--repo", ".", "--run-id", run_id, cwd=repository)
    await assert_eventually(lambda: len(standin.requests) > 0)
    watching = await ada.start("watch", run_id, "--json")
    running.send_signal(signal.SIGINT)
    ended = await finish(running, within=240)
    assert (ended.code, f"watch {run_id}` goes on with it" in ended.err) == (130, True), ended
    waiting = await finish(watching, within=240)
    assert waiting.code == 3, waiting
    assert f"watch {run_id}` goes on with the run" in waiting.err


async def test_a_command_lends_its_credential_for_github_to_no_one(
    people: People, standin: StandIn, run_id: str
) -> None:
    ada = people.person("ada")
    ada.env["BATON_GITHUB_TOKEN"] = "ghp_" + "0" * 36
    repository = people.repository("ada")
    running = await ada.start("run", "Add pagination", "--repo", ".", "--run-id", run_id, cwd=repository)
    await assert_eventually(lambda: len(standin.requests) > 0)
    polled = {}
    for queue in (
        identifiers.GITHUB_QUEUE,
        identifiers.GITHUB_READS,
        identifiers.TASK_QUEUE,
        identifiers.run_queue(run_id),
    ):
        polled[queue] = len((await describe_queue(people.client, queue, workflows=False)).pollers)
    assert polled == {
        identifiers.GITHUB_QUEUE: 0,
        identifiers.GITHUB_READS: 0,
        identifiers.TASK_QUEUE: 0,
        identifiers.run_queue(run_id): 1,
    }
    running.send_signal(signal.SIGINT)
    await finish(running, within=240)


async def test_stop_ends_a_run_whose_command_was_killed(people: People, standin: StandIn, run_id: str) -> None:
    ada = people.person("ada")
    repository = people.repository("ada")
    running = await ada.start("run", "Add pagination", "--repo", ".", "--run-id", run_id, cwd=repository)
    await assert_eventually(lambda: len(standin.requests) > 2)
    running.send_signal(signal.SIGKILL)
    await running.wait()
    stopped = await ada("stop", run_id, "--json")
    assert stopped.code == 0, stopped
    assert json.loads(stopped.out)["status"] == "stopped"


async def test_a_detached_run_goes_to_a_worker_of_the_machine(people: People, standin: StandIn, run_id: str) -> None:
    """The path is one of this machine, so a worker of another home may do it."""
    ada, bob = map(people.person, ("ada", "bob"))
    repository = people.repository("ada")
    detached = await ada("run", "Add pagination", "--repo", ".", "--run-id", run_id, "--detach", cwd=repository)
    assert (detached.code, detached.out) == (0, f"{run_id}\n"), detached
    assert "No worker of this machine is at work" in detached.err
    await ready(bob)
    watched = await ada("watch", run_id, "--json")
    assert watched.code == 3, watched
    assert await people.hosts(run_id) == {host(bob)}


async def test_a_detached_run_without_any_worker_says_what_to_start(people: People, run_id: str) -> None:
    ada = people.person("ada")
    url = "https://git.invalid/orders.git"
    detached = await ada("run", "Add pagination", "--repo", url, "--run-id", run_id, "--detach")
    assert (detached.code, detached.out) == (0, f"{run_id}\n"), detached
    assert "No worker is at work" in detached.err
    assert "until one is started there with `baton worker`" in detached.err
    description = await people.client.get_workflow_handle(run_id).describe()
    assert description.task_queue == identifiers.TASK_QUEUE
