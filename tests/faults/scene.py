"""A run of its own for one fault: namespace, home, repository and stand-in, so that many can go on side by side."""

import asyncio
import collections
import json
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from baton import identifiers
from baton.records.run import RunDocument, RunRequest
from standin.script.scenario import Scenario, ScriptedStep
from standin.server.app import StandIn
from standin.server.server import serve_scenario
from tests.conftest import HANGS, server_environment
from tests.faults.injection import Moment
from tests.support.forked import BatonProcess, ForkServer, inherited_environment
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, reviewed, scenario, session, task, tested, write
from workers.connection import connect_to_address
from workers.search_attributes import ensure_search_attributes
from workflows.pipeline import Pipeline
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.store.store import Store

Asked = tuple[str | None, str | None, int | None, int | None]
"""Task, role, round and turn of a request."""

SHELL = """\
echo line >> src/log.txt
touch src/started; sleep {pause}; rm src/started
seq 1 {numbers} > src/numbers.txt
echo graffiti > web/index.html; rm check.sh
"""
"""What the backend's shell does: something that shows when it happens twice, and something outside its scope."""


def script(*, pause: float = 0.0, numbers: int = 1_000, thinking: float = 0.0) -> Scenario:
    """One task with a file, a shell command and a test; six requests in all when nothing goes wrong.

    `pause` is how long the shell sleeps, `numbers` how much it writes, `thinking` how long the answer that asks for
    the shell takes.
    """
    shell = ScriptedStep(calls=[bash(SHELL.format(pause=pause, numbers=numbers))], seconds=thinking)
    expectation = write("tests/one.expect", "src/one.txt one\n")
    last = [bash("seq 1 10 > src/numbers.txt"), made()]
    return scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/one.txt", "one\n")], shell, last]),
        session("tester", "t1", [[expectation, tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )


@dataclass
class FaultScene:
    """One run among faults."""

    client: Client
    standin: StandIn
    nursery: ForkServer
    directory: Path
    environment: dict[str, str]
    run: str
    workers: list[BatonProcess] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """The run's BATON_HOME."""
        return Path(self.environment["BATON_HOME"])

    @property
    def repo(self) -> Path:
        """The target repository."""
        return self.directory / "shop"

    async def start_run(self, **request: Any) -> WorkflowHandle[Pipeline, RunDocument]:
        """Start the run; nothing happens until there is a worker."""
        return await self.client.start_workflow(
            Pipeline.run,
            RunRequest(task="Add a feature", repo=str(self.repo), **request),
            id=self.run,
            task_queue=identifiers.TASK_QUEUE,
        )

    async def worker(self, moment: Moment | None = None, **environment: str) -> BatonProcess:
        """Start a worker; with a moment, it dies there."""
        log = self.directory / "worker.log"
        settings = inherited_environment(**{**self.environment, **environment})
        worker = self.nursery.start_logged(settings, log, be="worker", moment=asdict(moment) if moment else None)
        self.workers.append(worker)
        return worker

    async def wait_for_document(self, handle: WorkflowHandle[Pipeline, RunDocument]) -> RunDocument:
        """The run's document once it has ended."""
        async with asyncio.timeout(HANGS.total_seconds()):
            with suppress(WorkflowFailureError):
                await handle.result()
        return await handle.query(Pipeline.state)

    def asked(self) -> "collections.Counter[Asked]":
        """How often each turn was asked of the model."""
        return collections.Counter((r.task, r.role, r.round, r.turn) for r in self.standin.requests)

    def repeated_requests(self) -> dict[Asked, int]:
        """The requests that were made more than once."""
        return {asked: count for asked, count in self.asked().items() if count > 1}

    async def called_again(self) -> list[Asked]:
        """Turns whose answer was committed and that were asked of the model all the same, later."""
        last = {(r.task, r.role, r.round, r.turn): r.request_id for r in self.standin.requests}
        checkpoints = Checkpoints(await Store.open(self.home, str(self.repo)))
        committed: dict[Asked, str] = {}
        for name in {str(asked[0]) for asked in last}:
            head = await checkpoints.read_head(Lane(self.run, name))
            for path in await checkpoints.store.list_paths(head, "transcript") if head else []:
                if path.endswith("-assistant.json"):
                    _, session, turn = path.split("/")
                    round_number, _, role = session.partition("-")
                    entry = json.loads(await checkpoints.store.read_file(str(head), path) or b"")
                    committed[name, role, int(round_number), int(turn.split("-")[0])] = entry["request_id"]
        assert committed.keys() == last.keys(), "every turn that was asked has its answer"
        return [asked for asked, request in committed.items() if request != last[asked]]

    def tree(self, document: RunDocument) -> str:
        """The id of the tree that was published."""
        return git(self.repo, "rev-parse", f"{document.branch}^{{tree}}")

    async def read_state(self) -> str | None:
        """`state.json` as it lies in the store."""
        store = await Store.open(self.home, str(self.repo))
        head = await store.read_head(identifiers.run_ref(self.run))
        data = await store.read_file(head, "state.json") if head else None
        return data.decode() if data else None

    def refs(self) -> dict[str, str]:
        """Every ref of the target repository and of the store, with the tree that it points to."""
        found: dict[str, str] = {}
        for bare in (self.repo / ".git", *self.home.glob("stores/*/*.git")):
            for line in git(
                self.repo, "--git-dir", str(bare), "for-each-ref", "--format=%(tree) %(refname)"
            ).splitlines():
                oid, _, name = line.partition(" ")
                found[f"{bare.name} {name}"] = oid
        return found

    def log(self) -> str:
        """What the workers wrote."""
        log = self.directory / "worker.log"
        return log.read_text() if log.exists() else ""


async def new_namespace(address: str) -> Client:
    """A namespace of its own on a server, ready for runs."""
    name = f"faults-{secrets.token_hex(4)}"
    root = await connect_to_address(address)
    retention = Duration(seconds=86_400)
    await root.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    )
    client = await connect_to_address(address, namespace=name)
    await ensure_search_attributes(client)
    return client


@asynccontextmanager
async def scene(
    client: Client, address: str, nursery: ForkServer, template: Path, directory: Path, played: Scenario, **more: str
) -> AsyncIterator[FaultScene]:
    """Everything for a run in this namespace; its workers end with it."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copytree(template, directory / "shop")
    async with serve_scenario(played) as standin:
        environment = {
            "BATON_HOME": str(directory / "home"),
            "ANTHROPIC_API_KEY": "sk-ant-faults",
            "ANTHROPIC_BASE_URL": standin.base_url,
            **server_environment(address),
            "TEMPORAL_NAMESPACE": client.namespace,
            **more,
        }
        run = f"fault-{secrets.token_hex(4)}"
        opened = FaultScene(client, standin, nursery, directory, environment, run)
        try:
            yield opened
        finally:
            for worker in opened.workers:
                await worker.kill()
