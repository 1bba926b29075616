"""Scenario files and how their steps are chosen; faults in a file are named with file and line."""

import asyncio
import json
from pathlib import Path
from typing import Any

import anthropic
import pytest

from baton.errors import ConfigurationError
from standin import (
    Fault,
    Scenario,
    ScriptedCall,
    ScriptedStep,
    StandIn,
    load_scenario,
    parse_scenario,
    serve_scenario,
    shipped_scenario,
    shipped_scenarios,
)
from tests.standin.conftest import request

BROKEN = [
    ("steps:\n  - role: backend\n    tunr: 1\n", "line 3: steps.0.tunr: Extra inputs are not permitted"),
    ("steps:\n  - calls:\n      - name: Read\n        inputs: {}\n", "line 4: steps.0.calls.0.inputs"),
    ("steps:\n  - calls:\n      - input: {}\n", "line 3: steps.0.calls.0.name: Field required"),
    ("steps:\n  - turn: soon\n", "line 2: steps.0.turn: Input should be a valid integer"),
    ("steps:\n  - turn: 1\n    repeat: 3\n", "line 2: steps.0: Value error, a step has a turn or a repeat"),
    ("steps:\n  - faults:\n      - {}\n", "line 3: steps.0.faults.0: Value error, a fault needs one of status"),
    ("steps:\n  - faults:\n      - {status: 200}\n", "line 3: steps.0.faults.0.status: Input should be greater"),
    (
        "steps:\n  - text: x\n    faults:\n      - {status: 529, reset_after: 2}\n",
        "line 4: steps.0.faults.0: Value error, a request can fail in one way only, not status and reset_after",
    ),
    ("steps:\n  - text: a\n    text: b\n", "line 3: `text` stands twice"),
    ("steps: [\n", "line 2: not YAML"),
    ("steps:\n  - text: 'open\n", "not YAML"),
    ("- text: x\n", "a scenario is a mapping"),
    ("", "a scenario is a mapping"),
    ("steps: &a [*a]\n", "line 1: a part cannot contain itself"),
    ("steps: nothing\n", "line 1: steps: Input should be a valid list"),
    ("steps:\n  - !!python/object:os.system x\n", "not YAML"),
]


@pytest.mark.parametrize(("text", "words"), BROKEN)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml cannot be read: No such file.*demo"):
        load_scenario(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe4\n")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_scenario(tmp_path / "latin.yaml")


def test_shipped_scenarios_load_by_name() -> None:
    assert "demo" in shipped_scenarios()
    for name in shipped_scenarios():
        assert load_scenario(name).steps
        assert load_scenario(Path(name)) == load_scenario(name) == shipped_scenario(name)


def test_what_lies_around_does_not_replace_a_shipped_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert load_scenario("demo") == shipped_scenario("demo")
    (tmp_path / "demo").rmdir()
    (tmp_path / "demo").write_text("steps:\n  - text: mine\n")
    # A file can be meant; whoever wants the shipped one in any case says so.
    assert load_scenario("demo").steps[0].text == "mine"
    assert shipped_scenario("demo").steps[0].text != "mine"


def test_a_file_and_python_say_the_same() -> None:
    text = """
name: both
steps:
  - {role: backend, task: t1, turn: 1, thinking: Hm., calls: [{name: Read, input: {file_path: a}}]}
  - {text: Done., faults: [{status: 529, retry_after: 1}, null, {pace: 0.1}]}
"""
    assert parse_scenario(text, "both.yaml") == Scenario(
        name="both",
        steps=[
            ScriptedStep(
                role="backend", task="t1", turn=1, thinking="Hm.", calls=[ScriptedCall("Read", {"file_path": "a"})]
            ),
            ScriptedStep(text="Done.", faults=[Fault(status=529, retry_after=1), None, Fault(pace=0.1)]),
        ],
    )


async def ask(client: anthropic.AsyncAnthropic, content: Any = "Hello", **headers: Any) -> str:
    """The text of the answer to a request with these `X-Baton-*` headers."""
    names = {f"X-Baton-{name.capitalize()}": str(value) for name, value in headers.items()}
    message = await client.messages.create(
        **request(messages=[{"role": "user", "content": content}]), extra_headers=names
    )
    [block] = message.content
    assert block.type == "text"
    return str(block.text)


def said(text: str, **matchers: Any) -> ScriptedStep:
    return ScriptedStep(text=text, **matchers)


async def test_steps_are_matched_on_the_headers_they_name(sdk: Any) -> None:
    scenario = Scenario(
        steps=[
            said("exact", run="r", role="tester", task="t1", round=2, turn=3),
            said("round", role="tester", round=2, repeat="always"),
            said("role", role="tester", repeat="always"),
        ],
        default=said("default"),
    )
    async with serve_scenario(scenario) as standin, sdk(standin) as client:
        assert await ask(client, run="r", role="tester", task="t1", round=2, turn=3) == "exact"
        assert await ask(client, run="r", role="tester", task="t2", round=2, turn=3) == "round"
        assert await ask(client, run="r", role="tester", task="t1", round=1, turn=3) == "role"
        assert await ask(client, run="r", role="backend") == "default"
        assert await ask(client) == "default"


async def test_a_repeated_request_gets_the_same_step(sdk: Any) -> None:
    scenario = Scenario(
        steps=[said("first", role="tester"), said("second", role="tester"), said("third", role="tester")]
    )
    async with serve_scenario(scenario) as standin, sdk(standin) as client:
        one, two = {"role": "tester", "turn": 1}, {"role": "tester", "turn": 2}
        assert [await ask(client, **headers) for headers in (one, two, one, two, one)] == [
            "first", "second", "first", "second", "first",
        ]  # fmt: skip
        # A step is used up within its run only.
        assert await ask(client, run="other", **two) == "first"
        # The content does not matter where the turn is named: a repeated tool may say something else.
        assert await ask(client, content="Another content", **one) == "first"


async def test_without_a_turn_the_content_tells_requests_apart(sdk: Any) -> None:
    scenario = Scenario(steps=[said("first"), said("second")])
    async with serve_scenario(scenario) as standin, sdk(standin) as client:
        assert [await ask(client, content=c) for c in ("a", "b", "a", "b")] == ["first", "second", "first", "second"]


async def test_steps_for_many_turns(sdk: Any) -> None:
    scenario = Scenario(
        steps=[said("${role} works, turn ${turn} of ${task}", repeat=500), said("done", turn=501)],
    )
    async with serve_scenario(scenario) as standin, sdk(standin) as client:
        for run in ("r1", "r2"):
            for turn in (1, 2, 500, 2):
                assert await ask(client, run=run, role="backend", task="t", turn=turn) == (
                    f"backend works, turn {turn} of t"
                )
            assert await ask(client, run=run, role="backend", task="t", turn=501) == "done"


async def test_steps_can_wait_for_what_was_said(sdk: Any) -> None:
    scenario = Scenario(steps=[said("sqlite it is", turn=1, contains="sqlite"), said("postgres it is", turn=1)])
    async with serve_scenario(scenario) as standin, sdk(standin) as client:
        assert await ask(client, content="The person decided: postgres", run="a", turn=1) == "postgres it is"
        assert await ask(client, content="The person decided: sqlite", run="b", turn=1) == "sqlite it is"


async def test_a_request_without_a_step_is_refused_with_its_headers(sdk: Any) -> None:
    scenario = Scenario(name="small", steps=[said("only", role="tester", turn=1)])
    async with serve_scenario(scenario) as standin, sdk(standin) as client:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await ask(client, run="r", role="backend", task="t1", round=2, turn=4)
        assert caught.value.api_message == (
            "scenario: no step of `small` is left for X-Baton-Run=r, X-Baton-Role=backend, X-Baton-Task=t1, "
            "X-Baton-Round=2, X-Baton-Turn=4."
        )


async def test_used_up_steps_are_named(sdk: Any) -> None:
    async with serve_scenario(Scenario(steps=[said("only", role="tester")])) as standin, sdk(standin) as client:
        await ask(client, role="tester", turn=1)
        with pytest.raises(anthropic.BadRequestError, match="Steps that match are used up: 0"):
            await ask(client, role="tester", turn=2)


async def test_many_sessions_at_once_get_their_own_steps(sdk: Any) -> None:
    scenario = Scenario(steps=[said("run ${run} turn ${turn}", role="backend", repeat=10)])
    async with serve_scenario(scenario) as standin, sdk(standin) as client:

        async def session(run: str) -> None:
            for turn in range(1, 11):
                assert await ask(client, run=run, role="backend", turn=turn) == f"run {run} turn {turn}"

        await asyncio.gather(*(session(f"r{number}") for number in range(10)))
        assert _whole(standin) == 100


def _whole(standin: StandIn) -> int:
    return sum(record.whole for record in standin.requests)


async def test_an_emoji_that_json_writes_as_two_escapes_is_one_character(sdk: Any) -> None:
    text = json.dumps({"name": "emoji", "steps": [{"text": "Done \N{PARTY POPPER}"}]})
    assert "\\ud83c\\udf89" in text
    async with serve_scenario(parse_scenario(text, "emoji.json")) as standin, sdk(standin) as client:
        answer = await client.messages.create(**request())
    assert answer.content[0].text == "Done \N{PARTY POPPER}"
