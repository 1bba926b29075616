"""A schedule of Temporal's own starts runs: it appends a time with colons to the workflow id."""

import subprocess
from datetime import timedelta

from temporalio.client import (
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleSpec,
)

from baton import identifiers
from baton.records.run import RunRequest, RunStatus
from interfaces.cli.runs.stored_run import find_run
from tests.conftest import assert_eventually
from tests.support.scripts import made, plan, reviewed, scenario, session, task, tested, write
from workflows.pipeline import Pipeline


async def test_a_schedule_of_temporals_starts_a_run(staged) -> None:  # type: ignore[no-untyped-def]
    played = scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/one.txt", "one\n")], [made()]]),
        session("tester", "t1", [[write("tests/one.expect", "src/one.txt one\n"), tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(played) as stage:
        action = ScheduleActionStartWorkflow(
            Pipeline.run,
            RunRequest(task="Add a feature", repo=str(stage.repo)),
            id=stage.run,
            task_queue=identifiers.TASK_QUEUE,
        )
        spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=365))])
        schedule = await stage.client.create_schedule(f"schedule-{stage.run}", Schedule(action=action, spec=spec))
        started: list[str] = []

        async def begun() -> bool:
            actions = (await schedule.describe()).info.recent_actions
            assert all(isinstance(one.action, ScheduleActionExecutionStartWorkflow) for one in actions)
            started[:] = [one.action.workflow_id for one in actions]
            return bool(started)

        try:
            await schedule.trigger()
            await assert_eventually(begun)
            (run,) = started
            assert run.startswith(f"{stage.run}-20")
            assert ":" in run
            document = await stage.outcome(stage.client.get_workflow_handle_for(Pipeline.run, run))
        finally:
            await schedule.delete()
        assert document.status is RunStatus.DONE, document
        assert document.run == run
        assert document.branch == identifiers.branch_name(run) == f"baton/{run.replace(':', '+')}"
        shown = ["git", "-C", str(stage.repo), "show", f"{document.branch}:src/one.txt"]
        assert subprocess.run(shown, check=True, capture_output=True, text=True).stdout == "one\n"
        for name in (run, identifiers.run_key(run)):
            archive = await find_run(stage.settings.home, name)
            assert (await archive.read_document()).run == run
            assert await archive.read_transcript("t1")
