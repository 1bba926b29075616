"""The cost of a turn at zero model latency, and its events in the history: real server, worker, git and sandbox.

    python -m benchmarks.turns                           # file turns and shell turns, 60 each, twice in turn
    python -m benchmarks.turns --turns 500 --result-kb 20 --repeat 1
    python -m benchmarks.turns --home /dev/shm           # on a file system in memory: what is left is not the disk

The model answers at once (scripted). The stand-in's own work, which is no part of the engine, is told apart.
"""

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from baton import identifiers
from baton.records.run import RunRequest
from benchmarks.scene import BenchmarkScene, ProcessorUse, describe_machine, open_scene, session_script
from standin.script.scenario import ScriptedCall
from tests.support.history_size import HistorySize, read_history_size
from tests.support.repositories import make_repository
from workflows.pipeline import Pipeline

FILE_CALL = ScriptedCall("Write", {"file_path": "src/turn.txt", "content": "turn ${turn}\n"})
SHELL_CALL = ScriptedCall("Bash", {"command": "echo ${turn} > src/turn.txt"})

_NAMES = {
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED: "server hands out the workflow task",
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED: "workflow task",
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: "server hands out the turn",
    EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED: "take_turn",
}
_OPENING = 2
"""Turns that are not counted: the brief, and the first to make its workspace."""


@dataclass
class SessionTurns:
    """The turns of a session, in its history's own words."""

    times: list[float] = field(default_factory=list)
    """Milliseconds between the ends of two turns in a row."""
    events: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)


async def read_turns(session: WorkflowHandle[Any, Any]) -> SessionTurns:
    """Read a session's history."""
    turns = SessionTurns()
    ends: list[float] = []
    events = size = 0
    before: tuple[float, str | None] = (0.0, None)
    async for event in session.fetch_history_events():
        at = event.event_time.ToNanoseconds() / 1e6
        if before[1]:
            turns.stages.setdefault(before[1], []).append(at - before[0])
        before = at, _NAMES.get(event.event_type)
        events += 1
        size += event.ByteSize()
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            ends.append(at)
            turns.events.append(events)
            turns.sizes.append(size)
            events = size = 0
    turns.times = [after - end for end, after in pairwise(ends[_OPENING - 1 :])]
    return turns


async def run_session(
    place: BenchmarkScene, run: str, turns: int
) -> tuple[SessionTurns, float, ProcessorUse, HistorySize]:
    """Run one session: its turns, the stand-in's milliseconds in the median turn, processor time of a turn, histories.

    The histories are those of the whole run: pipeline, task and all four sessions.
    """
    repo = make_repository(place.directory / run)
    before = place.read_use()
    request = RunRequest(task="Benchmark", repo=str(repo), turns=turns + 10)
    handle = await place.client.start_workflow(Pipeline.run, request, id=run, task_queue=identifiers.TASK_QUEUE)
    await handle.result()
    used = place.read_use() - before
    asked = [record for record in await place.read_requests() if record["run"] == run and record["role"] == "backend"]
    standin = statistics.median(record["seconds"] * 1_000 for record in asked)
    session = place.client.get_workflow_handle(identifiers.session_workflow_id(run, "t1", 1, "backend"))
    whole = turns + 4  # the hand-offs of all four roles are turns, too
    each = ProcessorUse(used.worker / whole, used.commands / whole, used.server / whole, used.standin / whole)
    return await read_turns(session), standin, each, await read_history_size(place.client, run)


def compare_tenths(times: Sequence[float]) -> tuple[float, float]:
    """Medians of the first and of the last tenth."""
    count = max(1, len(times) // 10)
    return statistics.median(times[:count]), statistics.median(times[-count:])


def print_session(kind: str, turns: SessionTurns, standin: float, used: ProcessorUse, whole: HistorySize) -> None:
    """Print one session."""
    median = statistics.median(turns.times)
    first, last = compare_tenths(turns.times)
    print(
        f"{kind}: {len(turns.times)} turns, median {median:.1f} ms, of which the stand-in {standin:.1f}"
        f" ({describe_machine()})"
    )
    print(f"  engine {median - standin:.1f} ms; whole turn in the first tenth {first:.1f}, in the last {last:.1f}")
    for name, stage in turns.stages.items():
        print(f"    {name:36} {statistics.median(stage):6.1f}")
    print(
        f"  processor time a turn: worker {used.worker:.1f} ms, commands {used.commands:.1f}, server {used.server:.1f}"
        f" (stand-in {used.standin:.1f})"
    )
    events, size = sum(turns.events) / len(turns.events), sum(turns.sizes) / len(turns.sizes)
    tenth = min(10, len(turns.sizes) - 2)
    print(
        f"  history: {events:.2f} events and {size:.0f} bytes a turn; turn {tenth}: {turns.events[tenth - 1]} events,"
        f" {turns.sizes[tenth - 1]} bytes; turn {len(turns.sizes) - 1}: {turns.events[-2]} events,"
        f" {turns.sizes[-2]} bytes"
    )
    print(f"  histories of the whole run: {whole}")


async def main(count: int, result_kb: int, repeat: int, kinds: list[str], home: Path | None) -> None:
    """Measure the kinds of turns side by side."""
    calls = {"file": FILE_CALL, "shell": SHELL_CALL}
    if result_kb:
        words = f"head -c {result_kb * 1_000} /dev/zero | tr '\\0' x; echo ${{turn}} > src/turn.txt"
        calls["shell"] = ScriptedCall("Bash", {"command": words})
    seen: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(repeat):
        for kind in kinds:
            async with open_scene(session_script(calls[kind], count), home) as place, place.run_worker():
                turns, standin, used, whole = await run_session(place, f"bench-{kind}-{number}", count)
                print_session(kind, turns, standin, used, whole)
                seen[kind].append(statistics.median(turns.times) - standin)
    for kind, medians in seen.items():
        print(f"{kind}: engine {', '.join(f'{median:.1f}' for median in medians)} ms a turn (median of each session)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--result-kb", type=int, default=0, help="size of each tool result of the shell turns")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=["file", "shell"], default=["file", "shell"])
    parser.add_argument("--home", type=Path, help="directory to work in; the system's temporary one without it")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.turns, arguments.result_kb, arguments.repeat, arguments.kinds, arguments.home))
