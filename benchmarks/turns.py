"""Overhead of the engine per turn, and what a turn leaves in the history: real server, worker, git and sandbox.

    python -m benchmarks.turns                 # shell and file turns, 60 each
    python -m benchmarks.turns --turns 500 --result-kb 20

The model answers at once (scripted), so what is left is the engine: scheduling, workspace, tools, checkpoint, HTTP.
"""

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle

from baton import naming
from baton.contracts import RunRequest
from baton.settings import Settings, read_settings
from standin.scenario import Call, Scenario, Step
from standin.server import serve
from tests.pipelines.repositories import make_repository
from tests.pipelines.scripts import made, plan, reviewed, scenario, task, tested
from workers.service import temporal_service
from workers.worker import running_worker
from workflows.pipeline import Pipeline

FILE_CALL = Call("Write", {"file_path": "src/turn.txt", "content": "turn ${turn}\n"})
SHELL_CALL = Call("Bash", {"command": "echo ${turn} > src/turn.txt"})


def script(call: Call, turns: int) -> Scenario:
    """A backend session of this many turns with the same call."""
    steps = [
        Step(role="backend", task="t1", turn=turns + 1, calls=[made()]),
        Step(role="backend", task="t1", repeat=turns, calls=[call]),
        Step(role="tester", calls=[tested()]),
        Step(role="reviewer", calls=[reviewed()]),
    ]
    return scenario(plan(task("t1")), steps)


async def measure(client: Client, settings: Settings, call: Call, turns: int, name: str, directory: Path) -> None:
    """Run one session and print its figures."""
    repo = make_repository(directory / name)
    async with serve(script(call, turns)) as standin:
        own = settings.model_copy(update={"base_url": standin.base_url, "api_key": SecretStr("sk-ant-benchmark")})
        async with running_worker(client, own):
            run = f"bench-{name}"
            handle = await client.start_workflow(
                Pipeline.run,
                RunRequest(task="Benchmark", repo=str(repo), turns=turns + 10),
                id=run,
                task_queue=naming.TASK_QUEUE,
            )
            await handle.result()
            await report(client.get_workflow_handle(f"{run}/t1/1-backend"), turns, name)


async def report(session: WorkflowHandle[Any, Any], turns: int, name: str) -> None:
    """Time between the completions of two turns in a row, events and bytes a turn."""
    completed: list[float] = []
    events: list[int] = []
    size = 0
    async for event in session.fetch_history_events():
        size += event.ByteSize()
        events.append(event.event_id)
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            completed.append(event.event_time.ToNanoseconds() / 1e6)
    gaps = [after - before for before, after in zip(completed[1:], completed[2:], strict=False)]
    tenth = max(1, len(gaps) // 10)
    print(
        f"{name:8} {turns:4} turns: median {statistics.median(gaps):6.1f} ms a turn"
        f" (first tenth {statistics.median(gaps[:tenth]):.1f}, last tenth {statistics.median(gaps[-tenth:]):.1f}),"
        f" {len(events) / (turns + 1):.2f} events and {size / (turns + 1):.0f} bytes a turn"
    )


async def main(turns: int, result_kb: int) -> None:
    """Measure file turns and shell turns side by side."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as name:
        directory = Path(name)
        settings = read_settings(home=directory / "home")
        async with temporal_service(settings) as service:
            shell = SHELL_CALL
            if result_kb:
                shell = Call("Bash", {"command": f"head -c {result_kb * 1000} /dev/zero | tr '\\0' x; echo ${{turn}}"})
            await measure(service.client, settings, FILE_CALL, turns, "file", directory)
            await measure(service.client, settings, shell, turns, "shell", directory)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--result-kb", type=int, default=0, help="size of each tool result of the shell turns")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.turns, arguments.result_kb))
