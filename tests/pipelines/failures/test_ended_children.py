"""A task or a session that is ended from outside is a question, and goes on from its last checkpoint."""

import asyncio

import pytest

from baton.records.run import Decide, RunStatus
from standin.script.scenario import Fault, ScriptedStep
from tests.conftest import HANGS
from tests.support.scripts import bash, made, plan, scenario, session, simple_task, task
from workflows.pipeline import Pipeline


@pytest.mark.parametrize("child", ["t1", "t1/1-backend"])
async def test_it_goes_on_from_its_last_checkpoint(staged, child: str) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session(
            "backend",
            "t1",
            [
                [bash("echo one >> src/log.txt")],
                [bash("echo two >> src/log.txt")],
                ScriptedStep(calls=[made()], faults=[Fault(stall_after=1)]),
            ],
        ),
        simple_task("t1")[1:],
    )
    async with staged(script) as stage:
        handle = await stage.start()
        async with asyncio.timeout(HANGS.total_seconds()):
            while ("t1", "backend", 1, 3) not in stage.asked():
                await asyncio.sleep(0.05)
        await stage.client.get_workflow_handle(f"{stage.run}/{child}").terminate("by hand")
        waiting = await stage.until_waiting(handle)
        assert "was terminated" in waiting.decisions[0].question
        assert waiting.errors[-1].error in waiting.decisions[0].question
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
        document = await stage.outcome(handle)
        store = await stage.store()
        assert await store.read_file(str(document.head_commit), "src/log.txt") == b"one\ntwo\n"
        turns = [turn for _, role, _, turn in stage.asked() if role == "backend"]
    assert document.status is RunStatus.DONE, document
    # What was answered before is not asked again.
    assert turns in ([1, 2, 3, 3], [1, 2, 3])
