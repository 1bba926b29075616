"""Every fault of the Messages API, at each attempt: two in a row are retried, three ask a person, some ask at once.

The faults are those of the table of errors that the SDK can raise. A run has many turns, each befallen by one of them.
"""

import collections
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from anthropic import AsyncAnthropic
from temporalio.api.enums.v1 import EventType

from baton.records.run import Decide, DecisionState, RunDocument, RunStatus
from baton.settings.core import read_settings
from standin.script.scenario import Fault, Scenario, ScriptedStep
from tests.conftest import assert_eventually
from tests.faults.conftest import Scenes
from tests.faults.scene import FaultScene
from tests.pipelines.conftest import events
from tests.support.scripts import made, plan, reviewed, scenario, session, task, tested, write
from workers.worker import run_worker
from workflows.pipeline import Pipeline

TASKS = 4
"""Of each run, side by side: enough that the waits for one another's faults overlap."""

READ_TIMEOUT = 10.0
"""Seconds between two bytes of an answer; ten minutes outside of tests. An answer on a busy machine takes less."""

PASSING: dict[str, dict[str, Any]] = {
    "408": {"status": 408},
    "409": {"status": 409},
    "429": {"status": 429},
    "500": {"status": 500},
    "529": {"status": 529},
    "400 that asks for a retry": {"status": 400, "should_retry": True},
    "reset before the response": {"reset_before_response": True},
    "slow first byte": {"delay": 60},
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
            ScriptedStep(calls=[write(f"src/{number}-{turn}.txt", "x\n")], faults=fault)
            for turn, fault in enumerate(faults[number::tasks])
        ]
        parts.append(session("backend", f"t{number}", [*turns, [made()]]))
        parts.append(session("tester", f"t{number}", [[tested()]]))
        parts.append(session("reviewer", f"t{number}", [[reviewed()]]))
    return scenario(*parts)


def asked(scene: FaultScene) -> dict[tuple[str, int], int]:
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
async def playing(scene: FaultScene) -> AsyncIterator[None]:
    """A worker in this process whose client of the Messages API loses patience soon."""
    timeout = httpx2.Timeout(READ_TIMEOUT, connect=60)
    url = scene.standin.base_url
    async with (
        AsyncAnthropic(api_key="sk-ant-faults", base_url=url, max_retries=0, timeout=timeout) as model,
        run_worker(scene.client, read_settings(home=scene.home), model=model),
    ):
        yield


async def test_faults_that_pass_are_retried(scenes: Scenes) -> None:
    """Each fault once in one turn, and twice in a row in another."""
    cases = [(times, fault) for times in (1, 2) for fault in PASSING.values()]
    faults: list[list[Fault | None]] = [[Fault(**fault, times=times)] for times, fault in cases]
    async with scenes("run", befallen(faults, TASKS)) as scene, playing(scene):
        handle = await scene.start_run(parallel=TASKS)
        document = await scene.wait_for_document(handle)
        sessions = [scene.client.get_workflow_handle(f"{scene.run}/t{n}/1-backend") for n in range(TASKS)]
        started = [e for one in sessions for e in await events(one, EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED)]
        attempts = collections.Counter(event.activity_task_started_event_attributes.attempt for event in started)
        (first, *_) = await events(sessions[0], EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
    assert document.status is RunStatus.DONE, document
    assert not document.errors
    assert not document.decisions
    assert asked(scene) == expected([times + 1 for times, _ in cases], TASKS)
    assert (attempts[2], attempts[3]) == (len(PASSING), len(PASSING))
    policy = first.activity_task_scheduled_event_attributes.retry_policy
    assert (policy.initial_interval.seconds, policy.backoff_coefficient, policy.maximum_attempts) == (1, 2.0, 3)


async def test_three_in_a_row_ask_a_person_whatever_the_fault(scenes: Scenes) -> None:
    faults: list[list[Fault | None]] = [[Fault(**fault, times=3)] for fault in PASSING.values()]
    attempted = ["3 attempts, after waits of 1 s and 2 s"]
    document, scene = await answered_whenever_asked(scenes, faults, [attempted] * len(faults))
    assert asked(scene) == expected([4] * len(faults), TASKS)
    assert len(document.errors) == len(faults)


async def test_what_cannot_succeed_is_asked_once(scenes: Scenes) -> None:
    faults: list[list[Fault | None]] = [[Fault(**fault)] for _, fault in FINAL.values()]
    attempted = ["1 attempt; trying again cannot help"]
    document, scene = await answered_whenever_asked(scenes, faults, [attempted] * len(faults))
    assert asked(scene) == expected([2] * len(faults), TASKS)
    # Decisions come in the order of the turns, those of one turn in any order.
    kinds = [kind for kind, _ in FINAL.values()]
    for turn in range(0, len(kinds), TASKS):
        of_turn = {str(one.task_id): one.error_type for one in document.decisions[turn : turn + TASKS]}
        assert of_turn == {f"t{number}": kind for number, kind in enumerate(kinds[turn : turn + TASKS])}


async def answered_whenever_asked(
    scenes: Scenes, faults: Sequence[list[Fault | None]], attempted: list[list[str]]
) -> tuple[RunDocument, FaultScene]:
    """A run in which every fault leads to a decision, which is answered: try again."""
    async with scenes("run", befallen(faults, TASKS)) as scene, playing(scene):
        handle = await scene.start_run(parallel=TASKS)
        for turn in range(0, len(faults), TASKS):
            now = len(faults[turn : turn + TASKS])

            async def all_wait(now: int = now) -> bool:
                document = await handle.query(Pipeline.state)
                return len([d for d in document.decisions if d.state is DecisionState.OPEN]) == now

            await assert_eventually(all_wait)
            for decision in await handle.query(Pipeline.decisions):
                if decision.state is DecisionState.OPEN:
                    await handle.signal(Pipeline.decide, Decide(decision_id=decision.id, choice="retry"))
        document = await scene.wait_for_document(handle)
        assert document.status is RunStatus.DONE, document
        assert [decision.attempted for decision in document.decisions] == attempted
        return document, scene
