"""The processes of a benchmark (embedded server, worker, stand-in) and the processor time and memory they use.

Only what they use of the processor is told apart from what other programs on the machine take; times are not.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client

from baton.settings.core import Settings, read_settings
from standin.script.scenario import Scenario, ScriptedCall, ScriptedStep
from tests.conftest import server_environment
from tests.support.scripts import made, plan, reviewed, scenario, task, tested
from workers.embedded.server_files import ServerFiles, read_record
from workers.temporal_service import connect_service

_TICK = 1_000 / os.sysconf("SC_CLK_TCK")
BATON = str(Path(sys.executable).with_name("baton"))
_VAST = 100_000_000
"""Tokens: 500 turns with 20 kB each do not fit the window of any model, but the engine must not be what breaks."""


@dataclass(frozen=True)
class ProcessorUse:
    """Milliseconds of processor time."""

    worker: float
    commands: float
    """Sandboxes and git, as far as they have ended."""
    server: float
    standin: float

    def __sub__(self, other: "ProcessorUse") -> "ProcessorUse":
        """Return the use between two readings."""
        return ProcessorUse(
            self.worker - other.worker,
            self.commands - other.commands,
            self.server - other.server,
            self.standin - other.standin,
        )


@dataclass
class BenchmarkScene:
    """A server and a stand-in that run, and a worker while `worker` is entered."""

    settings: Settings
    client: Client
    address: str
    directory: Path
    standin: Process
    worker_id: int = 0

    @asynccontextmanager
    async def run_worker(self) -> AsyncIterator[None]:
        """A worker of its own process; it is told to stop at the end."""
        process = await asyncio.create_subprocess_exec(
            BATON, "worker", env=self.make_environment(), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
        )
        assert process.stderr is not None
        await await_line(process.stderr, "A worker is at work")
        drain = asyncio.create_task(process.stderr.read())
        self.worker_id = process.pid
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # the benchmark has killed it
                process.send_signal(signal.SIGTERM)
            await process.wait()
            await drain

    def make_environment(self) -> dict[str, str]:
        """The environment of a command that works on this scene."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "ANTHROPIC_"))}
        assert self.settings.base_url is not None
        own = {"BATON_HOME": str(self.settings.home), "ANTHROPIC_API_KEY": "sk-ant-benchmark"}
        if self.settings.state_remote:
            own["BATON_STATE_REMOTE"] = self.settings.state_remote
        return {**kept, **own, "ANTHROPIC_BASE_URL": self.settings.base_url, **server_environment(self.address)}

    def read_use(self) -> ProcessorUse:
        """Return the use of the processes so far."""
        record = read_record(ServerFiles.open_home(self.settings.home))
        worker, commands = read_processor_times(self.worker_id)
        return ProcessorUse(
            worker,
            commands,
            read_processor_times(record.server)[0] if record else 0.0,
            read_processor_times(self.standin.pid)[0],
        )

    def read_memory(self) -> tuple[float, float]:
        """MB of the worker: now, and at its highest."""
        return memory_of(self.worker_id)

    async def read_requests(self) -> list[dict[str, Any]]:
        """Return the requests to the stand-in, with the seconds that each answer took."""
        url = f"{self.settings.base_url}/standin/requests"
        return list(json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(url).read()))["requests"])


@asynccontextmanager
async def open_scene(script: Scenario, home: Path | None = None) -> AsyncIterator[BenchmarkScene]:
    """A scene in a directory of its own; with `home`, on that disk."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-", dir=home, ignore_cleanup_errors=True) as name:
        directory = Path(name)
        settings = read_settings(home=directory / "home")
        file = directory / "scenario.json"
        file.write_text(script.model_copy(update={"context_window": _VAST}).model_dump_json(exclude_defaults=True))
        standin = await asyncio.create_subprocess_exec(
            BATON, "standin", "--scenario", str(file), stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )
        try:
            assert standin.stdout is not None
            url = (await await_line(standin.stdout, "Stand-in")).split(": ", 1)[1].split()[0]
            settings = settings.model_copy(update={"base_url": url})
            async with connect_service(settings, embedded_only=True) as service:
                yield BenchmarkScene(settings, service.client, service.address, directory, standin)
        finally:
            standin.terminate()
            await standin.wait()


def session_script(call: ScriptedCall, turns: int) -> Scenario:
    """Return the scenario of a run with one task and a maker that makes the same call in each turn."""
    steps = [
        ScriptedStep(role="backend", turn=turns + 1, calls=[made()]),
        ScriptedStep(role="backend", repeat=turns, calls=[call]),
        ScriptedStep(role="tester", repeat="always", calls=[tested()]),
        ScriptedStep(role="reviewer", repeat="always", calls=[reviewed()]),
    ]
    return scenario(plan(task("t1")), steps)


def describe_machine() -> str:
    """Return the number of cores and the load, for the reader of a figure."""
    load = Path("/proc/loadavg").read_text().split()[0]
    return f"{os.cpu_count()} cores, load {load}"


def memory_of(process: int) -> tuple[float, float]:
    """MB of a process: now, and at its highest."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return int(values["VmRSS"].split()[0]) / 1_024, int(values["VmHWM"].split()[0]) / 1_024


async def await_line(stream: asyncio.StreamReader, words: str) -> str:
    """The next line of a process with these words."""
    while line := (await stream.readline()).decode():
        if words in line:
            return line
    raise RuntimeError(f"A process ended without saying {words!r}.")


def read_processor_times(process: int) -> tuple[float, float]:
    """Processor time of a process, and of those it waited for."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0, 0.0
    own, children = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return own * _TICK, children * _TICK
