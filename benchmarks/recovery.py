"""How soon work goes on after SIGKILL of the worker: when it is started again at once, and on another host.

    python -m benchmarks.recovery
    python -m benchmarks.recovery --repeat 9

The worker dies while a shell command of an agent runs. A new one is started at the same moment, as a supervisor would.
Measured from the kill: until it polls, until the killed step starts again, and how much longer the whole run takes than
one that nobody disturbs. The other host has a home of its own, is at work already, and gets the run through a state
remote: until the killed command runs there.
"""

import argparse
import asyncio
import dataclasses
import os
import signal
import statistics
import time
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from baton import identifiers
from baton.records.run import RunRequest
from benchmarks.scene import BenchmarkScene, describe_machine, open_scene
from standin.script.scenario import Scenario
from tests.support.repositories import git, make_repository
from tests.support.scripts import bash, made, plan, reviewed, scenario, session, task, tested
from workflows.pipeline import Pipeline

_PAUSE = 2.0
"""Seconds that the shell command takes."""


@dataclass(frozen=True)
class Recovery:
    """Seconds after the kill."""

    ready: float
    """The new worker polls."""
    again: float
    """The killed step has started again."""
    whole: float
    """Duration of the run, from its start."""


def make_script() -> Scenario:
    """One task; its maker runs a command, then hands off."""
    slow = bash(f"touch src/started; sleep {_PAUSE}; echo done > src/file.txt; rm src/started")
    return scenario(
        plan(task("t1")),
        session("backend", "t1", [[slow], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )


async def begin_run(place: BenchmarkScene, run: str) -> WorkflowHandle[Any, Any]:
    """Start a run on a repository of its own."""
    repo = make_repository(place.directory / run)
    return await place.client.start_workflow(
        Pipeline.run, RunRequest(task="Benchmark", repo=str(repo)), id=run, task_queue=identifiers.TASK_QUEUE
    )


async def started_again(place: BenchmarkScene, run: str, at: float) -> float:
    """When the step of the maker's session that was killed began again, in seconds since the epoch.

    As a further attempt, or put into the queue anew where no worker took that up at once.
    """
    maker = place.client.get_workflow_handle(identifiers.session_workflow_id(run, "t1", 1, "backend"))
    turns = set()
    async for event in maker.fetch_history_events():
        when = event.event_time.ToNanoseconds() / 1e9
        if event.activity_task_scheduled_event_attributes.activity_type.name == "take_turn":
            turns.add(event.event_id)
        begun = event.activity_task_started_event_attributes.scheduled_event_id
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED and when > at and begun in turns:
            return when
    raise RuntimeError(f"No step of {run} was tried again.")


async def measure_undisturbed(place: BenchmarkScene, number: int) -> float:
    """Return the duration of an undisturbed run."""
    began = time.time()
    await (await begin_run(place, f"undisturbed-{number}")).result()
    return time.time() - began


async def measure_kill(place: BenchmarkScene, number: int) -> Recovery:
    """Measure a run with its worker killed in the middle of a command."""
    run = f"killed-{number}"
    async with place.run_worker():
        began = time.time()
        handle = await begin_run(place, run)
        while not any(place.settings.home.glob(f"workspaces/{run}/t1/work/src/started")):
            await asyncio.sleep(0.01)
        at = time.time()
        os.kill(place.worker_id, signal.SIGKILL)
    async with place.run_worker():
        ready = time.time() - at
        await handle.result()
        whole = time.time() - began
    return Recovery(ready, await started_again(place, run, at) - at, whole)


async def taken_over(place: BenchmarkScene, number: int) -> float:
    """Seconds from the kill of one host's worker until the command that died with it runs on another host."""
    run, directory = f"taken-{number}", place.directory / f"hosts-{number}"
    directory.mkdir()
    remote = directory / "state.git"
    git(directory, "init", "-q", "--bare", str(remote))
    first, second = (
        dataclasses.replace(
            place,
            settings=place.settings.model_copy(update={"home": directory / name, "state_remote": str(remote)}),
        )
        for name in ("first", "second")
    )

    def at_work(host: BenchmarkScene) -> bool:
        return any(host.settings.home.glob(f"workspaces/{run}/t1/work/src/started"))

    async with first.run_worker(), second.run_worker():
        handle = await begin_run(place, run)
        while not at_work(first) and not at_work(second):
            await asyncio.sleep(0.01)
        dying, other = (first, second) if at_work(first) else (second, first)
        at = time.time()
        os.kill(dying.worker_id, signal.SIGKILL)
        while not at_work(other):
            await asyncio.sleep(0.01)
        took = time.time() - at
        await handle.result()
    return took


def format_times(values: list[float]) -> str:
    """Least, median and most."""
    return f"{min(values):6.1f}{statistics.median(values):8.1f}{max(values):6.1f}"


async def main(repeat: int) -> None:
    """Measure both side by side."""
    async with open_scene(make_script()) as place:
        calm: list[float] = []
        found: list[Recovery] = []
        taken: list[float] = []
        for number in range(repeat):
            async with place.run_worker():
                calm.append(await measure_undisturbed(place, number))
            found.append(await measure_kill(place, number))
            taken.append(await taken_over(place, number))
    print(f"seconds, {repeat} times ({describe_machine()})       least  median  most")
    print(f"new worker polls, after the kill         {format_times([one.ready for one in found])}")
    print(f"killed step starts again, after the kill {format_times([one.again for one in found])}")
    print(f"killed step starts again on another host {format_times(taken)}")
    print(f"whole run, undisturbed                   {format_times(calm)}")
    print(f"whole run, with the kill                 {format_times([one.whole for one in found])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    asyncio.run(main(parser.parse_args().repeat))
