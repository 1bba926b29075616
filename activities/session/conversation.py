"""The conversation in the form that the Messages API accepts: the parts of an answer that are sent back, and its end.

Pure functions of the journal's entries: the same entries always make the same messages.
"""

from typing import Any

Message = dict[str, Any]

GO_ON = "Go on. When the work is done, call `hand_off`; if you cannot go on, call `escalate`."

_TAKEN_BACK = (
    "Not accepted yet: a message from the person who runs this pipeline came meanwhile, and stands below. Take it in;"
    " then call `hand_off` again."
)

WHOLE = frozenset({"end_turn", "tool_use", "stop_sequence", "pause_turn"})
"""Stop reasons of an answer that was not cut: after any other a tool call's input may end in the middle."""


def is_paused_by_server(answer: Message | None, stop_reason: str = "pause_turn") -> bool:
    """Whether the API continues an answer that is sent back unchanged: it paused in a server tool of its own.

    The API refuses a request that ends with any other answer, also with one whose stop reason is `pause_turn`.
    """
    if answer is None or answer["role"] != "assistant" or stop_reason != "pause_turn":
        return False
    blocks = _sendable_blocks(answer["content"])
    return any(block.get("type") == "server_tool_use" for block in blocks) and not _has_tool_use(blocks)


def append_user(messages: list[Message], user: Message | None) -> None:
    """Append the user's side of a turn; without one append `GO_ON`, unless the API continues its own pause."""
    if user is not None:
        messages.append(user)
    elif not (messages and is_paused_by_server(messages[-1])):
        messages.append({"role": "user", "content": [{"type": "text", "text": GO_ON}]})


def append_turn(messages: list[Message], user: Message | None, answer: Message) -> None:
    """Append a turn, without the blocks that the API would refuse; an answer without blocks is left out."""
    append_user(messages, user)
    content = _sendable_blocks(answer["content"])
    if content:
        messages.append(answer if content == answer["content"] else {**answer, "content": content})


def reject_hand_off(results: list[dict[str, Any]], answer: Message) -> list[dict[str, Any]]:
    """Return the tool results of a turn that ended with a hand-off, with the hand-off's own replaced by a refusal."""
    calls = {
        block["id"]
        for block in answer["content"]
        if block.get("type") == "tool_use" and block.get("name") == "hand_off"
    }
    return [
        {**block, "content": _TAKEN_BACK, "is_error": True}
        if block.get("type") == "tool_result" and block.get("tool_use_id") in calls and not block.get("is_error")
        else block
        for block in results
    ]


def _sendable_blocks(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the blocks that the API accepts back: no empty text, and no thinking without its signature."""
    return [
        block
        for block in content
        if not (block.get("type") == "text" and not str(block.get("text") or "").strip())
        and not (block.get("type") == "thinking" and not block.get("signature"))
    ]


def _has_tool_use(blocks: list[dict[str, Any]]) -> bool:
    """Whether the blocks call a tool of ours, which needs a result."""
    return any(block.get("type") == "tool_use" for block in blocks)
