"""The rules of a request beyond its types, with the API's messages: tool calls and results, content, cache marks.

https://docs.claude.com/en/api/errors and the pages on tool use, prompt caching, thinking and system messages.
"""

import re
from collections.abc import Iterator
from typing import Any

from standin.api.errors import ApiError, invalid_request
from standin.api.model_list import MAX_OUTPUT_TOKENS, ModelCatalogue
from standin.api.prefix import HashedPrefix, blocks_of

MAX_CACHE_MARKS = 4
_PROPERTY_KEY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_ROLE_OF_BLOCK = {"tool_use": "assistant", "thinking": "assistant", "redacted_thinking": "assistant"} | {
    "tool_result": "user"
}


def check_model(request: dict[str, Any], catalogue: ModelCatalogue) -> None:
    """Check that the model exists and that the request is within its limits; raises ApiError (404 or 400)."""
    model = request["model"]
    if not catalogue.serves_model(model):
        raise ApiError(404, f"model: {model}")
    most = request.get("max_tokens", 0)
    if most > MAX_OUTPUT_TOKENS:
        raise invalid_request(
            f"max_tokens: {most} > {MAX_OUTPUT_TOKENS}, which is the maximum allowed number of output tokens for "
            f"{model}"
        )
    thinking = request.get("thinking") or {}
    if thinking.get("type") == "enabled":
        raise invalid_request(
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )


def check_size(prefix: HashedPrefix, catalogue: ModelCatalogue) -> None:
    """Check that the prompt fits the context window; raises ApiError (400)."""
    if prefix.tokens > catalogue.context_window:
        raise invalid_request(f"prompt is too long: {prefix.tokens} tokens > {catalogue.context_window} maximum")


def check_rules(request: dict[str, Any], *, prefill: bool = False) -> None:
    """Check the rules that need neither the model nor the hashes; raises ApiError (400) with the first violation.

    `prefill` permits a last message of the assistant, because the API accepts its own paused turn.
    """
    messages = request["messages"]
    if not messages:
        raise invalid_request("messages: at least one message is required")
    _check_tools(request)
    _check_system(request)
    _check_order(messages, prefill)
    _check_content(messages)
    _check_tool_pairs(messages)
    _check_cache_marks(request)


def _check_tools(request: dict[str, Any]) -> None:
    tools = request.get("tools") or []
    names = [tool["name"] for tool in tools if "name" in tool]
    if len(set(names)) != len(names):
        raise invalid_request("tools: Tool names must be unique.")
    for index, tool in enumerate(tools):
        schema = tool.get("input_schema") or {}
        if any(word in schema for word in ("oneOf", "allOf", "anyOf")):
            raise invalid_request(
                f"tools.{index}.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top "
                "level"
            )
        for key in schema.get("properties") or {}:
            if not _PROPERTY_KEY.fullmatch(key):
                raise invalid_request(
                    f"tools.{index}.custom.input_schema.properties: Property keys should match pattern "
                    "'^[a-zA-Z0-9_.-]{1,64}$'"
                )
    choice = request.get("tool_choice")
    if choice and not tools:
        raise invalid_request("tool_choice: tool_choice may only be specified while providing tools.")
    if choice and choice["type"] in ("any", "tool"):
        raise invalid_request("tool_choice: Thinking may not be enabled when tool_choice forces tool use.")


def _check_system(request: dict[str, Any]) -> None:
    for index, block in enumerate(blocks_of(request.get("system"))):
        if isinstance(request["system"], list) and not block["text"]:
            place = "cache_control cannot be set for empty text blocks" if block.get("cache_control") else ""
            raise invalid_request(
                f"system.{index}: {place}" if place else "system: text content blocks must be non-empty"
            )


def _check_order(messages: list[dict[str, Any]], prefill: bool) -> None:
    if messages[0]["role"] == "assistant":
        raise invalid_request('messages: first message must use the "user" role')
    for index, message in enumerate(messages):
        before = messages[index - 1]["role"] if index else None
        after = messages[index + 1]["role"] if index + 1 < len(messages) else None
        if message["role"] == "system" and (before != "user" or after not in (None, "assistant")):
            raise invalid_request(
                f"messages.{index}: a `system` message must directly follow a `user` message, and be the last message "
                "or be followed by an `assistant` message. Use the top-level `system` parameter for the initial prompt."
            )
    last = blocks_of(messages[-1]["content"])
    if messages[-1]["role"] == "assistant" and last and last[-1]["type"] == "thinking":
        raise invalid_request(
            f"messages.{len(messages) - 1}: The final block in an assistant message cannot be `thinking`."
        )
    if messages[-1]["role"] == "assistant" and not prefill:
        raise invalid_request(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _check_content(messages: list[dict[str, Any]]) -> None:
    for index, message in enumerate(messages):
        if not message["content"]:
            raise invalid_request(
                f"messages.{index}: all messages must have non-empty content except for the optional final assistant "
                "message"
            )
        for inner, block in enumerate(blocks_of(message["content"])):
            place = f"messages.{index}.content.{inner}"
            role = _ROLE_OF_BLOCK.get(block["type"])
            if role is not None and message["role"] != role:
                raise invalid_request(f"{place}: `{block['type']}` blocks can only be in `{role}` messages")
            if block["type"] == "text":
                _check_text(block, place)
            elif block["type"] == "tool_result":
                _check_tool_result(block, place)


def _check_text(block: dict[str, Any], place: str) -> None:
    if not block["text"]:
        if block.get("cache_control"):
            raise invalid_request(f"{place}.text: cache_control cannot be set for empty text blocks")
        raise invalid_request("messages: text content blocks must be non-empty")
    if not block["text"].strip():
        raise invalid_request("messages: text content blocks must contain non-whitespace text")


def _check_tool_result(block: dict[str, Any], place: str) -> None:
    content = block.get("content")
    if block.get("is_error") and not content:
        raise invalid_request(f"{place}.tool_result: content cannot be empty if `is_error` is true")
    if isinstance(content, list):
        for part in content:
            if part["type"] == "text" and not part["text"]:
                raise invalid_request("messages: text content blocks must be non-empty")


def _check_tool_pairs(messages: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for index, message in enumerate(messages):
        blocks = blocks_of(message["content"])
        if message["role"] == "user":
            _check_results(messages, index, blocks)
        if message["role"] != "assistant":
            continue
        ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(set(ids)) != len(ids) or seen.intersection(ids):
            raise invalid_request(f"messages.{index}: `tool_use` ids must be unique")
        seen.update(ids)
        following = messages[index + 1] if index + 1 < len(messages) else None
        answered = set(_leading_results(following)) if following and following["role"] == "user" else set()
        missing = [call for call in ids if call not in answered]
        if missing:
            raise invalid_request(
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )


def _leading_results(message: dict[str, Any]) -> Iterator[str]:
    for block in blocks_of(message["content"]):
        if block["type"] != "tool_result":
            return
        yield block["tool_use_id"]


def _check_results(messages: list[dict[str, Any]], index: int, blocks: list[dict[str, Any]]) -> None:
    before = messages[index - 1] if index else None
    calls = {
        block["id"]
        for block in (blocks_of(before["content"]) if before and before["role"] == "assistant" else ())
        if block["type"] == "tool_use"
    }
    results: set[str] = set()
    for inner, block in enumerate(blocks):
        if block["type"] != "tool_result":
            continue
        call = block["tool_use_id"]
        if call not in calls:
            raise invalid_request(
                f"messages.{index}.content.{inner}: unexpected `tool_use_id` found in `tool_result` blocks: {call}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if call in results:
            raise invalid_request(
                f"messages.{index}.content.{inner}: each tool_use must have a single result. Found multiple "
                f"`tool_result` blocks with id: {call}"
            )
        results.add(call)


def _cache_marks(request: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, tool in enumerate(request.get("tools") or ()):
        yield f"tools.{index}", tool
    if isinstance(request.get("system"), list):
        for index, block in enumerate(request["system"]):
            yield f"system.{index}", block
    for index, message in enumerate(request["messages"]):
        if isinstance(message["content"], str):
            continue
        for inner, block in enumerate(message["content"]):
            place = f"messages.{index}.content.{inner}"
            yield place, block
            if isinstance(block.get("content"), list):
                for part, nested in enumerate(block["content"]):
                    yield f"{place}.tool_result.content.{part}", nested


def _check_cache_marks(request: dict[str, Any]) -> None:
    marks = [(place, block["cache_control"]) for place, block in _cache_marks(request) if block.get("cache_control")]
    last = next(reversed(blocks_of(request["messages"][-1]["content"])))
    automatic = request.get("cache_control")
    if automatic:
        own = last.get("cache_control")
        if own and own.get("ttl", "5m") != automatic.get("ttl", "5m"):
            raise invalid_request(
                "cache_control: the last block already has a cache_control with a different ttl than the top-level one"
            )
        if not own:
            marks.append(("cache_control", automatic))
    if len(marks) > MAX_CACHE_MARKS:
        raise invalid_request(
            f"A maximum of {MAX_CACHE_MARKS} blocks with cache_control may be provided. Found {len(marks)}."
        )
    short = False
    for place, mark in marks:
        if mark.get("ttl", "5m") == "1h" and short:
            where = f"{place}.cache_control.ttl" if place != "cache_control" else "cache_control.ttl"
            raise invalid_request(
                f"{where}: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note "
                "that blocks are processed in the following order: `tools`, `system`, `messages`."
            )
        short = short or mark.get("ttl", "5m") == "5m"
