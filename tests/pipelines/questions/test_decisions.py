"""Decisions: the same effect by every channel; what cannot be taken is refused in words and changes nothing."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError

from baton.records.run import Decide, Decision, DecisionState, RunDocument, RunStatus
from tests.conftest import server_environment
from tests.support.scripts import escalate, made, plan, reviewed, scenario, session, task, tested
from workers.temporal_service import TemporalService
from workflows.pipeline import Pipeline

Handle = WorkflowHandle[Pipeline, RunDocument]


async def command(name: str, *arguments: str, **env: str) -> str:
    """Run a command of this environment as a person would."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name(name)),
        *arguments,
        env={**os.environ, **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def temporal(service: TemporalService, *arguments: str) -> None:
    """Run the `temporal` command."""
    await command("temporal", *arguments, "--disable-config-file", **server_environment(service.address))


async def by_signal(handle: Handle, answer: Decide, _service: TemporalService) -> None:
    await handle.signal(Pipeline.decide, answer)


async def by_update(handle: Handle, answer: Decide, _service: TemporalService) -> None:
    answered = await handle.execute_update(Pipeline.submit_decision, answer)
    assert (answered.id, answered.state, answered.choice) == (answer.decision_id, DecisionState.ANSWERED, answer.choice)


async def by_temporal_signal(handle: Handle, answer: Decide, service: TemporalService) -> None:
    where = ["--workflow-id", handle.id, "--name", "decide"]
    await temporal(service, "workflow", "signal", *where, "--input", answer.model_dump_json())


async def by_temporal_update(handle: Handle, answer: Decide, service: TemporalService) -> None:
    where = ["--workflow-id", handle.id, "--name", "submit_decision"]
    await temporal(service, "workflow", "update", "execute", *where, "--input", answer.model_dump_json())


async def by_baton(handle: Handle, answer: Decide, service: TemporalService) -> None:
    words = [handle.id, answer.decision_id, answer.choice, "--note", answer.note, "--by", answer.by]
    said = await command("baton", "decide", *words, **server_environment(service.address))
    assert f"{answer.decision_id} answered: {answer.choice}" in said


CHANNELS: list[Callable[[Handle, Decide, TemporalService], Awaitable[None]]] = [
    by_signal,
    by_update,
    by_temporal_signal,
    by_temporal_update,
    by_baton,
]


async def test_an_answer_has_the_same_effect_by_every_channel(staged, service: TemporalService) -> None:  # type: ignore[no-untyped-def]
    questions = [[escalate(f"Where do orders live, part {n}?", "sqlite", "postgres")] for n in range(len(CHANNELS))]
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [*questions, [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        for number, send in enumerate(CHANNELS, start=1):
            waiting = await stage.until_waiting(handle, decision=f"D{number}")
            assert waiting.decisions[-1].choices == ["sqlite", "postgres", "retry", "skip", "abort"]
            await send(handle, Decide(decision_id=f"D{number}", choice="sqlite", note="small", by="ada"), service)
        document = await stage.outcome(handle)
        decisions = await handle.query(Pipeline.decisions)
        heard = [r.body for r in stage.standin.requests if r.role == "backend" and r.turn and r.turn > 1]

    assert document.status is RunStatus.DONE, document
    assert document.decisions == decisions
    own = {"id", "question", "commit", "opened_at", "answered_at"}
    effects = [decision.model_dump(mode="json", exclude=own) for decision in decisions]
    assert effects == [effects[0]] * len(CHANNELS)
    assert effects[0]["state"] == "answered"
    assert (effects[0]["choice"], effects[0]["note"], effects[0]["by"]) == ("sqlite", "small", "ada")
    assert [error.resolution for error in document.errors] == ["answered by ada: sqlite"] * len(CHANNELS)
    # The role hears each answer as the result of its own call, in the same conversation.
    results = [body["messages"][-1]["content"] for body in heard]
    assert [[block["type"] for block in content] for content in results] == [["tool_result"]] * len(CHANNELS)
    assert {content[0]["content"] for content in results} == {"The person decided: sqlite. small"}
    assert not [note for note in document.notes if "refused" in note]


def a_question(*choices: str) -> Any:
    """A run that asks before there is any plan: what a decision needs, and nothing else."""
    return scenario(session("orchestrator", "plan", [[escalate("One database or two?", *choices)]]))


GARBAGE: list[tuple[list[Any], str]] = [
    ([], "one JSON object"),
    ([None], "dictionary"),
    ([7], "dictionary"),
    (["D1 one"], "dictionary"),
    ([["D1", "one"]], "dictionary"),
    ([{}], "decision_id"),
    ([{"decision": "D1", "choice": "one"}], "decision_id"),
    ([{"decision_id": "D1", "choice": 5}], "choice"),
    ([{"decision_id": "D1", "choice": "one", "color": "red"}], "color"),
    ([{"decision_id": "D1", "choice": "one"}, {"decision_id": "D2", "choice": "one"}], "one JSON object"),
]
"""Inputs that are no answer, and a word of what is said about each."""


async def test_malformed_messages_are_refused_and_hold_nothing_up(staged, service: TemporalService) -> None:  # type: ignore[no-untyped-def]
    async with staged(a_question("one", "two")) as stage:
        handle = await stage.start()
        before = await stage.until_waiting(handle)
        for arguments, word in GARBAGE:
            with pytest.raises(WorkflowUpdateFailedError) as refused:
                await handle.execute_update("submit_decision", args=arguments)
            assert word in str(refused.value.cause)
            await handle.signal("decide", args=arguments)
            document = await handle.query(Pipeline.state)
            assert document.notes[-1].startswith("An answer was refused: ")
            assert word in document.notes[-1]
            assert (document.status, document.decisions) == (before.status, before.decisions)
        for name in ("guide", "news"):
            for arguments, _ in GARBAGE:
                await handle.signal(name, args=arguments)
        # Not even a payload: bytes in an encoding that nobody knows, a signal that nobody knows.
        where = ["workflow", "signal", "--workflow-id", handle.id, "--name"]
        await temporal(service, *where, "decide", "--input", "{}", "--input-meta", "encoding=json/klingon")
        await temporal(
            service, *where, "decide", "--input", "AAEC", "--input-base64", "--input-meta", "encoding=binary/plain"
        )
        await temporal(service, *where, "no-such-signal", "--input", "1")
        document = await handle.query(Pipeline.state)
        assert (document.cost_usd, document.turns, document.decisions) == (
            before.cost_usd,
            before.turns,
            before.decisions,
        )
        # Bounded, whatever people send: the notes stand in every saved state.
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="x" * 1_000_000))
        for _ in range(30):
            await handle.signal(Pipeline.decide, Decide(decision_id="y" * 100_000, choice="one"))
        document = await handle.query(Pipeline.state)
        assert len(document.model_dump_json()) < 20_000

        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="abort"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.STOPPED


async def test_only_the_first_answer_counts(staged) -> None:  # type: ignore[no-untyped-def]
    """Early, unknown, stale, and by several people at once."""
    async with staged(a_question("one", "two"), worker=False) as stage:
        handle = await stage.start()
        # The answer is there before the question: nothing is guessed from it.
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="abort", by="early"))
        async with stage.worker():
            waiting = await stage.until_waiting(handle)
            assert waiting.decisions[0].state is DecisionState.OPEN
            assert "There is no decision 'D1'" in waiting.notes[-1]

            with pytest.raises(WorkflowUpdateFailedError) as unknown:
                await handle.execute_update(Pipeline.submit_decision, Decide(decision_id="D7", choice="one"))
            assert "There is no decision 'D7'; open decisions: D1." in str(unknown.value.cause)
            with pytest.raises(WorkflowUpdateFailedError) as no_choice:
                await handle.execute_update(Pipeline.submit_decision, Decide(decision_id="D1", choice="three"))
            assert "choose one of: one, two, retry, skip, abort" in str(no_choice.value.cause)
            # An answer to what stood there before the commit moved.
            old = Decide(decision_id="D1", choice="abort", by="late", commit="0" * 40)
            with pytest.raises(WorkflowUpdateFailedError) as stale:
                await handle.execute_update(Pipeline.submit_decision, old)
            assert "The answer is stale: it is about commit 000000000000, decision D1 about" in str(stale.value.cause)
            await handle.signal(Pipeline.decide, old)
            seen = await handle.query(Pipeline.state)
            assert seen.notes[-1].startswith("An answer was refused: The answer is stale")
            assert seen.decisions[0].state is DecisionState.OPEN

            now = str(seen.decisions[0].commit)
            answers = [Decide(decision_id="D1", choice="abort", by=f"person {n}", commit=now) for n in range(6)]

            async def send(answer: Decide) -> object:
                return await handle.execute_update(Pipeline.submit_decision, answer)

            outcomes = await asyncio.gather(*map(send, answers), return_exceptions=True)
            effective = [outcome for outcome in outcomes if isinstance(outcome, Decision)]
            assert len(effective) == 1
            document = await stage.outcome(handle)
            (decision,) = await handle.query(Pipeline.decisions)
    assert document.status is RunStatus.STOPPED
    assert (decision.choice, decision.by) == ("abort", effective[0].by)
    assert f"by {effective[0].by}" in "".join(document.notes)


async def test_an_answer_to_a_run_that_has_ended_is_refused(staged) -> None:  # type: ignore[no-untyped-def]
    """What was open when the run was stopped is withdrawn; nobody can answer it any more, and nothing changes."""
    async with staged(a_question("one", "two")) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle)
        await handle.cancel()
        document = await stage.outcome(handle)
        assert [decision.state for decision in document.decisions] == [DecisionState.WITHDRAWN]
        answer = Decide(decision_id="D1", choice="one")
        with pytest.raises(RPCError, match="completed"):
            await handle.execute_update(Pipeline.submit_decision, answer)
        with pytest.raises(RPCError, match="completed"):
            await handle.signal(Pipeline.decide, answer)
        assert await handle.query(Pipeline.state) == document
    assert document.status is RunStatus.STOPPED
