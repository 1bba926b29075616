"""What is made of an answer before it is stored: each part of it goes back as it came, or the model is told why not."""

import json
from typing import Any

import pytest
from pydantic_core import from_json

from activities.session.received_answer import INVALID_JSON, receive_answer
from tests.pipelines.failures.test_odd_answers import BAD, GOOD

THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


def call(name: str = "Write", given: Any = None, *, kind: str = "tool_use", number: int = 1) -> dict[str, Any]:
    return {"type": kind, "id": f"toolu_{number}", "name": name, "input": {} if given is None else given}


def stored(content: list[dict[str, Any]]) -> None:
    """It is JSON that a strict parser takes, within a request."""
    data = json.dumps({"messages": [{"content": content}]}, ensure_ascii=False, allow_nan=False).encode()
    from_json(data, allow_inf_nan=False)


@pytest.mark.parametrize("bad", [one for one in BAD.values() if one.raw], ids=[n for n, one in BAD.items() if one.raw])
def test_an_input_that_is_no_json_is_kept_as_text(bad) -> None:  # type: ignore[no-untyped-def]
    taken = receive_answer([THINKING, call(bad.name)], {1: bad.raw}, uncut=True)
    stored(taken.content)
    assert taken.content[0] == THINKING
    assert (taken.fault, taken.unsent) == ("", [])
    assert taken.faults["toolu_1"].startswith("The input of this call was not valid JSON: ")
    kept = taken.content[1]["input"]
    assert set(kept) == {INVALID_JSON}
    assert kept[INVALID_JSON] == bad.raw.replace("\ud800", "\ufffd")
    # A cut answer's calls do not run: what has come of them counts, or else their text.
    cut = receive_answer([call(bad.name)], {0: bad.raw}, uncut=False)
    stored(cut.content)
    assert isinstance(cut.content[0]["input"], dict)


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_an_input_that_is_json_is_what_it_says(good) -> None:  # type: ignore[no-untyped-def]
    taken = receive_answer([call(good.name), THINKING], {0: good.raw}, uncut=True)
    stored(taken.content)
    assert (taken.fault, taken.faults) == ("", {})
    assert taken.content[0]["input"] == json.loads(good.raw.strip() or "{}")


def test_names_that_are_none_never_become_those_of_tools() -> None:
    for name in ("", "hand off", "hand_off\n", "\ud800", "Glob" * 100, "mcp.tool"):
        taken = receive_answer([call(name, {"pattern": "*"})], {}, uncut=True)
        stored(taken.content)
        (block,) = taken.content
        assert 1 <= len(block["name"]) <= 128
        assert block["input"] == {"pattern": "*"}
        assert "no tool" in taken.faults["toolu_1"]
    assert receive_answer([call("Glob", {"pattern": "*"})], {}, uncut=True).faults == {}


@pytest.mark.parametrize(
    ("given", "kept"),
    [({"a": "\ud800"}, False), ({"a": float("nan")}, False), ([], False), ({"a": [1]}, True), ("", False)],
)
def test_an_input_that_comes_with_its_block_is_read_too(given: Any, kept: bool) -> None:
    taken = receive_answer([call("Glob", given)], {}, uncut=True)
    stored(taken.content)
    assert (taken.faults == {}) is kept
    assert (taken.content[0]["input"] == given) is kept


@pytest.mark.parametrize(
    "content",
    [
        [{**THINKING, "thinking": "\ud800"}, call("Glob")],
        [{"type": "redacted_thinking", "data": "\ud800"}],
        # Thinking is bound to what came before it, as it was.
        [{"type": "text", "text": "\ud800"}, THINKING],
        [call("no tool"), THINKING],
        [call("Glob"), call("Grep")],
        [{**call("Glob"), "id": "\ud800"}],
        [{**call("Glob"), "id": ""}],
        [call("web_search", {"query": float("inf")}, kind="server_tool_use")],
        [{"type": "web_search_tool_result", "tool_use_id": "x", "content": json.loads("[" * 300 + "]" * 300)}],
    ],
)
def test_what_cannot_be_sent_back_is_left_out_whole(content: list[dict[str, Any]]) -> None:
    taken = receive_answer([{"type": "text", "text": "First."}, *content], {}, uncut=True)
    assert (taken.content, taken.faults) == ([], {})
    assert "cannot take your last answer" in taken.fault
    stored(taken.unsent)
    assert taken.unsent[0]["text"] == "First."


def test_text_is_mended_and_pairs_are_joined() -> None:
    content = [THINKING, {"type": "text", "text": "a\ud83d\ude00\ud800b\x00"}]
    taken = receive_answer(content, {}, uncut=True)
    assert taken.content == [THINKING, {"type": "text", "text": "a\U0001f600\ufffdb\x00"}]
    assert (taken.fault, taken.faults) == ("", {})
