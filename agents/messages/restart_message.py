"""The first message of a session that starts anew because its conversation could not continue: its task and its past.

A start after a refused first request gets a shorter message (`level`); the shortest has little more than the task.
Files, messages and tool results are quoted, because models and repositories write them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from agents.messages.untrusted_text import clip_text, fence_text
from baton.text.truncation import cut_text, first_items

Brief = TypeVar("Brief", bound=BaseModel)


@dataclass(frozen=True)
class _BriefBounds:
    """The bounds of a first message at a level, in characters and items."""

    text: int
    """Characters of each text of the role's own brief; 0: the default bounds."""
    items: int
    """Items of each list of the brief."""
    files: int
    people: int
    """Number of the latest messages of people."""
    message: int
    """Characters of each message of people and of the conversation."""
    last: int
    """Number of the latest messages of the conversation."""


_BOUNDS = {
    1: _BriefBounds(text=0, items=0, files=300, people=20, message=2_000, last=12),
    2: _BriefBounds(text=8_000, items=60, files=100, people=10, message=1_000, last=4),
    3: _BriefBounds(text=2_000, items=15, files=30, people=5, message=400, last=0),
}
SHORTEST = max(_BOUNDS)
"""The level beyond which no first message gets shorter."""


class SessionPast(BaseModel):
    """The past of a session before its new start, from the engine's own records."""

    model_config = ConfigDict(frozen=True)

    start: int
    """Number of new starts, including this one."""
    turns: int = 0
    """Number of answers of the model so far."""
    changed: list[str] = Field(default_factory=list)
    """Project paths that differ from the base of the task."""
    people: list[str] = Field(default_factory=list)
    """Messages and answers of people that the session has received, the oldest first."""
    decisions: list[str] = Field(default_factory=list)
    """Answered questions about the task, with their notes."""
    left_out: list[str] = Field(default_factory=list)
    """Paths in the workspace that will not be saved."""
    messages: list[str] = Field(default_factory=list)
    """The end of the conversation as text, the oldest message first."""
    answer: str = ""
    """The answer to the last question of the role, if the role has not received it yet."""


def next_level(level: int, *, opening: bool) -> int:
    """Return the level of the next start; `opening`: the last start failed at its first request."""
    return min(max(2, level + 1), SHORTEST) if opening else 1


def bound_brief(brief: Brief, level: int) -> Brief:
    """Return the input of a role's brief with its texts and lists cut to the bounds of a level."""
    bounds = _BOUNDS.get(level)
    return brief if bounds is None or not bounds.text else _cut_model(brief, bounds)


def restarted_brief(brief: str, done: SessionPast, level: int) -> str:
    """Return the first message of a new start: the role's brief, then its past work, which the workspace holds."""
    bounds = _BOUNDS[min(level, SHORTEST)]
    shortened = (
        "A longer first message was refused. In this one every text and list is cut short; read in the workspace"
        " whatever it lacks."
        if level > 1
        else ""
    )
    parts = [
        brief,
        f"## This session goes on from earlier work (start {done.start + 1})\n"
        f"You have worked on this before, for {done.turns} {'turn' if done.turns == 1 else 'turns'}. That conversation"
        " could not be continued, so it begins anew here. The workspace is as you left it; do not do again what is"
        " there. Tool calls that are not answered below were not run.",
        shortened,
        _fence_items("files changed since the task began, as the engine sees them", done.changed, bounds.files, 300),
        _fence_items("paths written that will not be kept", done.left_out, bounds.files, 300),
        _fence_items(
            "answered questions about this task", done.decisions[-bounds.people :], bounds.people, bounds.message
        ),
        _fence_items(
            "messages of people that you have received before", *_last_items(done.people, bounds.people, bounds.message)
        ),
        _fence_items("the end of the earlier conversation", *_last_items(done.messages, bounds.last, bounds.message)),
        done.answer and fence_text("the answer to your last question", done.answer, limit=4_000),
        "Look at the workspace where you are not sure how far you got. Then go on, and call `hand_off` when the work"
        " is done.",
    ]
    # The store and the API take whole characters only.
    return "\n\n".join(part for part in parts if part).encode("utf-8", "replace").decode("utf-8")


def message_lines(message: Mapping[str, Any] | None) -> list[str]:
    """Return texts, tool calls and results of a message as lines with their speaker, without thinking."""
    if message is None:
        return []
    who = "you" if message.get("role") == "assistant" else "to you"
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    lines = []
    for block in blocks:
        match block:
            case {"type": "text", "text": str(text)} if text.strip():
                lines.append(f"{who}: {text}")
            case {"type": "tool_use", "name": name, "input": given}:
                lines.append(f"{who} called {name}: {given}")
            case {"type": "tool_result"}:
                failed = " (an error)" if block.get("is_error") else ""
                lines.append(f"result{failed}: {_result_text(block.get('content'))}")
    return lines


def _result_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = [part.get("text", f"[{part.get('type')}]") for part in content or [] if isinstance(part, dict)]
    return "\n".join(map(str, texts))


def _last_items(items: Sequence[str], count: int, length: int) -> tuple[list[str], int, int]:
    """Return the last items, with a line that says how many came before."""
    shown = list(items[len(items) - count :]) if count else []
    left = len(items) - len(shown)
    return ([f"[... {left:,} before these ...]", *shown] if left and shown else shown), count + 1, length


def _fence_items(label: str, items: Sequence[str], count: int, length: int) -> str:
    if not items:
        return ""
    lines = [f"{number}. {clip_text(item, length)}" for number, item in enumerate(first_items(items, count), 1)]
    return fence_text(label, "\n".join(lines), limit=(count + 1) * (length + 100), keep="start")


def _cut_model(model: Brief, bounds: _BriefBounds) -> Brief:
    return model.model_copy(
        update={name: _cut_value(getattr(model, name), bounds) for name in type(model).model_fields}
    )


def _cut_value(value: Any, bounds: _BriefBounds) -> Any:
    match value:
        case str():
            return cut_text(value, bounds.text)
        case list() if all(isinstance(item, str) for item in value):
            return first_items([cut_text(item, bounds.message) for item in value], bounds.items)
        case list():
            return [_cut_value(item, bounds) for item in value[: bounds.items]]
        case BaseModel():
            return _cut_model(value, bounds)
    return value
