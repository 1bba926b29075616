"""Whatever stop reason comes with whatever content: the conversation goes on, and the API takes what is sent."""

from itertools import chain

import pytest

from activities.session.conversation import Message, append_user
from baton.records.run import Decide, RunStatus
from standin.script.scenario import ScriptedCall, ScriptedStep
from tests.support.repositories import git
from tests.support.scripts import made, plan, reviewed, scenario, session, simple_task, task, tested, write
from workflows.pipeline import Pipeline

LOOK = ScriptedCall("Glob", {"pattern": "*"})
SEARCH = ScriptedCall("web_search", {"query": "pagination"}, server=True)
LONG = "Considering the matter at some length. " * 20

CONTENTS = {
    "nothing": ScriptedStep(),
    "blank text": ScriptedStep(text=" \n"),
    "text": ScriptedStep(text=LONG),
    "thinking": ScriptedStep(thinking=LONG),
    "withheld thinking": ScriptedStep(thinking=""),
    "sealed thinking": ScriptedStep(thinking=LONG, redacted=True),
    "thinking, blank text": ScriptedStep(thinking=LONG, text="\n"),
    "thinking, text": ScriptedStep(thinking=LONG, text="Now."),
    "a call": ScriptedStep(calls=[LOOK]),
    "blank text, a call": ScriptedStep(text=" ", calls=[LOOK]),
    "thinking, blank text, calls": ScriptedStep(thinking=LONG, text=" ", calls=[LOOK, LOOK]),
    "a call of the API": ScriptedStep(calls=[SEARCH]),
    "thinking, a call of the API": ScriptedStep(thinking=LONG, text="I search.", calls=[SEARCH]),
    "calls of both": ScriptedStep(text="I search.", calls=[SEARCH, LOOK]),
}


def steps(*stop_reasons: str, work: bool = True) -> list[ScriptedStep]:
    """A turn for every combination; between two of them the role works, so that nobody takes it for idle."""
    answers = [
        content.model_copy(update={"stop_reason": reason}) for reason in stop_reasons for content in CONTENTS.values()
    ]
    return list(chain.from_iterable((answer, ScriptedStep(calls=[LOOK])) if work else (answer,) for answer in answers))


@pytest.mark.parametrize("reason", ["end_turn", "stop_sequence", "tool_use", "pause_turn", "max_tokens"])
async def test_every_content_goes_on(staged, reason: str) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [*steps(reason), [write("src/new.txt", "whole\n")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script, turns_per_session=500, turns_per_task=500) as stage:
        document = await stage.outcome(await stage.start())
        refused = [(record.turn, record.status) for record in stage.standin.requests if record.status != 200]
    assert refused == []
    assert document.status is RunStatus.DONE, document
    assert document.decisions == []
    assert git(stage.repo, "show", f"{document.branch}:src/new.txt") == "whole"


@pytest.mark.parametrize("reason", ["refusal", "model_context_window_exceeded"])
async def test_what_is_asked_about_goes_on_after_retry(staged, reason: str) -> None:  # type: ignore[no-untyped-def]
    """Nothing of an answer that was cut runs, and a person's `retry` leads on."""
    half = ScriptedStep(calls=[write("src/half.txt", "half a file\n" * 50)], stop_reason=reason)
    answers = [half, *steps(reason, work=False)]
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [*answers, [write("src/new.txt", "whole\n")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script, turns_per_session=500, turns_per_task=500) as stage:
        handle = await stage.start()
        for number in range(1, len(answers) + 1):
            await stage.until_waiting(handle, decision=f"D{number}")
            await handle.signal(Pipeline.decide, Decide(decision_id=f"D{number}", choice="retry"))
        document = await stage.outcome(handle)
        refused = [(record.turn, record.status) for record in stage.standin.requests if record.status != 200]
    assert refused == []
    assert document.status is RunStatus.DONE, document
    assert "half.txt" not in git(stage.repo, "ls-tree", "-r", "--name-only", str(document.branch))


async def test_one_who_only_pauses_is_asked_about(staged) -> None:  # type: ignore[no-untyped-def]
    """A pause in none of the API's tools is an end without work, however often it comes."""
    paused = [ScriptedStep(text="Wait.", stop_reason="pause_turn")] * 10
    script = scenario(plan(task("t1")), session("backend", "t1", paused), simple_task()[1:])
    async with staged(script) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        assert "without working" in waiting.decisions[0].question
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="abort"))
        await stage.outcome(handle)
        assert {record.status for record in stage.standin.requests if record.role == "backend"} == {200}


def test_a_run_that_is_stuck_at_such_a_pause_goes_on() -> None:
    """Its store has a turn without a user's side, made when every pause was sent back as it is."""
    messages: list[Message] = [
        {"role": "user", "content": "Do t1."},
        {"role": "assistant", "content": [{"type": "text", "text": "W"}]},
    ]
    append_user(messages, None)
    assert messages[-1]["role"] == "user"
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    paused = [messages[0], {"role": "assistant", "content": [search]}]
    append_user(paused, None)
    assert paused[-1]["role"] == "assistant"
