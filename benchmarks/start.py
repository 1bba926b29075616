"""How long commands take to be there: `baton --help`, `baton list`, a worker that polls, the embedded server.

python -m benchmarks.start
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from baton.settings.core import read_settings
from benchmarks.scene import describe_machine, open_scene
from tests.support.scripts import plan, scenario
from workers.temporal_service import connect_service

_BATON = str(Path(sys.executable).with_name("baton"))
_TIMES = 7


def time_calls(command: list[str], **env: str) -> Callable[[], None]:
    """Time a command that runs to its end."""

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=os.sep, env={**os.environ, **env})

    return run


def time_command(action: Callable[[], None]) -> float:
    """Median of some runs, after a first one that is not counted."""
    action()
    taken = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


async def main() -> None:
    """Measure and print."""
    rows = {
        "python -c pass (yardstick)": time_command(time_calls([sys.executable, "-c", "pass"])),
        "python -c 'import anthropic, temporalio.worker'": time_command(
            time_calls([sys.executable, "-c", "import anthropic, temporalio.worker"])
        ),
        "baton --help": time_command(time_calls([_BATON, "--help"])),
        "baton run --help": time_command(time_calls([_BATON, "run", "--help"])),
    }
    servers, workers = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory(prefix="baton-bench-") as home:
            began = time.perf_counter()
            async with connect_service(read_settings(home=Path(home)), embedded_only=True):
                servers.append(time.perf_counter() - began)
        async with open_scene(scenario(plan())) as place:
            began = time.perf_counter()
            async with place.run_worker():
                workers.append(time.perf_counter() - began)
            environment = place.make_environment()
            rows["baton list: against a server that runs"] = await asyncio.to_thread(
                time_command, time_calls([_BATON, "list"], **environment)
            )
    rows["embedded server: from nothing to connected"] = statistics.median(servers)
    rows["baton worker: from its start to polling"] = statistics.median(workers)
    print(f"seconds, median ({describe_machine()})")
    for name, value in rows.items():
        print(f"  {name:50} {value:6.2f}")


if __name__ == "__main__":
    asyncio.run(main())
