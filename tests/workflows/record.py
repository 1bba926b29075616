"""Records the histories that `test_replay.py` replays: `python -m tests.workflows.record [NAME ...]`.

Run it when a change of the workflows is meant to be incompatible with runs under way, which is never after a release:
then a change is guarded by `workflow.patched`, and the old histories stay.
"""

import asyncio
import socket
import sys
import tempfile
from pathlib import Path

from pydantic import SecretStr
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from baton import identifiers
from baton.settings.core import read_settings
from standin.server.server import serve_scenario
from tests.pipelines.conftest import Stage
from tests.support.github.npm import install
from tests.support.github.opening import app_settings, open_forge, open_world
from tests.support.repositories import make_repository
from tests.workflows import histories
from tests.workflows.runs import ON_GITHUB, RUNS, Recorded, RecordedOnGitHub
from workers.embedded.server import find_temporal
from workers.host_id import read_host_id
from workers.search_attributes import ensure_search_attributes

_SUGGEST_AFTER = 34
"""Events after which the recording server suggests to continue as new: a turn has six. In earnest it is some 4,000."""


async def record(run: Recorded, env: WorkflowEnvironment, place: Path) -> list[WorkflowHistory]:
    """Carry a run out and fetch the histories of all its workflows, the pipeline's first."""
    repo = make_repository(place / run.name / "shop")
    settings = read_settings(home=place / run.name / "home", api_key=SecretStr("sk-ant-recording"))
    async with serve_scenario(run.script) as standin:
        settings = settings.model_copy(update={"base_url": standin.base_url})
        stage = Stage(env.client, settings, standin, repo, f"recorded-{run.name}")
        async with stage.worker() as worker:
            await run.play(stage)
    names = {
        str(place / run.name): "/srv/baton",
        standin.base_url: "https://api.example.org",
        worker.queue: "baton-ws-recorded",
        socket.gethostname(): "host",
    }
    found = await _histories(env, stage.run, run.workflows)
    return [histories.neutral(history, names) for history in found]


async def record_on_github(run: RecordedOnGitHub, env: WorkflowEnvironment, place: Path) -> list[WorkflowHistory]:
    """Carry a run out for an issue; the histories of its deliveries come last."""
    place = place / run.name
    place.mkdir()
    async with open_forge(install(), place) as forge:
        settings = app_settings(read_settings(home=place / "home"), forge).model_copy(update={"github_quiet": 0.5})
        async with open_world(env.client, settings, forge, place, run.script, name="shop") as world:
            await run.play(world)
    names = {
        forge.address: "https://github.example.org",
        world.standin.base_url: "https://api.example.org",
        identifiers.host_queue(read_host_id(settings.home)): "baton-ws-recorded",
        socket.gethostname(): "host",
    }
    found = await _histories(env, world.run_id(1), 0)
    deliveries = [execution.id async for execution in env.client.list_workflows("WorkflowType = 'Delivery'")]
    found += [await env.client.get_workflow_handle(delivery).fetch_history() for delivery in sorted(deliveries)]
    assert len(found) == run.workflows, f"{run.name} has {len(found)} executions: {deliveries}"
    return [histories.neutral(history, names) for history in found]


async def _histories(env: WorkflowEnvironment, run: str, count: int) -> list[WorkflowHistory]:
    """All executions of a run; the list of them is a moment behind. Without a count, as many as there are."""
    query = f'WorkflowId = "{run}" OR WorkflowId STARTS_WITH "{run}/"'
    if not count:
        await asyncio.sleep(2)
    executions = []
    for _ in range(100):
        executions = [execution async for execution in env.client.list_workflows(query)]
        if len(executions) >= count and all(execution.close_time for execution in executions):
            break
        await asyncio.sleep(0.1)
    assert count in (0, len(executions)), f"{run} has {len(executions)} executions: {[e.id for e in executions]}"
    executions.sort(key=lambda execution: (execution.id, execution.start_time))
    return [
        await env.client.get_workflow_handle(execution.id, run_id=execution.run_id).fetch_history()
        for execution in executions
    ]


async def main(wanted: list[str]) -> None:
    """Record the named runs, or all of them."""
    extra = ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={_SUGGEST_AFTER}"]
    with tempfile.TemporaryDirectory(prefix="baton-record-") as place:
        async with await WorkflowEnvironment.start_local(
            data_converter=pydantic_data_converter,
            dev_server_existing_path=str(find_temporal()),
            dev_server_extra_args=extra,
        ) as env:
            await ensure_search_attributes(env.client)
            for run in RUNS:
                if not wanted or run.name in wanted:
                    _keep(run.name, await record(run, env, Path(place)))
            for issue in ON_GITHUB:
                if not wanted or issue.name in wanted:
                    _keep(issue.name, await record_on_github(issue, env, Path(place)))


def _keep(name: str, found: list[WorkflowHistory]) -> None:
    histories.write(name, found)
    print(f"{name}: {(histories.FOLDER / f'{name}.json.gz').stat().st_size:,} bytes")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
