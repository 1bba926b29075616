"""A host whose hands are full is not dead: its steps wait in its queue, at no cost, for as long as it takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from baton.contracts import RunStatus
from standin.scenario import Scenario
from tests.conftest import assert_eventually
from tests.pipelines.conftest import Stage
from tests.pipelines.scripts import bash, made, plan, reviewed, scenario, session, task, tested

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
async def letting_go(home: Path, run: str) -> AsyncIterator[None]:
    """Let every command end that waits, from now on."""

    async def let_go() -> None:
        while True:
            for place in at_work(home, run):
                with suppress(OSError):
                    (place / "go").touch()
            await asyncio.sleep(0.2)

    going = asyncio.create_task(let_go())
    try:
        yield
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
        await asyncio.sleep(SETTLED.total_seconds())
        assert await lengths(stage) == before
        async with letting_go(home, stage.run):
            document = await stage.outcome(handle)

    assert document.status is RunStatus.DONE, document
    assert (document.errors, document.decisions) == ([], [])
