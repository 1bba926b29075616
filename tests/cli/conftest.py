"""Runs the installed command `baton` as its users do: a process of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pygit2
import pytest
import pytest_asyncio

from interfaces.cli.runs.sample_repository import make_repository
from standin.script.scenario_file import load_scenario
from standin.server.app import StandIn
from standin.server.server import serve_scenario
from tests.conftest import HANGS, server_environment
from tests.support.forked import PipedProcess, fork_server

BATON = Path(sys.executable).parent / "baton"
FORKED = Path("baton")
"""The command without the start of Python: what it does is the same, and the tests call it some hundred times."""

Process = asyncio.subprocess.Process | PipedProcess


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


class Cli:
    """The command with a home and an environment."""

    def __init__(self, home: Path, program: Path = FORKED, **env: str) -> None:
        """`program`: that of an installation, to be started from nothing; else it is forked from the nursery."""
        self.home = home
        self.program = program
        self.started: list[Process] = []
        self.env = {**os.environ, "BATON_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "120", **env}

    async def start(self, *arguments: str, cwd: Path | None = None, program: Sequence[str] = ()) -> Process:
        """Start a command and leave it running; `program` may make a place for it first."""
        process = await self._start(arguments, cwd or self.home.parent, program)
        self.started.append(process)
        return process

    async def _start(self, arguments: Sequence[str], cwd: Path, program: Sequence[str]) -> Process:
        self.env |= server_environment(self.env["TEMPORAL_ADDRESS"]) if "TEMPORAL_ADDRESS" in self.env else {}
        if not program and self.program is FORKED:
            return await fork_server().start_piped(self.env, cwd, be="baton", arguments=arguments)
        return await asyncio.create_subprocess_exec(
            *(program or [str(self.program)]),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.env,
            cwd=cwd,
        )

    async def end(self) -> None:
        """End what a failed test has left running."""
        for process in self.started:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()

    async def __call__(
        self, *arguments: str, given: str = "", cwd: Path | None = None, within: float = HANGS.total_seconds()
    ) -> Result:
        """Run a command to its end."""
        process = await self.start(*arguments, cwd=cwd)
        return await finish(process, given, within)


async def finish(process: Process, given: str = "", within: float = HANGS.total_seconds()) -> Result:
    """Wait for the end of a command; one that does not come is a failure."""
    try:
        out, err = await asyncio.wait_for(process.communicate(given.encode()), within)
    except TimeoutError:
        process.send_signal(signal.SIGKILL)
        out, err = await process.communicate()
        pytest.fail(f"the command did not end within {within} s\n{out.decode()}\n{err.decode()}")
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


@pytest_asyncio.fixture(loop_scope="session")
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    """The command with a home of its own and no key."""
    command = Cli(tmp_path / "home")
    yield command
    await command.end()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit: the sample project."""
    path = tmp_path / "orders"
    make_repository(path)
    return path


@pytest_asyncio.fixture(loop_scope="session")
async def standin() -> AsyncIterator[StandIn]:
    """The demo's scripted model, without its pauses."""
    async with serve_scenario(load_scenario("demo").model_copy(update={"seconds": 0.0})) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="session")
async def scripted(tmp_path: Path, standin: StandIn) -> AsyncIterator[Cli]:
    """The command with the scripted model behind it."""
    command = Cli(tmp_path / "home", ANTHROPIC_BASE_URL=standin.base_url, ANTHROPIC_API_KEY="sk-ant-scripted-key-0000")
    yield command
    await command.end()


@pytest.fixture
def empty_repository(tmp_path: Path) -> Path:
    """A git repository without a commit."""
    path = tmp_path / "empty"
    pygit2.init_repository(str(path), initial_head="main")
    return path


def nothing_runs(home: Path) -> bool:
    """Whether no process mentions this home any more: neither keeper, server nor worker."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if str(home).encode() in (entry / "cmdline").read_bytes():
                    return False
            except OSError:
                continue
    return True
