"""Requests: a prefix that keeps its bytes, an untouched transcript, cache marks where reads always find them."""

import copy
import json
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from pydantic import TypeAdapter

from agents.detection.detect import detect_technology
from agents.messages.request import CacheTtl, FrozenPrefix, build_request, freeze_prefix
from agents.roles.loader import builtin_agent, parse_agent
from baton.errors import WorkspaceError

LOOK_BACK = 20


def prefix(role: str = "backend") -> FrozenPrefix:
    technology = detect_technology(["requirements.txt"], {"requirements.txt": "fastapi\npsycopg\n"})
    definition = builtin_agent(role).definition
    return freeze_prefix(
        definition, role, model="claude-sonnet-5-5", max_tokens=32_000, scope="Everything.", technology=technology
    )


def conversation(turns: int, calls: int) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Carry out the task."}]
    for turn in range(turns):
        thinking = {"type": "thinking", "thinking": "...", "signature": f"s{turn}"}
        uses = [
            {"type": "tool_use", "id": f"u{turn}-{call}", "name": "Read", "input": {"file_path": "ä.py"}}
            for call in range(calls)
        ]
        messages.append({"role": "assistant", "content": [thinking, *uses]})
        results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "text"} for use in uses]
        messages.append({"role": "user", "content": results})
    return messages


def marks(request: dict[str, Any]) -> list[tuple[int, int]]:
    """Places of cache marks in the messages: message and block."""
    return [
        (index, position)
        for index, message in enumerate(request["messages"])
        for position, block in enumerate(message["content"])
        if "cache_control" in block
    ]


def test_a_prefix_keeps_its_bytes() -> None:
    frozen = prefix()
    stored = frozen.to_json()
    again = FrozenPrefix.from_json(stored)
    assert again == frozen
    assert again.to_json() == stored
    assert prefix().to_json() == stored
    assert again.content_digest == frozen.content_digest


def test_changing_what_tools_gives_does_not_change_the_prefix() -> None:
    frozen = prefix()
    before = frozen.to_json()
    frozen.parse_tools.clear()
    request = build_request(frozen, conversation(1, 1), "5m")
    request["tools"][0]["name"] = "Other"
    request["system"][0]["text"] = "Other"
    assert frozen.to_json() == before


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"model": 1}'])
def test_a_stored_prefix_that_was_changed_is_refused(data: bytes) -> None:
    with pytest.raises(WorkspaceError, match="prefix"):
        FrozenPrefix.from_json(data)
    with pytest.raises(WorkspaceError, match="changed"):
        FrozenPrefix.from_json(prefix().to_json().replace(b'"model":', b'"model": '))


def test_the_system_prompt_holds_role_technology_scope_and_rules() -> None:
    role, facts = prefix().system
    assert role == builtin_agent("backend").definition.prompt
    for expected in ("FastAPI", "PostgreSQL", "Everything.", "current directory"):
        assert expected in facts


def test_an_agent_without_a_prompt_has_no_empty_block() -> None:
    definition = parse_agent("---\nname: a\ndescription: d\n---\n", "x").definition
    frozen = freeze_prefix(
        definition, "tester", model="m", max_tokens=9, scope="Tests.", technology=detect_technology([], {})
    )
    assert len(frozen.system) == 1


@pytest.mark.parametrize("ttl", ["5m", "1h"])
def test_a_first_request_has_two_marks(ttl: CacheTtl) -> None:
    request = build_request(prefix(), conversation(0, 0), ttl)
    mark = {"type": "ephemeral", "ttl": ttl}
    assert request["cache_control"] == mark
    assert request["system"][-1]["cache_control"] == mark
    assert "cache_control" not in request["system"][0]
    assert marks(request) == []
    assert "thinking" not in request
    assert "output_config" not in request


@pytest.mark.parametrize("calls", [1, 10, 40])
def test_every_request_marks_the_end_of_the_one_before(calls: int) -> None:
    messages = conversation(3, calls)
    for turns in (1, 2, 3):
        request = build_request(prefix(), messages[: 1 + 2 * turns], "1h")
        # The previous request ended with the user message before the last answer: exactly there it wrote its cache.
        before = 2 * (turns - 1)
        assert marks(request) == [(before, len(request["messages"][before]["content"]) - 1)]


def test_top_level_alone_would_miss_where_this_layout_hits() -> None:
    request = build_request(prefix(), conversation(2, 10), "1h")
    ends = [(index, len(message["content"]) - 1) for index, message in enumerate(request["messages"])]
    distance = sum(len(message["content"]) for message in request["messages"][3:])
    assert distance > LOOK_BACK
    assert marks(request) == [ends[2]]


def test_messages_after_the_answer_do_not_move_the_mark() -> None:
    messages = [*conversation(2, 2), {"role": "user", "content": "A person says: faster."}]
    assert marks(build_request(prefix(), messages, "5m")) == [(2, 1)]


def test_a_paused_answer_is_sent_back_as_it_is() -> None:
    messages = [*conversation(1, 1), {"role": "assistant", "content": [{"type": "text", "text": "..."}]}]
    request = build_request(prefix(), messages, "5m")
    assert request["messages"][-1] == messages[-1]
    assert marks(request) == [(2, 0)]


def test_the_transcript_is_neither_changed_nor_shared() -> None:
    messages = conversation(3, 2)
    kept = copy.deepcopy(messages)
    request = build_request(prefix(), messages, "1h")
    assert messages == kept
    assert "cache_control" not in json.dumps(messages)
    assert [message["role"] for message in request["messages"]] == [message["role"] for message in messages]


def test_a_later_request_begins_with_the_bytes_of_an_earlier_one() -> None:
    def bare(request: dict[str, Any]) -> list[Any]:
        messages = copy.deepcopy(request["messages"])
        for message in messages:
            for block in message["content"]:
                block.pop("cache_control", None)
        return messages  # type: ignore[no-any-return]

    messages = conversation(4, 3)
    last = bare(build_request(prefix(), messages, "1h"))
    for end in range(1, len(messages), 2):
        assert last[:end] == bare(build_request(prefix(), messages[:end], "1h"))


def test_a_request_is_what_the_sdk_takes() -> None:
    request = build_request(prefix(), conversation(2, 3), "1h")
    # Iterables are checked when they are gone through, by the adapter's own definitions: it must live so long.
    adapter = TypeAdapter(MessageCreateParamsNonStreaming)
    checked: Any = adapter.validate_python(request)
    assert [list(message["content"]) for message in checked["messages"]]
    assert json.dumps(request).count('"cache_control"') == 3


def test_effort_is_sent_only_where_the_file_asks_for_it() -> None:
    definition = parse_agent("---\nname: a\ndescription: d\neffort: high\n---\nx", "x").definition
    frozen = freeze_prefix(
        definition, "tester", model="m", max_tokens=9, scope="Tests.", technology=detect_technology([], {})
    )
    assert build_request(frozen, conversation(0, 0), "5m")["output_config"] == {"effort": "high"}
    assert FrozenPrefix.from_json(frozen.to_json()).effort == "high"
