"""A run that goes on from another one: what was done and paid for there is taken over, and only the rest is done."""

import pytest

from baton.errors import UsageError
from baton.identifiers import TASK_QUEUE
from baton.records.run import Fork, Guide, RunDocument, RunRequest, RunStatus, TaskState
from standin.script.scenario import Scenario
from tests.pipelines.conftest import Stage
from tests.support.repositories import git
from tests.support.scripts import made, plan, reviewed, scenario, session, simple_task, task, tested, write
from workflows.pipeline import Pipeline
from workspaces.checkpoints.fork_points import resolve_fork


def script() -> Scenario:
    """Two tasks, the second on top of the first; the second maker takes three turns."""
    second = [[write("web/one.txt", "one\n")], [write("web/two.txt", "two\n")], [made()]]
    return scenario(
        plan(task("t1"), task("t2", role="frontend", depends_on=["t1"])),
        simple_task("t1", write("src/first.txt", "first\n")),
        session("frontend", "t2", second),
        session("tester", "t2", [[tested()]]),
        session("reviewer", "t2", [[reviewed()]]),
    )


async def forked(stage: Stage, run: str, fork: Fork, **changes: object) -> RunDocument:
    """Fork the stage's run and wait for the end."""
    request = RunRequest.model_validate({"task": "Add a feature", "repo": str(stage.repo), "fork": fork, **changes})
    handle = await stage.client.start_workflow(
        Pipeline.run,
        request,
        id=run,
        task_queue=TASK_QUEUE,
        start_signal="guide",
        start_signal_args=[Guide(text="Mind the footer.")],
    )
    return await stage.outcome(handle)


async def test_a_fork_within_a_session_goes_on_after_that_turn(staged) -> None:  # type: ignore[no-untyped-def]
    async with staged(script()) as stage:
        first = await stage.finish()
        assert first.status is RunStatus.DONE, first
        before, paid = len(stage.standin.requests), stage.standin.cost_usd
        fork = Fork(run=stage.run, task="t2", session="1-frontend", turn=1)
        second = await forked(stage, f"{stage.run}-f", fork, models={"reviewer": "haiku"})
        requests = stage.standin.requests[before:]

        assert second.status is RunStatus.DONE, second
        assert [(t.id, t.state) for t in second.tasks] == [("t1", TaskState.DONE), ("t2", TaskState.DONE)]
        # Neither the plan nor the first task nor the turn that was kept is asked for again.
        assert [(r.task, r.role, r.turn) for r in requests] == [
            ("t2", "frontend", 2),
            ("t2", "frontend", 3),
            ("t2", "tester", 1),
            ("t2", "reviewer", 1),
        ]
        assert second.cost_usd == pytest.approx(stage.standin.cost_usd - paid)
        assert second.cost_usd < first.cost_usd
        assert second.models == {**first.models, "reviewer": "claude-haiku-5-5"}
        assert second.forked_from == fork
        assert second.base_commit == first.base_commit
        trees = [git(stage.repo, "rev-parse", f"baton/{run}^{{tree}}") for run in (stage.run, f"{stage.run}-f")]
        assert trees[0] == trees[1]
        # The message that came with the start is the first thing that the forked session hears.
        assert "Mind the footer." in str(requests[0].body)


async def test_a_fork_of_the_plan_does_all_tasks_anew(staged) -> None:  # type: ignore[no-untyped-def]
    async with staged(script()) as stage:
        first = await stage.finish()
        before = len(stage.standin.requests)
        second = await forked(stage, f"{stage.run}-f", Fork(run=stage.run))
        third = await forked(stage, f"{stage.run}-g", Fork(run=f"{stage.run}-f", task="t2", session="1-reviewer"))
        requests = stage.standin.requests[before:]

        assert (first.status, second.status, third.status) == ("done", "done", "done")
        assert [r.run for r in requests] == [f"{stage.run}-f"] * 9 + [f"{stage.run}-g"]
        assert "orchestrator" not in {r.role for r in requests}
        # A fork can be forked, and from a review on only the review is made again.
        assert requests[-1].role == "reviewer"
        assert third.head_commit is not None
        assert third.tasks[0].commit == second.tasks[0].commit

        store = await stage.store()
        for wrong, words in (
            (Fork(run=stage.run, task="t9"), "has no task 't9'; its plan has: t1, t2"),
            (Fork(run=stage.run, task="t1", session="1-frontend"), "for instance 1-backend"),
            (Fork(run=stage.run, task="t1", session="2-backend"), "has no session 2-backend"),
            (Fork(run=stage.run, task="t1", turn=99), "has no turn 99 of the session 1-backend"),
        ):
            with pytest.raises(UsageError, match=words):
                await resolve_fork(store, wrong)
        lost = await forked(stage, f"{stage.run}-h", Fork(run=stage.run, task="t9"))
        assert lost.status is RunStatus.FAILED
        assert "has no task 't9'" in lost.notes[-1]
