"""`guide`: a person's message reaches the agent it is meant for, at its next turn, once, and nobody else."""

from typing import Any

import pytest

from baton.records.run import Decide, Guide, RunStatus, TaskState
from standin.script.scenario import Fault, ScriptedStep
from tests.conftest import assert_eventually
from tests.pipelines.conftest import Stage
from tests.support.scripts import bash, escalate, made, plan, scenario, session, simple_task, task, write
from workflows.pipeline import Pipeline
from workspaces.maintenance.verify import verify_store


def hearers(stage: Stage, text: str) -> list[tuple[Any, ...]]:
    """(task, role, turn) of the requests whose last message says this: the turns at which it was taken in."""
    return [
        (record.task, record.role, record.turn)
        for record in stage.standin.requests
        if record.body is not None and text in str(record.body["messages"][-1])
    ]


async def test_a_message_reaches_running_agents_at_their_next_turn(staged) -> None:  # type: ignore[no-untyped-def]
    # A hand-off beside a new message is not taken: the role is asked once more.
    work = [[bash("touch src/started; sleep 2; rm src/started")], [made()], [made()]]
    script = scenario(
        plan(task("t1"), task("t2"), task("t3", depends_on=["t1", "t2"])),
        session("backend", "t1", work),
        simple_task("t1")[1:],
        session("backend", "t2", work),
        simple_task("t2")[1:],
        simple_task("t3", write("src/t3.txt", "x\n")),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await assert_eventually(lambda: len(list(stage.settings.home.glob("workspaces/*/*/work/src/started"))) == 2)
        before = await handle.query(Pipeline.decisions)
        await handle.signal(Pipeline.guide, Guide(text="MEANT-FOR-T1", task_id="t1"))
        await handle.signal(Pipeline.guide, Guide(text="MEANT-FOR-ALL"))
        await handle.signal(Pipeline.guide, Guide(text="MEANT-FOR-LATER", task_id="t3"))
        await handle.signal(Pipeline.guide, Guide(text="MEANT-FOR-NOBODY", task_id="t9"))
        document = await stage.outcome(handle)
        assert await handle.query(Pipeline.decisions) == before == []

    assert document.status is RunStatus.DONE, document
    assert hearers(stage, "MEANT-FOR-T1") == [("t1", "backend", 3)]
    heard = hearers(stage, "MEANT-FOR-ALL")
    assert {("t1", "backend", 3), ("t2", "backend", 3)} <= set(heard)
    assert len(heard) == len(set(heard))
    assert hearers(stage, "MEANT-FOR-LATER") == [("t3", "backend", 1)]
    assert hearers(stage, "MEANT-FOR-NOBODY") == []
    assert [note for note in document.notes if "t9" in note]
    assert document.errors == []


async def test_a_message_reaches_a_waiting_task_together_with_its_answer(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[escalate("Which?", "this", "that")], [bash("echo x > src/x.txt")], [made()]]),
        simple_task("t1")[1:],
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle)
        await handle.signal(Pipeline.guide, Guide(text="ONE-MORE-THING"))
        waiting = await stage.until_waiting(handle)
        assert len(stage.asked("backend")) == 1
        assert [found.state for found in waiting.tasks] == [TaskState.WAITING]
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="this"))
        document = await stage.outcome(handle)
        second = next(r.body for r in stage.standin.requests if (r.role, r.turn) == ("backend", 2))

    assert document.status is RunStatus.DONE, document
    assert hearers(stage, "ONE-MORE-THING") == [("t1", "backend", 2)]
    answer, message = second["messages"][-1]["content"]
    assert (answer["type"], message["type"]) == ("tool_result", "text")
    assert "this" in answer["content"]


async def test_a_message_too_late_for_the_plan_goes_to_the_tasks(staged) -> None:  # type: ignore[no-untyped-def]
    """The orchestrator has used its last turn when it arrives, so that it cannot be asked again."""
    script = scenario(plan(task("t1"), faults=[Fault(delay=1.5)]), simple_task("t1"))
    async with staged(script) as stage:
        handle = await stage.start(turns=1)
        await assert_eventually(lambda: stage.asked() == [("plan", "orchestrator", 1, 1)])
        await handle.signal(Pipeline.guide, Guide(text="KEEP-THE-OLD-NAME"))
        document = await stage.outcome(handle)

    assert document.status is RunStatus.DONE, document
    assert ("t1", "backend", 1) in hearers(stage, "KEEP-THE-OLD-NAME")


async def test_a_note_beside_a_retry_is_heard(staged) -> None:  # type: ignore[no-untyped-def]
    """The turn that is tried again, as it was, has said its part already; the note follows in the next one."""
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [ScriptedStep(calls=[made()], faults=[Fault(status=403)]), [made()]]),
        simple_task("t1")[1:],
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle)
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry", note="USE-TABS"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document
    assert hearers(stage, "USE-TABS") == [("t1", "backend", 2)]
    assert stage.asked("backend") == [("t1", "backend", 1, 1), ("t1", "backend", 1, 1), ("t1", "backend", 1, 2)]


async def test_what_is_no_message_holds_no_agent_up(staged) -> None:  # type: ignore[no-untyped-def]
    """Sent to the workflows of a task and a session themselves, as anybody can in the Web UI."""
    slow = ScriptedStep(calls=[made()], faults=[Fault(delay=2.0)])
    script = scenario(plan(task("t1")), session("backend", "t1", [slow, [made()]]), simple_task("t1")[1:])
    async with staged(script) as stage:
        handle = await stage.start()
        await assert_eventually(lambda: ("t1", "backend", 1, 1) in stage.asked())
        for name in ("t1", "t1/1-backend"):
            workflow = stage.client.get_workflow_handle(f"{stage.run}/{name}")
            for given in ([], [None], [5], [""], [["a", "list"]], [{"text": "x"}], ["FIRST-OF-TWO", "two"]):
                await workflow.signal("guide", args=given)
        await stage.session("t1", "1-backend").signal("guide", "PLAIN-TEXT")
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document
    assert hearers(stage, "PLAIN-TEXT") == [("t1", "backend", 2)]
    assert hearers(stage, "FIRST-OF-TWO") == []


SLOW = bash("touch src/started; sleep 2; rm src/started")
"""A call during which messages can be sent: `until_it_runs`."""


async def until_it_runs(stage: Stage) -> None:
    await assert_eventually(lambda: any(stage.settings.home.glob("workspaces/*/*/work/src/started")))


async def check_transcripts(stage: Stage) -> None:
    """No request was refused, and the store is whole."""
    assert {record.status for record in stage.standin.requests} == {200}
    store = await stage.store()
    assert (await verify_store(store)).findings == []


async def test_a_message_while_a_hand_off_beside_other_calls_is_taken_in(staged) -> None:  # type: ignore[no-untyped-def]
    """The hand-off was accepted, and no model was asked: it is taken back, and the role hears the message."""
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[SLOW, made()], [], [bash("true"), made()], [], [made()]]),
        simple_task("t1")[1:],
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await until_it_runs(stage)
        for text in ("FIRST-WORD", "SECOND-WORD"):
            await handle.signal(Pipeline.guide, Guide(text=text, task_id="t1"))
        document = await stage.outcome(handle)
        await check_transcripts(stage)
        (told,) = [r.body["messages"] for r in stage.standin.requests if (r.role, r.turn) == ("backend", 3)]
    assert document.status is RunStatus.DONE, document
    assert document.decisions == []
    assert stage.asked("backend") == [("t1", "backend", 1, 1), ("t1", "backend", 1, 3)]
    assert [message["role"] for message in told] == ["user", "assistant", "user"]
    ran, refused, *texts = told[-1]["content"]
    assert not ran.get("is_error")
    assert refused["is_error"]
    assert "call `hand_off` again" in refused["content"]
    assert [word in block["text"] for word, block in zip(["FIRST-WORD", "SECOND-WORD"], texts, strict=True)] == [
        True
    ] * 2
    assert hearers(stage, "FIRST-WORD") == hearers(stage, "SECOND-WORD") == [("t1", "backend", 3)]
    assert document.turns == len(stage.standin.requests) == 5


async def test_messages_while_one_hand_off_after_the_other_is_taken_in(staged) -> None:  # type: ignore[no-untyped-def]
    """Each of them beside a slow call; the last one comes with the last turn that may ask, and goes to who follows."""
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[SLOW, made()], [], [SLOW, made()], [], [SLOW, made()]]),
        simple_task("t1")[1:],
    )
    async with staged(script) as stage:
        handle = await stage.start(turns=5)
        for word, turn in (("WORD-1", 1), ("WORD-2", 3), ("WORD-3", 5)):
            asked = ("t1", "backend", 1, turn)
            await assert_eventually(lambda asked=asked: asked in stage.asked())  # type: ignore[misc]
            await until_it_runs(stage)
            await handle.signal(Pipeline.guide, Guide(text=word, task_id="t1"))
            await assert_eventually(lambda: not any(stage.settings.home.glob("workspaces/*/*/work/src/started")))
        document = await stage.outcome(handle)
        await check_transcripts(stage)
    assert document.status is RunStatus.DONE, document
    assert document.decisions == []
    assert hearers(stage, "WORD-1") == [("t1", "backend", 3)]
    assert hearers(stage, "WORD-2") == [("t1", "backend", 5)]
    assert hearers(stage, "WORD-3") == [("t1", "tester", 1)]


@pytest.mark.parametrize("choice", ["raise", "retry"])
async def test_a_message_beside_a_hand_off_where_a_cap_comes_between(staged, choice: str) -> None:  # type: ignore[no-untyped-def]
    """Before the model can be asked about it: the answer to the question leads on, and the message is heard once."""
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[SLOW, made()], [], [made()], [made()]]),
        simple_task("t1")[1:],
    )
    async with staged(script) as stage:
        handle = await stage.start(turns_per_run=2)
        await until_it_runs(stage)
        await handle.signal(Pipeline.guide, Guide(text="HEAR-ME", task_id="t1"))
        waiting = await stage.until_waiting(handle)
        assert "raise" in waiting.decisions[-1].choices
        await handle.signal(Pipeline.guide, Guide(text="AND-THIS", task_id="t1"))
        if choice == "retry":
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
            await stage.until_waiting(handle, decision="D2")
        last = "D2" if choice == "retry" else "D1"
        await handle.signal(Pipeline.decide, Decide(decision_id=last, choice="raise", note="20"))
        document = await stage.outcome(handle)
        await check_transcripts(stage)
    assert document.status is RunStatus.DONE, document
    assert [turn for _, _, turn in hearers(stage, "HEAR-ME")] == [3]
    assert len(hearers(stage, "AND-THIS")) == 1


@pytest.mark.parametrize("how", ["terminated", "failing"])
async def test_a_message_beside_a_hand_off_where_the_turn_that_hears_it_is_broken_off(staged, how: str) -> None:  # type: ignore[no-untyped-def]
    """That turn is made again, and no other: neither the calls before it nor the hand-off that did not count."""
    fault = [Fault(status=529), Fault(status=400)] if how == "failing" else [Fault(stall_after=1)]
    script = scenario(
        plan(task("t1")),
        session(
            "backend",
            "t1",
            [[SLOW, bash("echo x >> src/x.txt"), made()], [], ScriptedStep(calls=[made()], faults=[*fault])],
        ),
        simple_task("t1")[1:],
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await until_it_runs(stage)
        await handle.signal(Pipeline.guide, Guide(text="HEAR-ME", task_id="t1"))
        await assert_eventually(lambda: ("t1", "backend", 1, 3) in stage.asked())
        if how == "terminated":
            await stage.session("t1", "1-backend").terminate("by hand")
        await stage.until_waiting(handle)
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
        document = await stage.outcome(handle)
        refused = {record.status for record in stage.standin.requests} - {200}
        store = await stage.store()
        assert (await verify_store(store)).findings == []
        assert await store.read_file(str(document.head_commit), "src/x.txt") == b"x\n"
    assert document.status is RunStatus.DONE, document
    assert refused == ({400, 529} if how == "failing" else set())
    assert {turn for _, _, _, turn in stage.asked("backend")} == {1, 3}
    assert set(hearers(stage, "HEAR-ME")) == {("t1", "backend", 3)}


async def test_a_message_beside_a_question_among_other_calls(staged) -> None:  # type: ignore[no-untyped-def]
    """Which also hands off: the calls run once they are answered, and the hand-off waits for what was said."""
    first = [SLOW, escalate("Which?", "this", "that"), made()]
    script = scenario(plan(task("t1")), session("backend", "t1", [first, [made()], [made()]]), simple_task("t1")[1:])
    async with staged(script) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle)
        await handle.signal(Pipeline.guide, Guide(text="BEFORE", task_id="t1"))
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="this"))
        await until_it_runs(stage)
        await handle.signal(Pipeline.guide, Guide(text="MEANWHILE", task_id="t1"))
        document = await stage.outcome(handle)
        await check_transcripts(stage)
        (told,) = [r.body["messages"][-1] for r in stage.standin.requests if (r.role, r.turn) == ("backend", 2)]
    assert document.status is RunStatus.DONE, document
    _, answered, refused, *_ = told["content"]
    assert "this" in answered["content"]
    assert refused["is_error"]
    assert hearers(stage, "BEFORE") == [("t1", "backend", 2)]
    assert len(hearers(stage, "MEANWHILE")) == 1
