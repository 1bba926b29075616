"""A received answer: the blocks from the wire, repaired so that they can be stored and sent back.

The SDK parses the input of a tool call while it streams, and raises on invalid JSON, so that a paid answer would be
lost. So the text of inputs is held apart and parsed here at the end. Invalid input is sent back within an object, and
its call gets an error as its result:
https://docs.claude.com/en/docs/agents-and-tools/tool-use/fine-grained-tool-streaming
"""

import json
import math
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
from pydantic_core import from_json

from baton.text.truncation import cut_text
from baton.text.untrusted import repair_json, replace_surrogates

if TYPE_CHECKING:
    from anthropic import AsyncStream
    from anthropic.types import RawMessageStreamEvent

INVALID_JSON = "INVALID_JSON"
"""Key of the object in which invalid input is sent back as text."""

_MAX_DEPTH = 64
"""Levels of a tool's input. JSON parsers fail at 200 and more, and a request nests the input some levels deep."""
_MAX_WHOLE_NUMBER = 2**64
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_BLOCK_ID = re.compile(r"[a-zA-Z0-9_-]+")
_KINDS = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number", type(None): "null"}
_BOUND = frozenset({"thinking", "redacted_thinking"})
"""Blocks that the API accepts back only unchanged, and only after unchanged blocks."""


class InputSplitStream:
    """A stream of events without the text of tool inputs, which it collects by the number of their block."""

    def __init__(self, stream: "AsyncStream[RawMessageStreamEvent]") -> None:
        self._stream = stream
        self._pieces: dict[int, list[str]] = {}

    @property
    def response(self) -> httpx2.Response:
        """The HTTP response of the stream."""
        return self._stream.response

    async def __aiter__(self) -> AsyncIterator["RawMessageStreamEvent"]:
        async for event in self._stream:
            if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                self._pieces.setdefault(event.index, []).append(str(event.delta.partial_json))
            else:
                yield event

    async def close(self) -> None:
        """Close the response."""
        await self._stream.close()

    @property
    def input_texts(self) -> dict[int, str]:
        """The part of each block's input that has come, as text."""
        return {index: "".join(pieces) for index, pieces in self._pieces.items()}


@dataclass
class ReceivedAnswer:
    """The content of an answer in a form that can be stored and sent back, with its faults for the model."""

    content: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    """The reason why a tool call does not run, by its id."""
    fault: str = ""
    """The reason why no part of the answer is sent back; then the content is empty."""
    unsent: list[dict[str, Any]] = field(default_factory=list)
    """That content, for people."""


def receive_answer(content: list[dict[str, Any]], texts: dict[int, str], *, uncut: bool) -> ReceivedAnswer:
    """Parse the inputs of an answer's tool calls, by the number of their block, and repair its blocks for the store.

    An answer that is not `uncut` may end within an input: the part that has come is kept, and the call does not run.
    """
    taken = ReceivedAnswer()
    seen: set[str] = set()
    altered = False
    for index, block in enumerate(content):
        mended = _repair_block(block, texts.get(index, ""), uncut=uncut)
        kind, call = block.get("type"), str(mended.block.get("id", ""))
        if kind == "tool_use":
            if not _BLOCK_ID.fullmatch(call) or call in seen:
                taken.fault = taken.fault or "the id of a tool call in it is missing, odd, or stands twice"
            seen.add(call)
            if mended.fault:
                taken.faults[call] = mended.fault
        elif mended.fault:
            taken.fault = taken.fault or mended.fault
        if kind in _BOUND and (altered or mended.altered):
            taken.fault = taken.fault or "the thinking in it can only be sent back just as it is, and the rest cannot"
        altered = altered or mended.altered
        taken.content.append(mended.block)
    if taken.fault:
        taken.unsent, taken.content, taken.faults = taken.content, [], {}
        taken.fault = (
            f"The engine cannot take your last answer, for {taken.fault}. Nothing in it was done, and it is no part of"
            " this conversation. Give it again."
        )
    return taken


@dataclass
class _ReceivedBlock:
    block: dict[str, Any]
    fault: str = ""
    altered: bool = False
    """Whether it differs from the block that the model wrote."""


def _repair_block(block: dict[str, Any], text: str, *, uncut: bool) -> _ReceivedBlock:
    kind = block.get("type")
    if kind not in ("tool_use", "server_tool_use"):
        cleaned, bad = clean_text(block), _storage_fault(block)
        # Text is repaired in place; a number or depth that cannot be stored makes the block invalid.
        return _ReceivedBlock(cleaned, "a part of it cannot be stored" if bad else "", altered=cleaned != block)
    given = {name: value for name, value in block.items() if name != "input"}
    cleaned = clean_text(given)
    value, reason = _read_input(text, block.get("input"), uncut=uncut)
    fault = f"the input of this call was not valid JSON: {reason}" if reason else ""
    if kind == "tool_use" and not _TOOL_NAME.fullmatch(name := str(cleaned.get("name"))):
        cleaned["name"] = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:128] or "unnamed"
        fault = fault or f"there is no tool {cut_text(name, 60)!r}"
    if fault and kind == "tool_use":
        fault = f"{fault[0].upper()}{fault[1:]}. The call was not made. Fix it and call again."
    # In the order of the API's own fields.
    mended = {clean_text(name): value if name == "input" else cleaned[clean_text(name)] for name in block}
    mended.setdefault("input", value)
    return _ReceivedBlock(mended, fault, altered=bool(reason) or cleaned != given)


def _read_input(text: str, given: Any, *, uncut: bool) -> tuple[dict[str, Any], str]:
    """Return the input of a call, and its fault; with a fault the input is an object that holds the text."""
    text = _join_surrogates(text)
    if text.strip():
        try:
            value = from_json(text.encode())
        except ValueError as error:
            value, reason = None, _parser_reason(error, text)
            if not uncut:
                value, reason = _read_partial(text), ""
        else:
            reason = _duplicate_name(text)
    else:
        # Some gateways send the whole input with the start of the block, and no deltas.
        value = clean_text(given) if given is not None else {}
        reason = "" if given in (None, value) else "it holds what no JSON can"
        text = json.dumps(value)
    reason = reason or _storage_fault(value)
    if not reason and not isinstance(value, dict):
        reason = f"it must be an object, and it is {_KINDS.get(type(value), 'something else')}"
    return (value, "") if not reason else ({INVALID_JSON: replace_surrogates(text)}, reason)


def _parser_reason(error: ValueError, text: str) -> str:
    """Return the parser's reason; half of a surrogate pair is named as such."""
    if isinstance(error, UnicodeEncodeError) or repair_json(text.encode()) != text.encode():
        return r"it holds half of a surrogate pair (such as \ud800), which stands for no character"
    return cut_text(str(error), 300)


def _read_partial(text: str) -> Any:
    """Return the part of an input that was cut off; its text within an object if it cannot be parsed."""
    try:
        value = from_json(text.encode(), allow_partial=True)
    except ValueError:
        value = None
    return value if isinstance(value, dict) and not _storage_fault(value) else {INVALID_JSON: replace_surrogates(text)}


def _duplicate_name(text: str) -> str:
    """Return the fault of an input with a duplicate key, since either value could be meant; empty if there is none."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        if len(dict(pairs)) < len(pairs):
            found.extend(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)

    with suppress(ValueError, RecursionError):  # It was parsed already; this only counts keys.
        json.loads(text, object_pairs_hook=note)
    return f"the name {cut_text(found[0], 60)!r} stands twice in an object" if found else ""


def _storage_fault(value: Any) -> str:
    """Return the reason why a value cannot be stored and sent as JSON; empty if it can."""
    rest = [(value, 0)]
    while rest:
        one, depth = rest.pop()
        if isinstance(one, dict | list):
            if depth >= _MAX_DEPTH:
                return f"it is nested more than {_MAX_DEPTH} levels deep"
            inner = [*one.values(), *one] if isinstance(one, dict) else one
            rest += [(part, depth + 1) for part in inner]
        elif isinstance(one, float) and not math.isfinite(one):
            return "it holds a number that is none (NaN, Infinity, or one too large)"
        elif isinstance(one, int) and abs(one) >= _MAX_WHOLE_NUMBER:
            return "it holds a whole number of more than 64 bits"
    return ""


def clean_text(value: Any) -> Any:
    """Return the value with every text in valid Unicode, and None for values deeper than `_MAX_DEPTH`."""
    return _clean_nested(value, 0)


def _clean_nested(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return replace_surrogates(_join_surrogates(value))
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {_clean_nested(name, depth): _clean_nested(inner, depth + 1) for name, inner in value.items()}
    return [_clean_nested(inner, depth + 1) for inner in value] if isinstance(value, list) else value


def _join_surrogates(text: str) -> str:
    """Return the text with each surrogate pair as one character: a pair may come in two pieces."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
