"""The stand-in refuses what the Messages API would refuse, in its words and shape."""

from copy import deepcopy
from typing import Any

import pytest

from standin import Scenario, ScriptedCall, ScriptedStep, StandIn, serve_scenario
from tests.standin.conftest import MODEL, request

TEXT = {"type": "text", "text": "Hello"}
CALL = {"type": "tool_use", "id": "toolu_01a", "name": "Read", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_01a", "content": "ok"}
TOOL = {"name": "Read", "input_schema": {"type": "object"}}
EPHEMERAL = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": deepcopy(list(blocks))}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def messages(*turns: dict[str, Any]) -> dict[str, Any]:
    return request(messages=list(turns))


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    # types
    ("temperature is gone", request(temperature=0.5), "temperature: Extra inputs are not permitted"),
    ("top_p is gone", request(top_p=0.5), "top_p: Extra inputs are not permitted"),
    ("unknown field", request(nonsense=1), "nonsense: Extra inputs are not permitted"),
    ("a header's field in the body", request(workspace_id="w"), "workspace_id: Extra inputs are not permitted"),
    ("no max_tokens", request(max_tokens=...), "max_tokens: Field required"),
    ("max_tokens as text", request(max_tokens="5"), "max_tokens: Input should be a valid integer"),
    ("max_tokens below zero", request(max_tokens=-1), "max_tokens: Input should be greater than or equal to 0"),
    ("no model", request(model=...), "model: Field required"),
    ("no messages", request(messages=...), "messages: Field required"),
    ("messages as text", request(messages="Hello"), "messages: Input should be a valid list"),
    ("no role", messages({"content": "x"}), "messages.0.role: Field required"),
    ("unknown role", messages({"role": "tool", "content": "x"}), 'messages: Unexpected role "tool"'),
    ("content is a number", messages({"role": "user", "content": 5}), "messages.0.content: Input should be"),
    ("unknown block", messages(user({"type": "nope"})), "messages.0.content.0: Input tag 'nope' found using 'type'"),
    ("block without text", messages(user({"type": "text"})), "messages.0.content.0.text.text: Field required"),
    (
        "extra field in a block",
        messages(user({**TEXT, "mood": "good"})),
        "messages.0.content.0.text.mood: Extra inputs are not permitted",
    ),
    (
        "input is not an object",
        messages(user(TEXT), assistant({**CALL, "input": "x"}), user(RESULT)),
        "messages.1.content.0.tool_use.input: Input should be a valid dictionary",
    ),
    (
        "id with odd characters",
        messages(user(TEXT), assistant({**CALL, "id": "a b"}), user(RESULT)),
        "messages.1.content.0.tool_use.id: String should match pattern",
    ),
    ("unknown effort", request(output_config={"effort": "huge"}), "output_config.effort: Input should be 'low'"),
    ("unknown ttl", request(cache_control={"type": "ephemeral", "ttl": "2h"}), "cache_control.ttl: Input should be"),
    # tools
    ("tool without schema", request(tools=[{"name": "Read"}]), "tools.0.custom.input_schema: Field required"),
    (
        "schema that is no object",
        request(tools=[{"name": "Read", "input_schema": {"type": "string"}}]),
        "tools.0.custom.input_schema.type: Input should be 'object'",
    ),
    (
        "long tool name",
        request(tools=[{**TOOL, "name": "x" * 129}]),
        "tools.0.custom.name: String should have at most 128 characters",
    ),
    ("tool name with a space", request(tools=[{**TOOL, "name": "a b"}]), "tools.0.custom.name: String should match"),
    ("tools of one name", request(tools=[TOOL, TOOL]), "tools: Tool names must be unique."),
    (
        "anyOf at the top",
        request(tools=[{"name": "Read", "input_schema": {"type": "object", "anyOf": []}}]),
        "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
    ),
    (
        "odd property name",
        request(tools=[{"name": "Read", "input_schema": {"type": "object", "properties": {"a b": {}}}}]),
        "tools.0.custom.input_schema.properties: Property keys should match pattern",
    ),
    ("a choice without tools", request(tool_choice={"type": "auto"}), "tool_choice may only be specified while"),
    ("forced tool", request(tools=[TOOL], tool_choice={"type": "any"}), "Thinking may not be enabled when tool_choice"),
    (
        "forced named tool",
        request(tools=[TOOL], tool_choice={"type": "tool", "name": "Read"}),
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    (
        "thinking switched on",
        request(thinking={"type": "enabled", "budget_tokens": 2_000}),
        '"thinking.type.enabled" is not supported for this model.',
    ),
    ("too many tokens", request(max_tokens=128_001), "max_tokens: 128001 > 128000, which is the maximum allowed"),
    # content and order
    ("no message", request(messages=[]), "messages: at least one message is required"),
    ("begins with the assistant", messages(assistant(TEXT), user(TEXT)), 'first message must use the "user" role'),
    ("prefill", messages(user(TEXT), assistant(TEXT)), "This model does not support assistant message prefill."),
    ("empty content", messages(user()), "messages.0: all messages must have non-empty content"),
    ("empty text content", messages({"role": "user", "content": ""}), "messages.0: all messages must have non-empty"),
    ("empty text block", messages(user({**TEXT, "text": ""})), "text content blocks must be non-empty"),
    ("blank text block", messages(user({**TEXT, "text": " \n"})), "text content blocks must contain non-whitespace"),
    ("empty system block", request(system=[{"type": "text", "text": ""}]), "text content blocks must be non-empty"),
    (
        "system first",
        messages({"role": "system", "content": "x"}, user(TEXT)),
        "messages.0: a `system` message must directly follow a `user` message",
    ),
    (
        "system twice",
        messages(user(TEXT), {"role": "system", "content": "x"}, {"role": "system", "content": "y"}),
        "messages.1: a `system` message must directly follow",
    ),
    (
        "a tool call of the user",
        messages(user(CALL)),
        "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages",
    ),
    (
        "a result of the assistant",
        messages(user(TEXT), assistant(RESULT), user(TEXT)),
        "messages.1.content.0: `tool_result` blocks can only be in `user` messages",
    ),
    # pairs of calls and results
    (
        "call without result",
        messages(user(TEXT), assistant(CALL), user(TEXT)),
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_01a. Each",
    ),
    (
        "one of two results missing",
        messages(user(TEXT), assistant(CALL, {**CALL, "id": "toolu_01b"}), user(RESULT)),
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_01b.",
    ),
    (
        "text before the result",
        messages(user(TEXT), assistant(CALL), user(TEXT, RESULT)),
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_01a.",
    ),
    (
        "result two messages later",
        messages(user(TEXT), assistant(CALL), user(TEXT), user(RESULT)),
        "messages.1: `tool_use` ids were found without",
    ),
    (
        "result without call",
        messages(user(RESULT)),
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_01a.",
    ),
    (
        "result of another call",
        messages(user(TEXT), assistant(CALL), user(RESULT, {**RESULT, "tool_use_id": "toolu_01x"})),
        "messages.2.content.1: unexpected `tool_use_id` found in `tool_result` blocks: toolu_01x.",
    ),
    (
        "two results of one call",
        messages(user(TEXT), assistant(CALL), user(RESULT, RESULT)),
        "messages.2.content.1: each tool_use must have a single result.",
    ),
    (
        "an id used twice",
        messages(user(TEXT), assistant(CALL), user(RESULT), assistant(CALL), user(RESULT)),
        "messages.3: `tool_use` ids must be unique",
    ),
    (
        "empty error result",
        messages(user(TEXT), assistant(CALL), user({**RESULT, "content": "", "is_error": True})),
        "messages.2.content.0.tool_result: content cannot be empty if `is_error` is true",
    ),
    (
        "empty text in a result",
        messages(user(TEXT), assistant(CALL), user({**RESULT, "content": [{"type": "text", "text": ""}]})),
        "text content blocks must be non-empty",
    ),
    # thinking
    (
        "an invented signature",
        messages(user(TEXT), assistant({"type": "thinking", "thinking": "x", "signature": "é"}, TEXT), user(TEXT)),
        "messages.1.content.0: Invalid `signature` in `thinking` block",
    ),
    (
        "an invented redacted block",
        messages(user(TEXT), assistant({"type": "redacted_thinking", "data": "x"}, TEXT), user(TEXT)),
        "messages.1.content.0: Invalid `data` in `redacted_thinking` block",
    ),
    # cache marks
    (
        "five breakpoints",
        messages(user(*[{**TEXT, "cache_control": EPHEMERAL}] * 5)),
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        "four breakpoints and the automatic one",
        request(cache_control=EPHEMERAL, messages=[user(*[{**TEXT, "cache_control": EPHEMERAL}] * 4, TEXT)]),
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        "1h after 5m",
        request(system=[{**TEXT, "cache_control": EPHEMERAL}], messages=[user({**TEXT, "cache_control": HOUR})]),
        "messages.0.content.0.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m'",
    ),
    (
        "automatic 1h after 5m",
        request(system=[{**TEXT, "cache_control": EPHEMERAL}], cache_control=HOUR),
        "cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.",
    ),
    (
        "empty text with a mark",
        messages(user({"type": "text", "text": "", "cache_control": EPHEMERAL})),
        "messages.0.content.0.text: cache_control cannot be set for empty text blocks",
    ),
]


@pytest.mark.parametrize(
    ("body", "words"), [(body, words) for _, body, words in REFUSED], ids=[n for n, _, _ in REFUSED]
)
async def test_invalid_requests_are_refused(raw: Any, body: dict[str, Any], words: str) -> None:
    async with serve_scenario(Scenario(default=ScriptedStep(text="never"))) as standin, raw(standin) as client:
        answer = await client.post(body)
        document = answer.json()
        assert answer.status_code == 400, document
        assert document["type"] == "error"
        assert document["error"]["type"] == "invalid_request_error"
        assert words in document["error"]["message"]
        assert document["request_id"] == answer.headers["request-id"]
        [record] = standin.requests
        assert (record.status, record.whole, record.cost_usd) == (400, False, 0.0)


VALID: list[tuple[str, dict[str, Any]]] = [
    ("plain", request()),
    ("blocks", messages(user(TEXT, TEXT))),
    ("consecutive user messages", messages(user(TEXT), user(TEXT))),
    ("calls and results", messages(user(TEXT), assistant(TEXT, CALL), user(RESULT, TEXT), assistant(TEXT), user(TEXT))),
    ("empty result", messages(user(TEXT), assistant(CALL), user({"type": "tool_result", "tool_use_id": "toolu_01a"}))),
    ("system message last", messages(user(TEXT), {"role": "system", "content": "Today is Monday."})),
    (
        "system message in the middle",
        messages(user(TEXT), {"role": "system", "content": [TEXT]}, assistant(TEXT), user(TEXT)),
    ),
    ("tools", request(tools=[TOOL, {"type": "bash_20250124", "name": "bash"}], tool_choice={"type": "auto"})),
    ("effort", request(output_config={"effort": "high"}, system="You are terse.", stop_sequences=["END"])),
    ("adaptive thinking", request(thinking={"type": "adaptive"})),
    (
        "four breakpoints, the long ones first",
        request(
            cache_control=EPHEMERAL,
            tools=[{**TOOL, "cache_control": HOUR}],
            system=[{**TEXT, "cache_control": HOUR}],
            messages=[user({**TEXT, "cache_control": EPHEMERAL}, TEXT)],
        ),
    ),
    (
        "automatic breakpoint where one stands",
        request(cache_control=EPHEMERAL, messages=[user(*[{**TEXT, "cache_control": EPHEMERAL}] * 4)]),
    ),
]


@pytest.mark.parametrize("body", [body for _, body in VALID], ids=[name for name, _ in VALID])
async def test_valid_requests_are_answered(raw: Any, body: dict[str, Any]) -> None:
    async with serve_scenario(Scenario(default=ScriptedStep(text="Hello."))) as standin, raw(standin) as client:
        answer = await client.post(body)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert document["content"] == [{"type": "text", "text": "Hello."}]
        assert document["stop_reason"] == "end_turn"
        assert document["role"] == "assistant"
        counted = await client.post(
            {name: value for name, value in body.items() if name not in ("max_tokens", "stop_sequences")},
            path="/v1/messages/count_tokens",
        )
        usage = document["usage"]
        assert counted.json() == {"input_tokens": usage["input_tokens"] + usage["cache_creation_input_tokens"]}


async def test_headers_keys_and_bodies(raw: Any) -> None:
    scenario = Scenario(default=ScriptedStep(text="Hello."), keys=["sk-right"])
    async with serve_scenario(scenario) as standin, raw(standin) as client:
        cases: list[tuple[int, str, str, dict[str, Any]]] = [
            (401, "authentication_error", "x-api-key header is required", {"authorization": None}),
            (401, "authentication_error", "Invalid bearer token", {}),
            (401, "authentication_error", "invalid x-api-key", {"authorization": None, "x_api_key": "sk-wrong"}),
            (400, "invalid_request_error", "anthropic-version", {"anthropic_version": None} | bearer("sk-right")),
            (400, "invalid_request_error", "content-type", {"content_type": "text/plain"} | bearer("sk-right")),
            (400, "invalid_request_error", "X-Baton-Turn".lower(), {"x_baton_turn": "two"} | bearer("sk-right")),
        ]
        for status, kind, words, headers in cases:
            answer = await client.post(request(), **headers)
            assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
            assert words in answer.json()["error"]["message"]
        for headers in (bearer("sk-right"), {"authorization": None, "x_api_key": "sk-right"}):
            assert (await client.post(request(), **headers)).status_code == 200
        for body in (b"{", b"[]", b'{"model": NaN}', b'{"model": "\\ud800"}'):
            answer = await client.post(body, **bearer("sk-right"))
            assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
        assert "sk-" not in str([record.model_dump() for record in standin.requests])


def bearer(key: str) -> dict[str, Any]:
    return {"authorization": f"Bearer {key}"}


async def test_models_and_paths(raw: Any) -> None:
    async with (
        serve_scenario(Scenario(default=ScriptedStep(text="x"), models=["claude-next-9"])) as standin,
        raw(standin) as client,
    ):
        answer = await client.post(request(model="claude-2"))
        assert (answer.status_code, answer.json()["error"]) == (
            404,
            {"type": "not_found_error", "message": "model: claude-2"},
        )
        assert (await client.post(request(model="claude-sonnet-4-20250514"))).status_code == 404
        assert (await client.post(request(model="claude-next-9"))).status_code == 200
        key = {"x-api-key": "k"}
        assert (await client.client.get(f"/v1/models/{MODEL}", headers=key)).json()["max_input_tokens"] == 1_000_000
        assert (await client.client.get("/v1/models/nope", headers=key)).status_code == 404
        assert (await client.client.get(f"/v1/models/{MODEL}")).status_code == 401
        listed = (await client.client.get("/v1/models", headers=key)).json()
        assert "claude-next-9" in [model["id"] for model in listed["data"]]
        assert (await client.client.get("/v1/messages", headers=key)).status_code == 405
        assert (await client.client.get("/v1/other", headers=key)).json()["error"]["type"] == "not_found_error"


async def test_more_than_32_mb_are_refused(raw: Any) -> None:
    async with serve_scenario(Scenario(default=ScriptedStep(text="x"))) as standin, raw(standin) as client:
        answer = await client.post(request(messages=[{"role": "user", "content": "x" * 33 * 1024 * 1024}]))
        assert answer.status_code == 413
        assert answer.json()["error"]["type"] == "request_too_large"
        long = await client.post(request(messages=[{"role": "user", "content": "word " * 900_000}]))
        assert long.json()["error"]["message"].startswith("prompt is too long: 1")


async def talk(client: Any, standin: StandIn) -> list[dict[str, Any]]:
    """A conversation with two thinking blocks, as it must be sent back."""
    history: list[dict[str, Any]] = [user(TEXT)]
    for turn in (1, 2):
        answer = await client.post(talking(history), x_baton_turn=str(turn))
        assert answer.status_code == 200, answer.text
        content = answer.json()["content"]
        history += [assistant(*content), user({**RESULT, "tool_use_id": content[-1]["id"]})]
    return history


def talking(history: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return request(messages=history, system="Be brief.", tools=[TOOL], **changes)


SCRIPT = Scenario(
    steps=[
        ScriptedStep(turn=1, thinking="First.", calls=[ScriptedCall("Read", {"file_path": "a"})]),
        ScriptedStep(turn=2, thinking="Second.", text="Now b.", calls=[ScriptedCall("Read", {"file_path": "b"})]),
        ScriptedStep(turn=3, text="Done."),
    ]
)


def _changed_text(history: list[dict[str, Any]]) -> None:
    history[0]["content"][0]["text"] = "Hello!"


def _changed_thinking(history: list[dict[str, Any]]) -> None:
    history[3]["content"][0]["thinking"] = "Third."


def _changed_result(history: list[dict[str, Any]]) -> None:
    history[2]["content"][0]["content"] = "other"


def _dropped_first(history: list[dict[str, Any]]) -> None:
    del history[1]["content"][0]


def _dropped_last(history: list[dict[str, Any]]) -> None:
    del history[3]["content"][0]


def _dropped_turn(history: list[dict[str, Any]]) -> None:
    del history[1:3]


def _swapped_order(history: list[dict[str, Any]]) -> None:
    history[3]["content"].insert(1, history[3]["content"].pop(0))


@pytest.mark.parametrize(
    "change",
    [_changed_text, _changed_thinking, _changed_result, _dropped_first, _dropped_last, _dropped_turn, _swapped_order],
)
async def test_thinking_is_bound_to_all_before_it(raw: Any, change: Any) -> None:
    async with serve_scenario(SCRIPT) as standin, raw(standin) as client:
        history = await talk(client, standin)
        change(history)
        answer = await client.post(talking(history), x_baton_turn="3")
        assert answer.status_code == 400
        message = answer.json()["error"]["message"]
        assert "Invalid `signature` in `thinking` block" in message or "cannot be modified" in message


async def test_thinking_is_bound_to_system_and_tools(raw: Any) -> None:
    async with serve_scenario(SCRIPT) as standin, raw(standin) as client:
        history = await talk(client, standin)
        other = {**TOOL, "description": "Reads."}
        for change in ({"system": "Be long."}, {"system": ...}, {"tools": [other]}, {"tools": ...}):
            body = {name: value for name, value in {**talking(history), **change}.items() if value is not ...}
            answer = await client.post(body, x_baton_turn="3")
            assert (answer.status_code, answer.json()["error"]["message"]) == (
                400,
                "messages.1.content.0: Invalid `signature` in `thinking` block",
            )


async def test_what_does_not_change_the_prefix_is_allowed(raw: Any) -> None:
    """Cache marks may move, keys may be sorted, a system prompt may be text or one block, messages may be joined."""
    async with serve_scenario(SCRIPT) as standin, raw(standin) as client:
        history = await talk(client, standin)
        history[0]["content"] = "Hello"
        history[2]["content"][0]["cache_control"] = EPHEMERAL
        history[3]["content"] = [dict(sorted(block.items(), reverse=True)) for block in history[3]["content"]]
        history.append(user({**TEXT, "text": "And go on."}))
        history.append({"role": "system", "content": "It is late."})
        body = talking(history) | {"system": [{"type": "text", "text": "Be brief.", "cache_control": EPHEMERAL}]}
        answer = await client.post(body, x_baton_turn="3")
        assert answer.status_code == 200, answer.text


async def test_a_restarted_stand_in_knows_its_signatures(raw: Any) -> None:
    async with serve_scenario(SCRIPT) as standin, raw(standin) as client:
        history = await talk(client, standin)
    async with serve_scenario(SCRIPT) as standin, raw(standin) as client:
        assert (await client.post(talking(history), x_baton_turn="3")).status_code == 200


async def test_a_paused_turn_is_taken_back_as_it_is(raw: Any) -> None:
    search = ScriptedCall("web_search", {"query": "pagination"}, server=True)
    scenario = Scenario(
        steps=[ScriptedStep(text="Wait.", calls=[search], stop_reason="pause_turn"), ScriptedStep(text="Done.")]
    )
    async with serve_scenario(scenario) as standin, raw(standin) as client:
        answer = (await client.post(request())).json()
        assert answer["stop_reason"] == "pause_turn"
        history = [{"role": "user", "content": "Hello"}, assistant(*answer["content"])]
        assert (await client.post(request(messages=history))).json()["content"][0]["text"] == "Done."
        history[1]["content"][0]["text"] = "Wait!"
        refused = await client.post(request(messages=history))
        assert "prefill" in refused.json()["error"]["message"]


async def test_a_pause_without_a_tool_of_the_api_is_not_taken_back(raw: Any) -> None:
    async with (
        serve_scenario(Scenario(steps=[ScriptedStep(text="Wait.", stop_reason="pause_turn")])) as standin,
        raw(standin) as client,
    ):
        answer = (await client.post(request())).json()
        history = [{"role": "user", "content": "Hello"}, assistant(*answer["content"])]
        refused = await client.post(request(messages=history))
        assert (refused.status_code, "prefill" in refused.text) == (400, True)
