"""Plans that cannot be carried out go back to the orchestrator; one that insists becomes a person's decision."""

from typing import Any

from baton.records.run import Decide, DecisionState, RunStatus
from standin.script.scenario import ScriptedCall
from tests.support.repositories import git
from tests.support.scripts import plan, scenario, session, simple_task, task, write
from workflows.pipeline import Pipeline


def planned(*tasks: dict[str, Any]) -> list[ScriptedCall]:
    return [ScriptedCall("hand_off", {"summary": "A plan.", "tasks": list(tasks)})]


BAD: list[tuple[list[ScriptedCall], str]] = [
    (planned(task("a", depends_on=["b"]), task("b", depends_on=["c"]), task("c", depends_on=["a"])), "cycle"),
    (planned(task("a", depends_on=["a"])), "cycle"),
    (planned(task("a", role="gardener")), "backend"),
    (planned(task("a", role="reviewer")), "frontend"),
    (planned(), "at least one"),
    (planned(*(task(f"t{number}") for number in range(60))), "at most 30"),
    (planned(task("a"), task("A")), "unique"),
    (planned(task("../../etc")), "valid id"),
    (planned(task("run")), "reserved"),
    (planned(task("a", depends_on=["z"])), "no task 'z'"),
    (planned({**task("a"), "priority": "high"}), "priority"),
]
"""A plan, and a word of what the orchestrator is told about it."""


async def test_each_fault_of_a_plan_goes_back_in_words(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        session("orchestrator", "plan", [*(calls for calls, _ in BAD), plan(task("t1"))[0]]),
        simple_task("t1", write("src/x.txt", "x\n")),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        told = [r.body["messages"][-1]["content"] for r in stage.standin.requests if r.role == "orchestrator"][1:]

    assert document.status is RunStatus.DONE, document
    assert len(told) == len(BAD)
    for (result,), (_, word) in zip(told, BAD, strict=True):
        assert result["is_error"] is True
        assert word in result["content"]
        assert len(result["content"]) < 4_000
    assert [found.id for found in document.tasks] == ["t1"]
    assert document.errors == []
    assert git(stage.repo, "show", f"{document.branch}:src/x.txt") == "x"


async def test_an_orchestrator_that_insists_ends_in_a_decision(staged) -> None:  # type: ignore[no-untyped-def]
    cycle = planned(task("a", depends_on=["b"]), task("b", depends_on=["a"]))
    script = scenario(
        session("orchestrator", "plan", [cycle, cycle, cycle, plan(task("t1"))[0]]),
        simple_task("t1"),
    )
    async with staged(script) as stage:
        handle = await stage.start(turns=3)
        waiting = await stage.until_waiting(handle)
        (decision,) = waiting.decisions
        assert (decision.id, decision.task_id, decision.state) == ("D1", "plan", DecisionState.OPEN)
        assert "3 turns" in decision.question
        assert (waiting.tasks, waiting.branch) == ([], None)
        assert len(stage.standin.requests) == 3
        # More turns, and the same conversation goes on.
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="raise"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document
    assert stage.asked("orchestrator") == [("plan", "orchestrator", 1, turn) for turn in (1, 2, 3, 4)]
