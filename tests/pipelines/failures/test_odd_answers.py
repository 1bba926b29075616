"""Whatever the model writes into an answer: it is stored and paid once, the model is told, and the run goes on."""

import json
from itertools import chain
from typing import Any

import pytest

from baton.records.run import Decide, RunDocument, RunStatus
from standin.script.scenario import ScriptedCall, ScriptedStep
from tests.pipelines.conftest import Stage
from tests.support.repositories import git
from tests.support.scripts import made, plan, reviewed, scenario, session, task, tested, write
from workflows.pipeline import Pipeline

LOOK = ScriptedCall("Glob", {"pattern": "*"})
LOOKING = ScriptedStep(calls=[LOOK])
THOUGHT = "Considering the matter. "


def raw(text: str, name: str = "Write") -> ScriptedCall:
    return ScriptedCall(name, raw=text)


BAD = {
    "half a surrogate pair": raw(r'{"file_path": "src/bad.txt", "content": "\ud800"}'),
    "the other half": raw(r'{"file_path": "src/bad.txt", "content": "\udfff and more"}'),
    "half a pair as it is": raw('{"file_path": "src/bad.txt", "content": "\ud800"}'),
    "a raw control character": raw('{"file_path": "src/bad.txt", "content": "a\x01b"}'),
    "a raw line end": raw('{"file_path": "src/bad.txt", "content": "a\nb"}'),
    "a raw NUL": raw('{"file_path": "src/bad.txt", "content": "a\x00b"}'),
    "a bad escape": raw(r'{"file_path": "src/bad.txt", "content": "\x41"}'),
    "cut in a text": raw('{"file_path": "src/bad.txt", "content": "half of'),
    "cut after a name": raw('{"file_path": "src/bad.txt", "content":'),
    "cut before its end": raw('{"file_path": "src/bad.txt", "content": "x"'),
    "more than one": raw('{"file_path": "src/bad.txt", "content": "x"} {}'),
    "a list": raw('[{"file_path": "src/bad.txt", "content": "x"}]'),
    "a text": raw('"src/bad.txt"'),
    "null": raw("null"),
    "no JSON": raw("src/bad.txt"),
    "NaN": raw('{"pattern": "*", "head_limit": NaN}', "Grep"),
    "Infinity": raw('{"pattern": "*", "head_limit": -Infinity}', "Grep"),
    "a huge number": raw('{"pattern": "*", "head_limit": 1e999}', "Grep"),
    "a long number": raw('{"pattern": "*", "head_limit": ' + "9" * 400 + "}", "Grep"),
    "a very long number": raw('{"pattern": "*", "head_limit": ' + "9" * 9_000 + "}", "Grep"),
    "a name twice": raw('{"file_path": "src/bad.txt", "content": "x", "content": "y"}'),
    "deep": raw('{"file_path": ' + "[" * 100 + "]" * 100 + "}"),
    "very deep": raw('{"file_path": ' + "[" * 5_000 + "]" * 5_000 + "}"),
    "no name": ScriptedCall("", {"pattern": "*"}),
    "an odd name": ScriptedCall("Glob\n\x00 \ud800", {"pattern": "*"}),
    "a name that is nearly one": ScriptedCall("hand off", {}),
    "a long name": ScriptedCall("Glob" * 100, {"pattern": "*"}),
}
"""Calls that cannot be made; each of them is told so."""

GOOD = {
    "nothing": raw("", "Glob"),
    "blank": raw(" \n", "Glob"),
    "NUL as an escape": raw(r'{"file_path": "src/bad.txt", "content": "a\u0000b"}'),
    "NUL in a path": raw(r'{"file_path": "src/\u0000.txt", "content": "ab"}'),
    "a pair": raw(r'{"file_path": "src/good.txt", "content": "\ud83d\ude00"}'),
    "odd names": raw(r'{"": 1, "\u2028": [], "file_path": "src/bad.txt", "content": "x"}'),
    "a nest": raw('{"file_path": ' + "[" * 50 + "]" * 50 + "}"),
}
"""Inputs that are valid JSON, whatever the tool says to them."""

TEXTS = {
    "text": ScriptedStep(text="a\ud800b \udfff"),
    "text in two halves": ScriptedStep(text="\ud83d" + "\ude00" * 30),
    "text with NUL": ScriptedStep(text="a\x00b\x1b[31m\u202e"),
    "thinking": ScriptedStep(thinking=THOUGHT + "\ud800"),
    "thinking with NUL": ScriptedStep(thinking=THOUGHT + "\x00", text="x"),
    "thinking, text": ScriptedStep(thinking=THOUGHT, text="a\ud800"),
}


def answers(reason: str) -> list[ScriptedStep]:
    """A turn for each; between two of mere text the role works, so that nobody takes it for idle."""
    every = [*BAD.values(), *GOOD.values()]
    texts = chain.from_iterable((step.model_copy(update={"stop_reason": reason}), LOOKING) for step in TEXTS.values())
    calls = [
        *(ScriptedStep(thinking=THOUGHT, text="Now.", calls=[LOOK, call]) for call in every),
        ScriptedStep(thinking=THOUGHT, redacted=True, calls=every),
        ScriptedStep(thinking=THOUGHT, text="\ud800", calls=every),
        ScriptedStep(thinking=THOUGHT + "\ud800", text="x", calls=[write("src/bad.txt", "x")]),
        LOOKING,
    ]
    return [*texts, *(step.model_copy(update={"stop_reason": reason}) for step in calls)]


async def check_store(stage: Stage) -> int:
    """All that the store holds of the run is JSON in UTF-8; gives the number of answers in it."""
    store = await stage.store()
    found = 0
    for ref in store.list_refs(stage.run):
        if not ref.endswith("/head"):
            continue
        head = str(await store.read_head(ref))
        for path in git(store.path, "ls-tree", "-r", "--name-only", head).splitlines():
            if path.startswith("transcript/"):
                data = await store.read_file(head, path)
                assert data is not None
                json.loads(data.decode(), parse_constant=pytest.fail)
                found += path.endswith("-assistant.json")
    return found


async def check(stage: Stage, document: RunDocument) -> None:
    refused = [(record.turn, record.status, record.role) for record in stage.standin.requests if record.status != 200]
    assert refused == []
    assert document.status is RunStatus.DONE, document
    assert document.cost_usd == pytest.approx(stage.standin.cost_usd)
    assert git(stage.repo, "show", f"{document.branch}:src/new.txt") == "whole"
    assert await check_store(stage) == document.turns


def results(stage: Stage) -> dict[str, dict[str, Any]]:
    """Every tool's result that the model was told, by the id of its call."""
    found = {}
    for record in stage.standin.requests:
        for message in record.body["messages"] if record.body else []:
            for block in message["content"]:
                if block["type"] == "tool_result":
                    found[block["tool_use_id"]] = block
    return found


def script(steps: list[ScriptedStep]) -> Any:
    return scenario(
        plan(task("t1")),
        session("backend", "t1", [*steps, [write("src/new.txt", "whole\n")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )


@pytest.mark.parametrize("reason", ["tool_use", "end_turn", "stop_sequence", "pause_turn", "max_tokens"])
async def test_every_odd_answer_goes_on(staged, reason: str) -> None:  # type: ignore[no-untyped-def]
    async with staged(script(answers(reason)), turns_per_session=900, turns_per_task=900) as stage:
        document = await stage.outcome(await stage.start())
        await check(stage, document)
        asked = stage.asked()
    assert document.decisions == []
    if reason != "max_tokens":  # A call that was cut is asked for again, with more room.
        assert len(asked) == len(set(asked))


async def test_a_call_that_cannot_be_made_is_told_and_paid_once(staged) -> None:  # type: ignore[no-untyped-def]
    """All that can be wrong, a turn each: nothing runs, the model is told why, and no answer is asked for again."""
    async with staged(script([ScriptedStep(calls=[call]) for call in BAD.values()])) as stage:
        document = await stage.outcome(await stage.start())
        await check(stage, document)
        asked, told = stage.asked(), list(results(stage).values())
    assert len(asked) == len(set(asked)) == len(BAD) + 5
    for (kind, call), result in zip(BAD.items(), told[: len(BAD)], strict=True):
        assert result["is_error"], kind
        assert ("not valid JSON" if call.raw else "no tool") in result["content"], kind
    assert "bad.txt" not in git(stage.repo, "ls-tree", "-r", "--name-only", str(document.branch))


@pytest.mark.parametrize("reason", ["refusal", "model_context_window_exceeded"])
async def test_odd_answers_that_are_asked_about(staged, reason: str) -> None:  # type: ignore[no-untyped-def]
    odd = [*answers(reason)[-5:-1], *TEXTS.values(), ScriptedStep(calls=[BAD["cut in a text"]])]
    steps = [step.model_copy(update={"stop_reason": reason}) for step in odd]
    async with staged(script(steps), turns_per_session=900, turns_per_task=900) as stage:
        handle = await stage.start()
        for number in range(1, len(steps) + 1):
            await stage.until_waiting(handle, decision=f"D{number}")
            await handle.signal(Pipeline.decide, Decide(decision_id=f"D{number}", choice="retry"))
        await check(stage, await stage.outcome(handle))
