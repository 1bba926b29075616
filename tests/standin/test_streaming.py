"""Anthropic's SDK streams from the stand-in over a real socket and gets exactly what the scenario says."""

import json
from typing import Any

import anthropic
import pytest
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from standin import Scenario, ScriptedCall, ScriptedStep, serve_scenario
from tests.standin.conftest import request

WRITE = {"file_path": "dir/ä.py", "content": 'x = "${turn}"\n' * 200, "flags": [1, 2.5, None, True], "deep": {"a": {}}}
STEP = ScriptedStep(
    turn=7,
    thinking="I think — carefully. " * 20,
    text="Grüße 👋 from turn ${turn} of ${role}, ${HOME} stays. " * 10,
    calls=[ScriptedCall("Write", WRITE), ScriptedCall("Bash", {"command": "echo ${turn}"}), ScriptedCall("Glob")],
)
HEADERS = {"X-Baton-Run": "r1", "X-Baton-Role": "backend", "X-Baton-Turn": "7"}


async def test_the_sdk_gets_exact_blocks(sdk: Any) -> None:
    async with serve_scenario(Scenario(steps=[STEP])) as standin, sdk(standin) as client:
        async with client.messages.stream(**request(), extra_headers=HEADERS) as stream:
            message = await stream.get_final_message()
            assert stream.request_id == standin.requests[0].request_id
        thinking, text, write, bash, glob = message.to_dict(mode="json", warnings=False)["content"]
        assert thinking["thinking"] == STEP.thinking
        assert text == {"type": "text", "text": "Grüße 👋 from turn 7 of backend, ${HOME} stays. " * 10}
        assert write["input"] == WRITE | {"content": 'x = "7"\n' * 200}
        assert bash["input"] == {"command": "echo 7"}
        assert glob["input"] == {}
        assert message.stop_reason == "tool_use"
        assert message.usage.output_tokens > 800
        [record] = standin.requests
        assert (record.run, record.role, record.turn, record.tools) == ("r1", "backend", 7, ["Write", "Bash", "Glob"])
        assert record.whole
        assert record.usage.output_tokens == message.usage.output_tokens
        assert record.cost_usd == pytest.approx(
            (message.usage.input_tokens * 2 + message.usage.output_tokens * 10) / 1e6
        )
        whole = await client.messages.create(**request(), extra_headers=HEADERS)
        assert whole.id == message.id, "a repeated request gets the same answer with the same ids"
        assert whole.to_dict(mode="json")["content"] == [thinking, text, write, bash, glob]


async def test_events_come_in_the_order_of_the_api(raw: Any) -> None:
    async with serve_scenario(Scenario(steps=[STEP])) as standin, raw(standin) as client:
        answer = await client.post(request(stream=True), x_baton_turn="7")
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = []
        for part in answer.text.strip().split("\n\n"):
            name, data = part.split("\n")
            event = json.loads(data.removeprefix("data: "))
            assert name == f"event: {event['type']}"
            events.append(event)
    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    for event in events:
        if event["type"] != "ping":
            adapter.validate_python(event)
    assert events[0]["type"] == "message_start"
    assert events[0]["message"]["content"] == []
    assert events[0]["message"]["stop_reason"] is None
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    for index in range(5):
        own = [event for event in events if event.get("index") == index]
        assert own[0]["type"] == "content_block_start"
        assert own[-1]["type"] == "content_block_stop"
        assert events[events.index(own[0]) + 1] == {"type": "ping"}
        kinds = [event["delta"]["type"] for event in own[1:-1]]
        if index == 0:
            assert set(kinds[:-1]) == {"thinking_delta"}
            assert kinds[-1] == "signature_delta"
        if index >= 2:
            assert set(kinds) == {"input_json_delta"}
            assert own[1]["delta"]["partial_json"] == ""
            assert own[0]["content_block"]["input"] == {}
    order = [event["index"] for event in events if "index" in event]
    assert order == sorted(order)


async def test_stop_reasons_and_odd_blocks(sdk: Any) -> None:
    refusal = {"type": "refusal", "category": "cyber", "explanation": "No."}
    scenario = Scenario(
        steps=[
            ScriptedStep(turn=1, stop_reason="refusal", stop_details=refusal),
            ScriptedStep(turn=2, thinking="", text="Quiet."),
            ScriptedStep(turn=3, thinking="sealed", redacted=True, text="Hidden."),
            ScriptedStep(turn=4, stop_reason="model_context_window_exceeded", text="..."),
        ]
    )
    async with serve_scenario(scenario) as standin, sdk(standin) as client:

        async def ask(turn: int) -> Any:
            async with client.messages.stream(**request(), extra_headers={"X-Baton-Turn": str(turn)}) as stream:
                return await stream.get_final_message()

        refused = await ask(1)
        assert (refused.stop_reason, refused.content) == ("refusal", [])
        assert refused.stop_details.explanation == "No."
        quiet = await ask(2)
        assert (quiet.content[0].type, quiet.content[0].thinking, quiet.stop_reason) == ("thinking", "", "end_turn")
        assert quiet.content[0].signature
        sealed = (await ask(3)).to_dict(mode="json", warnings=False)["content"]
        assert sealed[0]["type"] == "redacted_thinking"
        assert (await ask(4)).stop_reason == "model_context_window_exceeded"
        history = [
            *request()["messages"],
            {"role": "assistant", "content": sealed},
            {"role": "user", "content": "Go on."},
        ]
        await client.messages.create(**request(messages=history), extra_headers={"X-Baton-Turn": "2"})
        history[0] = {"role": "user", "content": "Other"}
        with pytest.raises(anthropic.BadRequestError, match="redacted_thinking"):
            await client.messages.create(**request(messages=history), extra_headers={"X-Baton-Turn": "2"})


async def test_max_tokens_cut_a_tool_call_in_the_middle(sdk: Any) -> None:
    """Asked again for more tokens in the same turn, the model goes on with the next step."""
    call = ScriptedCall("Write", {"file_path": "a.txt", "content": "x" * 400})
    scenario = Scenario(
        steps=[
            ScriptedStep(turn=1, text="Now.", calls=[call], stop_reason="max_tokens"),
            ScriptedStep(turn=1, calls=[call]),
        ]
    )
    async with serve_scenario(scenario) as standin, sdk(standin) as client:
        headers = {"X-Baton-Turn": "1"}
        for _ in range(2):
            async with client.messages.stream(**request(), extra_headers=headers) as stream:
                cut = await stream.get_final_message()
            assert cut.stop_reason == "max_tokens"
            assert cut.content[1].input != call.input
        async with client.messages.stream(**request(max_tokens=2_000), extra_headers=headers) as stream:
            whole = await stream.get_final_message()
        assert (whole.stop_reason, whole.content[0].input) == ("tool_use", call.input)
        assert [record.step for record in standin.requests] == [0, 0, 1]


async def test_an_answer_that_does_not_fit_is_cut(sdk: Any) -> None:
    async with serve_scenario(Scenario(default=ScriptedStep(text="word " * 200))) as standin, sdk(standin) as client:
        message = await client.messages.create(**request(max_tokens=50))
        assert message.stop_reason == "max_tokens"
        assert message.usage.output_tokens == 50
        assert 0 < len(message.content[0].text) < 300
        warmed = await client.messages.create(**request(max_tokens=0))
        assert (warmed.content, warmed.stop_reason) == ([], "max_tokens")


async def test_headers_and_models(sdk: Any) -> None:
    async with serve_scenario(Scenario(default=ScriptedStep(text="x"))) as standin, sdk(standin) as client:
        answer = await client.messages.with_raw_response.create(**request())
        assert answer.headers["request-id"].startswith("req_")
        assert int(answer.headers["anthropic-ratelimit-input-tokens-remaining"]) > 0
        assert (await client.models.retrieve("claude-opus-5-5")).max_tokens == 128_000
        assert next(iter([model.id async for model in client.models.list()])).startswith("claude-")
        assert (
            await client.messages.count_tokens(model="claude-opus-5-5", messages=request()["messages"])
        ).input_tokens


async def test_an_answer_takes_its_time(sdk: Any) -> None:
    async with serve_scenario(Scenario(seconds=0.3, default=ScriptedStep(text="x"))) as standin, sdk(standin) as client:
        async with client.messages.stream(**request()) as stream:
            await stream.get_final_message()
        await client.messages.create(**request())
        assert all(record.seconds > 0.28 for record in standin.requests)
