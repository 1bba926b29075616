"""SIGKILL of the Temporal server, alone and together with all others: runs go on where they were."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from baton.errors import TemporalUnreachable
from baton.records.run import Decide, RunDocument, RunStatus
from baton.settings.core import read_settings
from standin.script.scenario import Scenario
from tests.conftest import assert_eventually
from tests.faults.scene import FaultScene, new_namespace, scene, script
from tests.support.forked import ForkServer
from tests.support.scripts import escalate, made, plan, reviewed, scenario, session, task, tested
from workers.connection import connect_to_address
from workers.embedded.server_files import ServerFiles, read_record
from workers.temporal_service import TemporalService, connect_service
from workflows.pipeline import Pipeline

pytestmark = [pytest.mark.server, pytest.mark.crash]

Handle = WorkflowHandle[Pipeline, RunDocument]


@pytest.fixture
async def own(tmp_path: Path, clean_environment: None) -> AsyncIterator[TemporalService]:
    """A server that only this test uses."""
    async with connect_service(read_settings(home=tmp_path / "server"), embedded_only=True) as running:
        yield running


def asking() -> Scenario:
    """A run that waits for a person."""
    return scenario(
        plan(task("t1")),
        session("backend", "t1", [[escalate("Which store?", "postgres", "sqlite")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )


async def status(handle: Handle) -> str:
    """The run's status; empty where the server does not answer now."""
    with suppress(RPCError):
        return (await handle.query(Pipeline.state)).status.value
    return ""


async def eventually(condition: Any) -> None:
    await assert_eventually(condition)


@pytest.mark.parametrize("victims", ["server", "server and workers", "keeper, server and workers"])
async def test_the_server_is_killed(
    own: TemporalService, tmp_path: Path, workers: ForkServer, template: Path, victims: str
) -> None:
    files = ServerFiles.open_home(tmp_path / "server")
    async with AsyncExitStack() as stack:

        async def begin(name: str, played: Scenario) -> tuple[FaultScene, Handle]:
            client = await new_namespace(own.address)
            directory = tmp_path / name
            opened = await stack.enter_async_context(scene(client, own.address, workers, template, directory, played))
            handle = await opened.start_run()
            await opened.worker()
            return opened, handle

        async def waits() -> bool:
            return await status(asked) == "waiting"

        # Workers that are killed are killed in the middle of a tool and of a call, however long the others take.
        longer = 20.0 if "workers" in victims else 0.0
        waiting, asked = await begin("waiting", asking())
        await eventually(waits)
        (tool, tooling), (call, calling) = await asyncio.gather(
            begin("tool", script(pause=longer or 3.0)), begin("call", script(thinking=longer or 4.0))
        )
        await eventually(lambda: any(tool.home.glob("workspaces/*/*/work/src/started")))
        await eventually(lambda: ("t1", "backend", 1, 2) in call.asked())
        scenes = [(tool, tooling), (call, calling), (waiting, asked)]

        before = read_record(files)
        assert before is not None
        if "keeper" in victims:
            os.kill(before.keeper, signal.SIGKILL)
        os.kill(before.server, signal.SIGKILL)
        if "workers" in victims:
            await asyncio.gather(*(worker.kill() for opened, _ in scenes for worker in opened.workers))
        killed = asyncio.get_running_loop().time()

        async def back() -> bool:
            record = read_record(files)
            if record is None or record.state != "running" or record.server == before.server:
                return False
            with suppress(TemporalUnreachable):
                await connect_to_address(own.address)
                return True
            return False

        await eventually(back)
        print(f"{victims}: the server is back after {asyncio.get_running_loop().time() - killed:.1f} s")
        if "workers" in victims:
            for opened, _ in scenes:
                await opened.worker()

        async def answered() -> bool:
            with suppress(RPCError):
                await asked.signal(Pipeline.decide, Decide(decision_id="D1", choice="sqlite"))
                return True
            return False

        await eventually(answered)
        for opened, handle in scenes:
            document = await opened.wait_for_document(handle)
            assert document.status is RunStatus.DONE, (document, opened.log())
            assert await opened.called_again() == []
        assert document.decisions[0].choice == "sqlite"
        assert not tool.repeated_requests()
        assert not waiting.repeated_requests()
        # The workers that lived on kept the answer that came while the server was away.
        assert sum(call.repeated_requests().values()) == (2 if "workers" in victims else 0)
        expected = tool.tree(await scenes[0][1].query(Pipeline.state))
        assert call.tree(await scenes[1][1].query(Pipeline.state)) == expected
