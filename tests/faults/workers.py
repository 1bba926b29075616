"""Worker processes from the side of the tests: started from the nursery, watched until they are dead."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from tests.faults.injection import Moment


class ForkedWorker:
    """One worker process."""

    def __init__(self, pid: int, ended: "asyncio.Future[int]", log: Path) -> None:
        self.pid = pid
        self.ended = ended
        """Its exit code, once it has ended; negative where a signal ended it."""
        self.log = log

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still lives."""
        if not self.ended.done():
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.signal(signal.SIGKILL)
        await self.ended

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(20):
                return await asyncio.shield(self.ended)
        except TimeoutError:
            await self.kill()
            return -signal.SIGKILL


class Nursery:
    """Starts workers; see `tests.faults.nursery`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._begun: dict[int, asyncio.Future[int]] = {}
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._listening = asyncio.create_task(self._listen())
        self._number = 0

    async def start(self, environment: dict[str, str], log: Path, moment: Moment | None = None) -> ForkedWorker:
        """Start a worker with this environment; it polls a moment later."""
        return await self._fork(environment, log, moment, None)

    async def standin(self, scenario: Path, port: int, log: Path) -> ForkedWorker:
        """Start a stand-in for the Messages API that plays a scenario file; it listens a moment later."""
        return await self._fork({}, log, None, {"scenario": str(scenario), "port": port})

    async def _fork(
        self, environment: dict[str, str], log: Path, moment: Moment | None, standin: dict[str, object] | None
    ) -> ForkedWorker:
        self._number += 1
        number, loop = self._number, asyncio.get_running_loop()
        begun, ended = self._begun[number], self._ended[number] = loop.create_future(), loop.create_future()
        order = {
            "id": number,
            "environment": environment,
            "log": str(log),
            "moment": asdict(moment) if moment else None,
            "standin": standin,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        return ForkedWorker(await begun, ended, log)

    async def close(self) -> None:
        """End the nursery, and with it what is left of its workers."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            if told["id"] not in self._begun:
                continue
            if "pid" in told:
                self._begun[told["id"]].set_result(told["pid"])
            else:
                self._ended[told["id"]].set_result(told["ended"])


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """A nursery for as long as the block runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.nursery",
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    running = Nursery(process)
    try:
        yield running
    finally:
        await running.close()
