"""The API's forms of an answer: one message, or a stream of server-sent events.

https://docs.claude.com/en/docs/build-with-claude/streaming
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from baton.records.run import Usage
from standin.script.answer import AnswerBlock, ScriptedAnswer

Event = tuple[str, dict[str, Any]]

_PIECES = 8
"""Maximum number of deltas of a block's text."""
_MIN_PIECE = 24
"""Characters of the shortest delta but the last."""


def encode_event(event: Event) -> bytes:
    """Return the bytes of an event."""
    name, data = event
    return b"event: " + name.encode() + b"\ndata: " + json_bytes(data) + b"\n\n"


def json_bytes(data: dict[str, Any]) -> bytes:
    """Return the bytes of JSON; a lone surrogate, which a scenario may contain, is sent as an escape."""
    try:
        return to_json(data)
    except PydanticSerializationError:
        return json.dumps(data).encode()


PING: Event = ("ping", {"type": "ping"})


def usage_body(usage: Usage) -> dict[str, Any]:
    """Return usage in the API's form."""
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.output_tokens,
        "service_tier": "standard",
    }


def message_body(answer: ScriptedAnswer, usage: Usage) -> dict[str, Any]:
    """Return the answer to a request that does not stream."""
    body: dict[str, Any] = {
        "model": answer.model,
        "id": answer.message_id,
        "type": "message",
        "role": "assistant",
        "content": answer.content_blocks(),
        "stop_reason": answer.stop_reason,
        "stop_sequence": None,
        "usage": usage_body(usage),
    }
    if answer.stop_details is not None:
        body["stop_details"] = answer.stop_details
    return body


def _split_pieces(text: str) -> Iterator[str]:
    size = max(_MIN_PIECE, -(-len(text) // _PIECES))
    for start in range(0, len(text), size):
        yield text[start : start + size]


def _block_events(index: int, block: AnswerBlock) -> Iterator[Event]:
    body = block.body
    kind = body["type"]
    empty: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
        "server_tool_use": {"input": {}},
    }
    opening = {**body, **empty.get(kind, {})}
    yield "content_block_start", {"type": "content_block_start", "index": index, "content_block": opening}
    yield PING
    deltas: list[dict[str, Any]] = []
    if kind == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in _split_pieces(body["text"])]
    elif kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _split_pieces(body["thinking"])]
        deltas += [{"type": "signature_delta", "signature": body["signature"]}] if body["signature"] else []
    elif kind in ("tool_use", "server_tool_use"):
        text = to_json(body["input"]).decode() if block.partial_input is None else block.partial_input
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *_split_pieces(text))]
    for delta in deltas:
        yield "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": index}


def stream_events(answer: ScriptedAnswer, usage: Usage) -> Iterator[Event]:
    """Yield the events of a streamed answer, including pings."""
    started = usage.model_copy(update={"output_tokens": min(1, usage.output_tokens)})
    message = message_body(answer, started) | {"content": [], "stop_reason": None}
    message.pop("stop_details", None)
    yield "message_start", {"type": "message_start", "message": message}
    for index, block in enumerate(answer.blocks):
        yield from _block_events(index, block)
    delta: dict[str, Any] = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    if answer.stop_details is not None:
        delta["stop_details"] = answer.stop_details
    final = usage_body(usage)
    closing = {name: final[name] for name in final if name.endswith("_tokens")}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": closing}
    yield "message_stop", {"type": "message_stop"}
