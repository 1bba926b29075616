"""A running pipeline for tests: real server, real worker, real git and sandbox, scripted model."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from baton import identifiers
from baton.records.run import RunDocument, RunRequest
from baton.settings.core import Settings
from standin.script.scenario import Scenario
from standin.server.app import StandIn
from standin.server.server import serve_scenario
from tests.conftest import HANGS
from tests.support.repositories import make_repository
from workers.worker import WorkerHandle, run_worker
from workflows.pipeline import Pipeline
from workflows.session import AgentSession
from workspaces.store.store import Store

CANARY = "sk-ant-canary-7d1f0a6be2"
"""The key that must turn up nowhere."""


@dataclass
class Stage:
    """Everything a test needs to start runs and to look at what they left."""

    client: Client
    settings: Settings
    standin: StandIn
    repo: Path
    run: str

    async def start(self, **request: Any) -> WorkflowHandle[Pipeline, RunDocument]:
        """Start a run on the test's repository."""
        return await self.client.start_workflow(
            Pipeline.run,
            RunRequest(**{"task": "Add a feature", "repo": str(self.repo), **request}),
            id=self.run,
            task_queue=identifiers.TASK_QUEUE,
        )

    async def finish(self, **request: Any) -> RunDocument:
        """Start a run and wait for its document, whether it succeeds or not."""
        handle = await self.start(**request)
        return await self.outcome(handle)

    async def outcome(self, handle: WorkflowHandle[Pipeline, RunDocument]) -> RunDocument:
        """Wait for the end of a run and return its document."""
        async with asyncio.timeout(HANGS.total_seconds()):
            with suppress(WorkflowFailureError):
                await handle.result()
        return await handle.query(Pipeline.state)

    async def until_waiting(self, handle: WorkflowHandle[Pipeline, RunDocument], *, decision: str = "") -> RunDocument:
        """Wait until nothing goes on any more without a decision, and the named one is the last of them."""
        async with asyncio.timeout(HANGS.total_seconds()):
            while (document := await handle.query(Pipeline.state)).status != "waiting" or (
                decision and document.decisions[-1].id != decision
            ):
                assert not document.status.is_final, document
                await asyncio.sleep(0.05)
        return document

    def worker(self) -> AbstractAsyncContextManager[WorkerHandle]:
        """Another worker of this process with the test's settings: for what must happen while there is none."""
        return run_worker(self.client, self.settings)

    def session(self, task: str, name: str) -> WorkflowHandle[AgentSession, Any]:
        """The handle of a session's workflow."""
        return self.client.get_workflow_handle_for(AgentSession.run, f"{self.run}/{task}/{name}")

    async def store(self) -> Store:
        """The store of the test's repository."""
        return await Store.open(self.settings.home, str(self.repo))

    def asked(self, role: str | None = None) -> list[tuple[str | None, str | None, int | None, int | None]]:
        """(task, role, round, turn) of every model request, in order."""
        return [
            (record.task, record.role, record.round, record.turn)
            for record in self.standin.requests
            if role in (None, record.role)
        ]


async def events(handle: WorkflowHandle[Any, Any], kind: "EventType.ValueType") -> list[Any]:
    """The events of one type in a workflow's history."""
    return [event async for event in handle.fetch_history_events() if event.event_type == kind]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A small repository."""
    return make_repository(tmp_path / "shop")


@pytest.fixture
def staged(client: Client, settings: Settings, repo: Path, run_id: str) -> Any:
    """`async with staged(scenario) as stage`: a stand-in that plays the scenario, and a worker."""

    @asynccontextmanager
    async def open_stage(script: Scenario, *, worker: bool = True, **more: Any) -> AsyncIterator[Stage]:
        async with serve_scenario(script, keep_bodies=True) as standin:
            own = settings.model_copy(update={"api_key": SecretStr(CANARY), "base_url": standin.base_url, **more})
            stage = Stage(client, own, standin, repo, run_id)
            if not worker:
                yield stage
                return
            async with run_worker(client, own):
                yield stage

    return open_stage
