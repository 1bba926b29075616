"""How long a delivery waits for GitHub: on durable timers that grow to a quarter of an hour; time is skipped here."""

import sys
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.github.client import GitHubClient, make_http_client
from activities.github.reads import GitHubReadActivities
from baton.identifiers import GITHUB_READS
from baton.records.issue import Delivery, Repository, RunRequested, Sender
from baton.steps.github import DeliveryOutcome
from tests.support.github.emulator import OWNER
from tests.support.github.hub import Fault
from tests.support.github.world import World
from workflows.delivery import DeliveryWorkflow

SERVER = Path(sys.executable).with_name("temporal-test-server")


@pytest.mark.server
@pytest.mark.parametrize(
    ("faults", "waits"),
    [
        # Three attempts a round: six rounds in vain.
        ([Fault(".*/collaborators/.*", status=503, times=18)], [30, 60, 120, 300, 600, 900]),
        # A credential that is not accepted is tried once a round.
        ([Fault(".*/access_tokens", status=401, times=3)], [30, 60, 120]),
        # What GitHub asks for counts as no attempt.
        ([Fault(".*/access_tokens", status=429, times=5, headers={"retry-after": "40"})], [41] * 5),
    ],
    ids=["away", "denied", "limited"],
)
async def test_a_delivery_waits(bare_world: World, faults: list[Fault], waits: list[int]) -> None:
    w = bare_world
    w.hub.faults = faults
    repository = Repository(owner=OWNER, name=w.name, clone_url=w.clone_url, installation=100)
    delivery = Delivery(
        id="d1",
        event="issues.labeled",
        repository=repository,
        sender=Sender(login="eve"),
        matter=RunRequested(number=1, title="x"),
    )
    async with (
        await WorkflowEnvironment.start_time_skipping(
            data_converter=pydantic_data_converter, test_server_existing_path=str(SERVER)
        ) as env,
        make_http_client() as http,
    ):
        reading = GitHubReadActivities(GitHubClient(w.settings, http), frozenset())
        async with (
            Worker(env.client, task_queue="baton", workflows=[DeliveryWorkflow]),
            Worker(env.client, task_queue=GITHUB_READS, activities=[reading.check_permission]),
        ):
            handle = await env.client.start_workflow(DeliveryWorkflow.run, delivery, id="d", task_queue="baton")
            handled = await handle.result()
            nonsense = await env.client.execute_workflow(
                "Delivery", args=["nonsense", 7], id="n", task_queue="baton", result_type=DeliveryOutcome
            )
            timers = [
                event.timer_started_event_attributes.start_to_fire_timeout.seconds
                async for event in handle.fetch_history_events()
                if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
            ]
    assert (handled.outcome, handled.reason) == ("refused", f"eve may not write to {w.full_name}")
    assert timers == waits
    assert not any(fault.times for fault in faults)
    assert nonsense.outcome == "ignored"
