"""Escalation: what goes into the record, when the orchestrator answers, when a person is asked."""

import json

from baton.identifiers import run_ref
from baton.records.run import Decide, RunStatus, TaskState
from standin.script.scenario import ScriptedCall, ScriptedStep
from tests.support.repositories import git
from tests.support.scripts import (
    bash,
    escalate,
    made,
    plan,
    reviewed,
    scenario,
    session,
    simple_task,
    task,
    tested,
    write,
)
from workflows.pipeline import Pipeline


def guides(text: str, *, round_number: int = 2) -> list[ScriptedStep]:
    """The orchestrator answers a report with guidance."""
    answer = ScriptedCall("hand_off", {"action": "guide", "guidance": text, "reason": "The repository says so."})
    return session("orchestrator", "plan", [[answer]], round_number=round_number)


def stuck(error_type: str, *, architectural: bool) -> ScriptedCall:
    call = escalate("Which table?", "orders", "purchases", error_type=error_type)
    return ScriptedCall("escalate", {**call.input, "architectural": architectural})


async def test_the_orchestrator_answers_once_and_the_session_goes_on(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session(
            "backend",
            "t1",
            [
                [bash("echo 'psycopg: connection refused, postgresql://app:hunter2@db/shop' >&2; exit 1")],
                [stuck("unclear", architectural=False)],
                [stuck("unclear", architectural=False)],
                [write("src/table.txt", "orders\n"), made()],
            ],
        ),
        guides("Use the table orders."),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        report = next(r.body for r in stage.standin.requests if (r.role, r.round) == ("orchestrator", 2))
        answered = next(r.body for r in stage.standin.requests if (r.role, r.turn) == ("backend", 3))
        # The second time it is for a person: the orchestrator answers once.
        assert [d.id for d in waiting.decisions] == ["D1"]
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="orders", note="as ever"))
        document = await stage.outcome(handle)
        last = next(r.body for r in stage.standin.requests if (r.role, r.turn) == ("backend", 4))

    assert document.status is RunStatus.DONE, document
    assert "Which table?" in json.dumps(report)
    assert "database connection" in json.dumps(report)
    assert "Use the table orders." in json.dumps(answered["messages"][-1])
    assert "The person decided: orders. as ever" in json.dumps(last["messages"][-1])
    first, second = document.errors
    assert first.resolution == "guided by the orchestrator"
    assert first.context["class"] == "database connection"
    assert first.context["database_url"] == "postgresql://app:***@db/shop"
    assert "The repository says so." in first.context["orchestrator"]
    assert second.resolution == "answered: orders"
    assert "hunter2" not in document.model_dump_json()
    # No turn was taken twice: the conversation went on where it stood.
    turns = [turn for (_, _, _, turn) in stage.asked("backend")]
    assert turns == [1, 2, 3, 4]


async def test_architecture_goes_to_a_person_at_once_and_the_rest_goes_on(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("a"), task("b"), task("c", depends_on=["a"])),
        session("backend", "a", [[stuck("architecture", architectural=True)]]),
        simple_task("b", write("src/b.txt", "b\n")),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        states = {t.id: t.state for t in waiting.tasks}
        assert states == {"a": TaskState.WAITING, "b": TaskState.DONE, "c": TaskState.PENDING}
        assert [(r.role, r.round) for r in stage.standin.requests if r.role == "orchestrator"] == [("orchestrator", 1)]
        assert waiting.errors[0].context["orchestrator"] == "passed on: the question is about architecture"
        assert waiting.decisions[0].choices == ["orders", "purchases", "retry", "skip", "abort"]
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="skip"))
        document = await stage.outcome(handle)
        store = await stage.store()
        head = await store.read_head(run_ref(stage.run))
        assert head is not None
        kept = json.loads(await store.read_file(head, "state.json") or b"")
        decisions = json.loads(await store.read_file(head, "decisions.json") or b"")
        asked = await handle.query(Pipeline.decisions)

    # Skipping a task skips what depends on it; what was done is published.
    assert {t.id: t.state.value for t in document.tasks} == {"a": "skipped", "b": "done", "c": "skipped"}
    assert document.status is RunStatus.DONE
    assert git(stage.repo, "show", f"{document.branch}:src/b.txt") == "b"
    assert kept == document.model_dump(mode="json")
    assert decisions == [decision.model_dump(mode="json") for decision in asked]
    assert kept["errors"][0]["timestamp"].endswith("Z")


async def test_a_gate_that_stays_red_asks_after_three_rounds(staged) -> None:  # type: ignore[no-untyped-def]
    refused = 'connection to server at "db", port 5432 failed: Connection refused'
    red = write("tests/pages.expect", f"src/pages.txt {refused}\n")
    rounds = [
        part
        for number in (1, 2, 3, 4)
        for part in (
            session("backend", "t1", [[write("src/pages.txt", f"try {number}\n")], [made()]], round_number=number),
            session("tester", "t1", [[red], [tested()]], round_number=number),
        )
    ]
    passes_on = ScriptedCall("hand_off", {"action": "ask_person", "guidance": "", "reason": "I would guess."})
    script = scenario(
        plan(task("t1")),
        *rounds,
        session("orchestrator", "plan", [[passes_on]], round_number=2),
        session("backend", "t1", [[write("src/pages.txt", f"{refused}\n")], [made()]], round_number=5),
        session("tester", "t1", [[tested()]], round_number=5),
        session("reviewer", "t1", [[reviewed()]], round_number=5),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        assert waiting.tasks[0].rounds == 3
        assert waiting.decisions[0].error_type == "gate_red"
        assert waiting.errors[0].context["orchestrator"] == "the orchestrator passed it on: I would guess."
        assert waiting.errors[0].context["exit_code"] == "1"
        assert waiting.errors[0].context["class"] == "database connection"
        # The orchestrator was told what the log looks like, and what is known to help.
        report = json.dumps(next(r.body for r in stage.standin.requests if (r.role, r.round) == ("orchestrator", 2)))
        assert "gate_red (database connection)" in report
        assert "Check the credentials in `.env`." in report
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry", note="twenty, please"))
        document = await stage.outcome(handle)
        brief = next(r.body for r in stage.standin.requests if (r.role, r.round) == ("backend", 4))
    assert document.status is RunStatus.DONE, document
    assert document.tasks[0].rounds == 5
    assert "twenty, please" in json.dumps(brief)
