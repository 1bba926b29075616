"""In a forked run the orchestrator answers a task that is stuck, as in any run, also where it took no plan itself."""

import json

import pytest

from baton.identifiers import TASK_QUEUE
from baton.records.run import Decide, Fork, RunDocument, RunRequest, RunStatus
from standin.script.scenario import Fault, ScriptedCall, ScriptedStep
from tests.pipelines.conftest import Stage
from tests.support.repositories import git
from tests.support.scripts import escalate, made, plan, scenario, session, simple_task, task, write
from workflows.pipeline import Pipeline


def unclear(question: str) -> ScriptedCall:
    """A question that the orchestrator may answer."""
    call = escalate(question, "date", "price", error_type="unclear")
    return ScriptedCall("escalate", {**call.input, "architectural": False})


def guides(text: str) -> ScriptedStep:
    """The orchestrator's answer to any report."""
    answer = ScriptedCall("hand_off", {"action": "guide", "guidance": text, "reason": "The repository says so."})
    return ScriptedStep(role="orchestrator", contains="is stuck", calls=[answer], repeat="always")


def only(run: str, steps: list[ScriptedStep]) -> list[ScriptedStep]:
    """Steps of one run."""
    return [step.model_copy(update={"run": run}) for step in steps]


async def forked(stage: Stage, run: str, fork: Fork) -> RunDocument:
    """Fork a run and wait for the end."""
    request = RunRequest(task="Add a feature", repo=str(stage.repo), fork=fork)
    handle = await stage.client.start_workflow(Pipeline.run, request, id=run, task_queue=TASK_QUEUE)
    return await stage.outcome(handle)


async def test_a_fork_that_is_stuck_is_guided(staged, run_id: str) -> None:  # type: ignore[no-untyped-def]
    """Within a task, with the plan taken over, and in the fork of a fork."""
    within, again, planned = f"{run_id}-f", f"{run_id}-g", f"{run_id}-p"
    asks = [[unclear("By what?")], [write("src/two.txt", "two\n")], [made()]]
    second = [step.model_copy(update={"turn": number}) for number, step in enumerate(session("backend", "t1", asks), 2)]
    script = scenario(
        only(run_id, [*plan(task("t1")), *session("backend", "t1", [[write("src/one.txt", "one\n")], [made()]])]),
        *(only(run, second) for run in (within, again)),
        only(planned, session("backend", "t1", asks)),
        [guides("By price.")],
        [step.model_copy(update={"repeat": "always", "turn": None}) for step in simple_task("t1")[1:]],
    )
    async with staged(script) as stage:
        first = await stage.finish()
        assert first.status is RunStatus.DONE, first
        origin = Fork(run=run_id, task="t1", session="1-backend", turn=1)
        documents = [
            await forked(stage, within, origin),
            await forked(stage, again, origin.model_copy(update={"run": within})),
            await forked(stage, planned, Fork(run=within)),
        ]
        requests = stage.standin.requests

    for run, document in zip((within, again, planned), documents, strict=True):
        assert document.status is RunStatus.DONE, document
        assert document.decisions == [], document
        assert [error.resolution for error in document.errors] == ["guided by the orchestrator"]
        asked = [record for record in requests if (record.run, record.role) == (run, "orchestrator")]
        # The first round is the plan's, which was taken over.
        assert [(record.round, record.turn, record.status) for record in asked] == [(2, 1, 200)]
        assert any("By price." in json.dumps(r.body) for r in requests if (r.run, r.role) == (run, "backend"))


async def test_a_repair_in_a_fork_is_guided(staged, run_id: str) -> None:  # type: ignore[no-untyped-def]
    """A task that no plan has: the engine makes it, and it is stuck in its turn."""
    run = f"{run_id}-f"
    check = "[ ! -e src/a.txt ] || [ ! -e src/b.txt ] || [ -e src/bridge.txt ]\n"
    repair = [[unclear("Which bridge?")], [write("src/bridge.txt", "bridge\n")], [made()]]
    script = scenario(
        only(run_id, plan(task("a"), task("b"))),
        simple_task("a", write("src/a.txt", "a\n")),
        simple_task("b", write("src/b.txt", "b\n")),
        session("backend", "merge-repair", repair),
        simple_task("merge-repair")[1:],
        [guides("The old one.")],
    )
    async with staged(script) as stage:
        (stage.repo / "check.sh").write_text(check)
        git(stage.repo, "commit", "-qam", "Tasks need a bridge")
        first = await stage.finish()
        assert first.status is RunStatus.DONE, first
        document = await forked(stage, run, Fork(run=run_id, task="b", session="1-backend", turn=1))
    assert document.status is RunStatus.DONE, document
    assert [error.resolution for error in document.errors] == ["guided by the orchestrator"]


@pytest.mark.parametrize("fault", [Fault(status=400), Fault(status=401)], ids=["bytes", "key"])
async def test_an_answer_that_failed_keeps_no_later_one_away(staged, fault: Fault) -> None:  # type: ignore[no-untyped-def]
    """The turn that was refused has left a checkpoint in the orchestrator's lane; the next report is answered."""
    answer = guides("By price.").calls
    script = scenario(
        plan(task("t1"), task("t2", depends_on=["t1"])),
        session("backend", "t1", [[unclear("By what?")], [made()]]),
        session("backend", "t2", [[unclear("And here?")], [made()]]),
        session("orchestrator", "plan", [ScriptedStep(calls=answer, faults=[fault])], round_number=2),
        session("orchestrator", "plan", [answer], round_number=3),
        simple_task("t1")[1:],
        simple_task("t2")[1:],
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle, decision="D1")
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="price"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document
    assert len(document.decisions) == 1
    assert document.errors[1].resolution == "guided by the orchestrator"
