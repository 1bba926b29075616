"""A rolling deployment: a worker with a new build joins while a run is open, takes over, and the run goes on."""

import pytest
from temporalio.client import Client

from baton.records.run import Decide, RunStatus
from tests.conftest import assert_eventually
from tests.pipelines.conftest import repo, staged  # noqa: F401
from tests.support.scripts import escalate, made, plan, reviewed, scenario, session, task, tested
from tests.support.worker_process import WorkerProcess
from workers.temporal_service import connect_service
from workflows.pipeline import Pipeline


@pytest.mark.server
async def test_an_open_run_goes_on_with_the_new_version(staged, tmp_path, settings) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[escalate("Which store?", "postgres", "sqlite")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    # A server of its own: a current version would hold for every other test on the shared one.
    own_server = settings.model_copy(update={"home": tmp_path / "server"})
    async with connect_service(own_server) as service, staged(script, worker=False) as stage:
        stage.client = service.client
        old, new = (
            WorkerProcess(stage.settings, service.address, tmp_path / "log", "--build-id", name, "--promote")
            for name in ("one", "two")
        )
        old.start()
        try:
            handle = await stage.start()
            await stage.until_waiting(handle)
            assert await version_of(service.client, stage.run) == "one"
            new.start()
            await assert_eventually(lambda: "version two serves" in (tmp_path / "log").read_text())
            assert old.stop() == 0
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="sqlite"))
            document = await stage.outcome(handle)
        finally:
            old.stop()
            new.stop()
        assert document.status is RunStatus.DONE, document
        assert await version_of(service.client, stage.run) == "two"
        assert [turn for *_, turn in stage.asked("backend")] == [1, 2]


async def version_of(client: Client, run: str) -> str:
    described = await client.get_workflow_handle(run).describe()
    return described.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id
