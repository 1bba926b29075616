"""Every fault of the Messages API, at each attempt: two in a row are retried, three ask a person, some ask at once.

The faults are those of the table of errors that the SDK can raise. A run has many turns, each befallen by one of them.
"""

import collections
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic
from temporalio.api.enums.v1 import EventType

from baton.contracts import Decide, DecisionState, RunStatus
from baton.settings import read_settings
from standin.scenario import Fault, Scenario, Step
from tests.conftest import assert_eventually
from tests.faults.conftest import Scenes
from tests.faults.scene import Scene
from tests.pipelines.conftest import events
from tests.pipelines.scripts import made, plan, reviewed, scenario, session, task, tested, write
from workers.worker import running_worker
from workflows.pipeline import Pipeline

READ_TIMEOUT = 1.0
"""Seconds between two bytes of an answer; ten minutes outside of tests."""

PASSING: dict[str, dict[str, Any]] = {
    "408": {"status": 408},
    "409": {"status": 409},
    "429": {"status": 429},
    "500": {"status": 500},
    "529": {"status": 529},
    "400 that asks for a retry": {"status": 400, "should_retry": True},
    "reset before the response": {"reset_before_response": True},
    "slow first byte": {"delay": 2.5},
    "error event in the stream": {"error_event_after": 2},
    "api_error in the stream": {"error_event_after": 3, "error_type": "api_error"},
    "reset in the stream": {"reset_after": 3},
    "FIN in the stream": {"fin_after": 3},
    "stall in the stream": {"stall_after": 3},
    "clean end without message_stop": {"clean_end_after": 4},
}
"""Faults that may pass; each is retried after 1 s and after 2 s."""

FINAL: dict[str, tuple[str, dict[str, Any]]] = {
    "400": ("invalid_request_error", {"status": 400}),
    "401": ("authentication_error", {"status": 401}),
    "403": ("permission_error", {"status": 403}),
    "404": ("not_found_error", {"status": 404}),
    "413": ("request_too_large", {"status": 413}),
    "500 that asks for no retry": ("api_error", {"status": 500, "should_retry": False}),
    "spend limit": ("spend_limit", {"spend_limit": True}),
    "invalid request in the stream": (
        "invalid_request_error",
        {"error_event_after": 2, "error_type": "invalid_request_error"},
    ),
}
"""Faults for which asking again cannot help: the error's type, and the fault."""


def befallen(faults: Sequence[list[Fault | None]], tasks: int) -> Scenario:
    """Tasks with one turn for each fault, dealt out in turn."""
    parts = [plan(*(task(f"t{number}") for number in range(tasks)))]
    for number in range(tasks):
        turns = [
            Step(calls=[write(f"src/{number}-{turn}.txt", "x\n")], faults=fault)
            for turn, fault in enumerate(faults[number::tasks])
        ]
        parts.append(session("backend", f"t{number}", [*turns, [made()]]))
        parts.append(session("tester", f"t{number}", [[tested()]]))
        parts.append(session("reviewer", f"t{number}", [[reviewed()]]))
    return scenario(*parts)


def asked(scene: Scene) -> dict[tuple[str, int], int]:
    """How often each turn of the makers was asked."""
    return dict(collections.Counter((str(r.task), r.turn or 0) for r in scene.standin.requests if r.role == "backend"))


def expected(counts: Sequence[int], tasks: int) -> dict[tuple[str, int], int]:
    """How often each turn should be asked: its fault's count and one more; the last one, which hands off, once."""
    wanted = {}
    for number in range(tasks):
        dealt = [*counts[number::tasks], 1]
        wanted.update({(f"t{number}", turn): count for turn, count in enumerate(dealt, start=1)})
    return wanted


@asynccontextmanager
async def playing(scene: Scene) -> AsyncIterator[None]:
    """A worker in this process whose client of the Messages API loses patience soon."""
    timeout = httpx2.Timeout(READ_TIMEOUT, connect=5)
    url = scene.standin.base_url
    async with (
        AsyncAnthropic(api_key="sk-ant-faults", base_url=url, max_retries=0, timeout=timeout) as model,
        running_worker(scene.client, read_settings(home=scene.home), model=model),
    ):
        yield


@pytest.mark.parametrize("times", [1, 2])
async def test_faults_that_pass_are_retried(scenes: Scenes, times: int) -> None:
    tasks = 7
    faults: list[list[Fault | None]] = [[Fault(**fault, times=times)] for fault in PASSING.values()]
    async with scenes("run", befallen(faults, tasks)) as scene, playing(scene):
        handle = await scene.begin(parallel=tasks)
        document = await scene.outcome(handle)
        sessions = [scene.client.get_workflow_handle(f"{scene.run}/t{n}/1-backend") for n in range(tasks)]
        failed = [
            event.activity_task_started_event_attributes.attempt
            for one in sessions
            for event in await events(one, EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED)
        ]
    assert document.status is RunStatus.DONE, document
    assert not document.errors
    assert not document.decisions
    assert asked(scene) == expected([times + 1] * len(faults), tasks)
    assert collections.Counter(failed)[times + 1] == len(faults)


async def test_three_in_a_row_ask_a_person_whatever_the_fault(scenes: Scenes) -> None:
    tasks = 7
    faults: list[list[Fault | None]] = [[Fault(**fault, times=3)] for fault in PASSING.values()]
    async with scenes("run", befallen(faults, tasks)) as scene, playing(scene):
        handle = await scene.begin(parallel=tasks)
        for _ in range(len(faults) // tasks):

            async def all_wait() -> bool:
                document = await handle.query(Pipeline.state)
                return len([d for d in document.decisions if d.state is DecisionState.OPEN]) == tasks

            await assert_eventually(all_wait)
            for decision in await handle.query(Pipeline.decisions):
                if decision.state is DecisionState.OPEN:
                    assert decision.attempted == ["3 attempts, after waits of 1 s and 2 s"]
                    await handle.signal(Pipeline.decide, Decide(decision_id=decision.id, choice="retry"))
        document = await scene.outcome(handle)
    assert document.status is RunStatus.DONE, document
    assert len(document.errors) == len(document.decisions) == len(faults)
    assert asked(scene) == expected([4] * len(faults), tasks)


async def test_what_cannot_succeed_is_asked_once(scenes: Scenes) -> None:
    tasks = len(FINAL)
    faults: list[list[Fault | None]] = [[Fault(**fault)] for _, fault in FINAL.values()]
    async with scenes("run", befallen(faults, tasks)) as scene, playing(scene):
        handle = await scene.begin(parallel=tasks)

        async def all_wait() -> bool:
            return len(await handle.query(Pipeline.decisions)) == tasks

        await assert_eventually(all_wait)
        assert asked(scene) == {(f"t{number}", 1): 1 for number in range(tasks)}
        for decision in await handle.query(Pipeline.decisions):
            kind = list(FINAL.values())[int(str(decision.task_id)[1:])][0]
            assert decision.error_type == kind
            assert decision.attempted == ["1 attempt; trying again cannot help"]
            await handle.signal(Pipeline.decide, Decide(decision_id=decision.id, choice="retry"))
        document = await scene.outcome(handle)
    assert document.status is RunStatus.DONE, document
    assert asked(scene) == expected([2] * tasks, tasks)
