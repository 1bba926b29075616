"""The stand-in says whatever a model can write, byte for byte, and takes none of it back that the API would refuse."""

import json
from typing import Any

import pytest

from standin import Scenario, ScriptedCall, ScriptedStep, serve_scenario
from tests.standin.conftest import request

RAW = [
    "",
    '{"a": "\\ud800"}',
    '{"a": "tab\there"}',
    '{"a": "\\x"}',
    '{"a": "cut of',
    "[1, 2]",
    '{"a": NaN}',
    '{"a": 1, "a": 2}',
    '{"a": ' + "[" * 300,
]


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("given", RAW)
async def test_raw_input_is_streamed_as_it_is(raw, given: str) -> None:  # type: ignore[no-untyped-def]
    scenario = Scenario(steps=[ScriptedStep(calls=[ScriptedCall("Bash", raw=given)])])
    async with serve_scenario(scenario) as standin, raw(standin) as client:
        answer = await client.post(request(stream=True))
    deltas = [event["delta"] for event in events(answer.text) if event["type"] == "content_block_delta"]
    assert "".join(delta["partial_json"] for delta in deltas) == given


async def test_half_a_surrogate_pair_is_sent_as_an_escape(raw) -> None:  # type: ignore[no-untyped-def]
    scenario = Scenario(
        steps=[ScriptedStep(thinking="a\ud800", text="b\udfff", calls=[ScriptedCall("x\ud800", raw="{\ud83d}")])]
    )
    async with serve_scenario(scenario) as standin, raw(standin) as client:
        for stream in (True, False):
            answer = await client.post(request(stream=stream))
            assert answer.status_code == 200
            assert "\\ud800" in answer.text
            assert "\\udfff" in answer.text
    assert [record.status for record in standin.requests] == [200, 200]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"[]", "input: Input should be a valid dictionary"),
        (b'"{}"', "input: Input should be a valid dictionary"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": 1e999}', "number is infinity"),
        (b'{"a": [' + b"9" * 400 + b"]}", "number is infinity"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "not valid JSON"),
    ],
)
async def test_what_is_no_input_is_not_taken_back(raw, given: bytes, words: str) -> None:  # type: ignore[no-untyped-def]
    call = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": "HERE"}
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]},
    ]
    body = json.dumps(request(messages=messages)).encode().replace(b'"HERE"', given)
    async with serve_scenario(Scenario(default=ScriptedStep(text="Hm."))) as standin, raw(standin) as client:
        answer = await client.post(body)
        assert answer.status_code == 400
        assert words in answer.json()["error"]["message"]
        assert (await client.post(body.replace(given, b"{}"))).status_code == 200
