"""The wall clock of the worker's machine jumps by a day, forwards or backwards, in the middle of a run."""

import asyncio
import shutil
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from baton.records.run import RunStatus
from tests.conftest import assert_eventually
from tests.faults.conftest import Scenes
from tests.faults.scene import FaultScene, script
from tests.support.forked import inherited_environment

DAY = 86_400


class Clock:
    """The shift of a process's wall clock, in seconds."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "shift"
        self._library = directory / "clock.so"
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("a C compiler is needed to shift the clock of one process")
        source = Path(__file__).with_name("clock.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source)], check=True)
        self.set(0)

    def set(self, seconds: int) -> None:
        """Shift by so many seconds from now on."""
        # In place: the process has the file mapped.
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))

    def environment(self) -> dict[str, str]:
        """What the process needs to live by this clock."""
        return {"LD_PRELOAD": str(self._library), "CLOCK_SHIFT": str(self._path)}


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@asynccontextmanager
async def worker(scene: FaultScene, clock: Clock) -> AsyncIterator[None]:
    """`baton worker` under this clock."""
    with (scene.directory / "worker.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from interfaces.cli.main import main; main()", "worker"),
            cwd=Path(__file__).parents[2],
            env=inherited_environment(**scene.environment, **clock.environment()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


def test_the_clock_is_shifted(clock: Clock) -> None:
    clock.set(DAY)
    program = "import time, datetime; print(time.time(), datetime.datetime.now().timestamp(), time.monotonic())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=clock.environment(), capture_output=True, text=True, check=True
    )
    shown = subprocess.run([sys.executable, "-c", program], env={}, capture_output=True, text=True, check=True)
    shifts = [float(one) - float(other) for one, other in zip(done.stdout.split(), shown.stdout.split(), strict=True)]
    assert [round(shift / 60) for shift in shifts] == [DAY / 60, DAY / 60, 0]


async def test_the_clock_is_wrong_and_jumps(scenes: Scenes, clock: Clock) -> None:
    """A day behind from the start, then two days forwards, then one backwards, in the middle of a turn each."""
    clock.set(-DAY)
    async with scenes("run", script(pause=1.5, thinking=1.5)) as scene, worker(scene, clock):
        handle = await scene.start_run()
        await assert_eventually(lambda: ("t1", "backend", 1, 2) in scene.asked())
        clock.set(DAY)
        await assert_eventually(lambda: any(scene.home.glob("workspaces/*/*/work/src/started")))
        clock.set(0)
        document = await scene.wait_for_document(handle)
        assert document.status is RunStatus.DONE, (document, scene.log())
        assert not document.errors
        assert not scene.repeated_requests()
