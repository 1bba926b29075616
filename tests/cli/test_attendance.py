"""Who counts as being at work: what decides how long `show` and `decide` wait for somebody else's answer."""

import json
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

from temporalio.worker import Worker

from baton import identifiers
from interfaces.cli.runs.runtime import has_worker, reading_worker
from tests.cli.conftest import Cli
from tests.conftest import assert_eventually
from tests.faults.scene import new_namespace
from workers.pollers import describe_queue
from workers.temporal_service import TemporalService
from workflows.registry import WORKFLOWS


async def test_who_has_ended_or_only_reads_is_not_waited_for(service: TemporalService, tmp_path: Path) -> None:
    """The server lists all of them as pollers for minutes."""
    alone = replace(service, client=await new_namespace(service.address))
    assert not await has_worker(alone)
    async with reading_worker(alone):
        await until_pollers(alone, 1)
        assert not await has_worker(alone)
        cli = Cli(tmp_path / "home", TEMPORAL_ADDRESS=service.address, TEMPORAL_NAMESPACE=alone.client.namespace)
        status = await cli("worker", "status", "--json")
        assert (status.code, json.loads(status.out)["workers"]) == (1, [])

    ended = subprocess.Popen(["true"])
    ended.wait()
    for number, identity in enumerate((f"{ended.pid}@{socket.gethostname()}/host", "7@elsewhere/host"), start=2):
        async with Worker(alone.client, identity=identity, task_queue=identifiers.TASK_QUEUE, workflows=WORKFLOWS):
            await until_pollers(alone, number)
            # Of another machine nothing is known but that it has asked.
            assert await has_worker(alone) is ("elsewhere" in identity)


async def until_pollers(service: TemporalService, number: int) -> None:
    """Wait until the server knows so many."""

    async def known() -> bool:
        return len((await describe_queue(service.client, identifiers.TASK_QUEUE, workflows=True)).pollers) == number

    await assert_eventually(known)
