"""Many runs at once on one worker process: do all finish, how long does it take, and how much memory does it need?

    python -m benchmarks.runs --runs 20
    python -m benchmarks.runs --runs 10 50 200
    python -m benchmarks.runs --runs 20 --turns 30 --result-kb 20

Every run is a whole pipeline on a repository of its own: plan, a maker with files and shell, tester, gate, reviewer,
integration, branch. The model answers at once, so the machine is busier than any model would let it be.
"""

import argparse
import asyncio
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from baton import identifiers
from baton.records.run import RunRequest
from benchmarks.scene import BenchmarkScene, ProcessorUse, describe_machine, open_scene
from standin.script.scenario import Scenario, ScriptedCall, ScriptedStep
from tests.support.history_size import HistorySize, read_history_size
from tests.support.repositories import make_repository
from tests.support.scripts import made, plan, reviewed, scenario, task, tested
from workflows.pipeline import Pipeline

_LOOK = 0.25
"""Seconds between two looks at the worker's memory."""


def make_script(turns: int, result_kb: int) -> Scenario:
    """A maker that writes a file in one turn and runs a command in the next."""
    size = max(1, result_kb * 1_000)
    shell = ScriptedCall("Bash", {"command": f"head -c {size} /dev/zero | tr '\\0' x; echo ${{turn}} > src/turn.txt"})
    file = ScriptedCall("Write", {"file_path": "src/file.txt", "content": "turn ${turn}\n"})
    steps = [
        ScriptedStep(role="backend", turn=turns + 1, calls=[made()]),
        *(ScriptedStep(role="backend", turn=turn, calls=[shell if turn % 2 else file]) for turn in range(1, turns + 1)),
        ScriptedStep(role="tester", repeat="always", calls=[tested()]),
        ScriptedStep(role="reviewer", repeat="always", calls=[reviewed()]),
    ]
    return scenario(plan(task("t1")), steps)


async def watch_memory(place: BenchmarkScene, seen: list[float]) -> None:
    """Note the worker's memory until told to stop."""
    while True:
        seen.append(place.read_memory()[0])
        await asyncio.sleep(_LOOK)


async def await_run(handle: WorkflowHandle[Any, Any], repo: Path, run: str) -> float:
    """Wait for a run to end; seconds it took. Its branch must be there."""
    began = time.monotonic()
    await handle.result()
    subprocess.run(
        ["git", "-C", str(repo), "rev-parse", "--verify", "-q", f"baton/{run}"], check=True, capture_output=True
    )
    return time.monotonic() - began


@dataclass(frozen=True)
class RunsMeasured:
    """The figures of several runs at once."""

    runs: int
    turns: int
    refused: int
    seconds: float
    median_run: float
    idle_mb: float
    median_mb: float
    highest_mb: float
    used: ProcessorUse
    histories: HistorySize
    """Of one of the runs."""

    @property
    def turns_a_second(self) -> float:
        """Throughput."""
        return self.turns / self.seconds


async def measure_runs(runs: int, turns: int, result_kb: int) -> RunsMeasured:
    """Run them all at once; every branch must be there afterwards."""
    async with open_scene(make_script(turns, result_kb)) as place, place.run_worker():
        repos = {f"bench-{number}": make_repository(place.directory / f"repo{number}") for number in range(runs)}
        idle = place.read_memory()[0]
        seen: list[float] = []
        watching = asyncio.create_task(watch_memory(place, seen))
        before, began = place.read_use(), time.monotonic()
        handles = {
            run: await place.client.start_workflow(
                Pipeline.run,
                RunRequest(task="Benchmark", repo=str(repo), turns=turns + 10),
                id=run,
                task_queue=identifiers.TASK_QUEUE,
            )
            for run, repo in repos.items()
        }
        took = await asyncio.gather(*(await_run(handle, repos[run], run) for run, handle in handles.items()))
        whole, used = time.monotonic() - began, place.read_use() - before
        watching.cancel()
        requests = await place.read_requests()
        histories = await read_history_size(place.client, "bench-0")
        return RunsMeasured(
            runs=runs,
            turns=len(requests),
            refused=sum(record["status"] != 200 for record in requests),
            seconds=whole,
            median_run=statistics.median(took),
            idle_mb=idle,
            median_mb=statistics.median(seen),
            highest_mb=place.read_memory()[1],
            used=used,
            histories=histories,
        )


async def main(counts: list[int], turns: int, result_kb: int) -> None:
    """Measure each number of runs by itself, and print."""
    for count in counts:
        load = describe_machine()
        found = await measure_runs(count, turns, result_kb)
        print(
            f"{found.runs} runs at once, {found.turns} turns, all finished, {found.refused} requests refused ({load})"
        )
        print(
            f"  {found.seconds:.1f} s in all, {found.median_run:.1f} s the median run,"
            f" {found.turns_a_second:.1f} turns a second"
        )
        print(
            f"  worker's memory: {found.idle_mb:.0f} MB idle, {found.median_mb:.0f} MB median,"
            f" {found.highest_mb:.0f} MB at its highest"
        )
        used = found.used
        print(
            f"  processor time: worker {used.worker / 1e3:.1f} s, commands {used.commands / 1e3:.1f} s,"
            f" server {used.server / 1e3:.1f} s, stand-in {used.standin / 1e3:.1f} s"
        )
        print(f"  histories of one run: {found.histories}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[20], help="one number or several: 10 50 200")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--result-kb", type=int, default=1, help="size of the result of each shell command")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.runs, arguments.turns, arguments.result_kb))
