"""The cost of waiting runs: many with an open decision on one worker, then some that work beside them.

    python -m benchmarks.waiting
    python -m benchmarks.waiting --waiting 200 --working 20 --watch 60

Measured: the worker's memory; processor time of worker and server in a stretch in which nothing but waiting goes on,
and what was added to the histories in it; and how long the working runs take, without and with the waiting ones.
"""

import argparse
import asyncio
import time

from temporalio.client import WorkflowHandle

from baton import identifiers
from baton.records.run import RunDocument, RunRequest
from benchmarks.runs import await_run, make_script
from benchmarks.scene import BenchmarkScene, describe_machine, open_scene
from standin.script.scenario import ScriptedStep
from tests.support.repositories import make_repository
from tests.support.scripts import escalate
from workflows.pipeline import Pipeline

_ASKS = "Which database?"
_AT_ONCE = 20
"""Runs that are started at the same time, so that what is measured afterwards is not their start."""

Handle = WorkflowHandle[Pipeline, RunDocument]


async def start_runs(place: BenchmarkScene, run: str, task: str) -> Handle:
    """A run on a repository of its own."""
    repo = make_repository(place.directory / run)
    request = RunRequest(task=task, repo=str(repo), turns=30)
    return await place.client.start_workflow(Pipeline.run, request, id=run, task_queue=identifiers.TASK_QUEUE)


async def until_waiting(handle: Handle) -> None:
    """Return when the run waits for its decision."""
    while (await handle.query(Pipeline.status))["status"] != "waiting":
        await asyncio.sleep(0.2)


async def count_events(handles: list[Handle]) -> int:
    """Events in all histories together."""
    descriptions = await asyncio.gather(*(handle.describe() for handle in handles))
    return sum(described.history_length for described in descriptions)


async def read_work(place: BenchmarkScene, kind: str, count: int) -> float:
    """Seconds for so many working runs at once."""
    began = time.monotonic()
    handles = {f"{kind}-{number}": await start_runs(place, f"{kind}-{number}", "work") for number in range(count)}
    await asyncio.gather(*(await_run(handle, place.directory / run, run) for run, handle in handles.items()))
    return time.monotonic() - began


async def main(waiting: int, working: int, watch: float) -> None:
    """Measure, and print."""
    played = make_script(10, 1)
    asks = ScriptedStep(
        role="orchestrator", contains="wait for me", turn=1, calls=[escalate(_ASKS, "postgres", "sqlite")]
    )
    async with open_scene(played.model_copy(update={"steps": [asks, *played.steps]})) as place, place.run_worker():
        alone = await read_work(place, "alone", working)
        before = place.read_memory()[0]
        handles: list[Handle] = []
        for first in range(0, waiting, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, waiting))
            some = [await start_runs(place, f"waits-{number}", "wait for me") for number in numbers]
            await asyncio.gather(*map(until_waiting, some))
            handles += some
        # The last state is written a moment after a run has begun to wait.
        await asyncio.sleep(5)
        held = place.read_memory()[0]
        length, used = await count_events(handles), place.read_use()
        await asyncio.sleep(watch)
        spent, grown = place.read_use() - used, await count_events(handles) - length
        beside = await read_work(place, "beside", working)
        print(f"{waiting} waiting runs on one worker ({describe_machine()})")
        print(
            f"  worker's memory: {before:.0f} MB without them, {held:.0f} MB with,"
            f" {place.read_memory()[1]:.0f} MB at its highest"
        )
        print(
            f"  {watch:.0f} s of waiting: {grown} events in all histories; processor time: worker"
            f" {spent.worker / watch / 10:.2f} %, server {spent.server / watch / 10:.2f} % of one core"
        )
        print(f"  {working} working runs: {alone:.1f} s before, {beside:.1f} s beside them")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=200)
    parser.add_argument("--working", type=int, default=20)
    parser.add_argument("--watch", type=float, default=30.0, help="seconds in which nothing but waiting goes on")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.waiting, arguments.working, arguments.watch))
