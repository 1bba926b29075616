"""A session's transcript for people: messages, tool calls and their results. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from interfaces.cli.runs.stored_run import TranscriptMessage
from interfaces.cli.terminal.output import format_usd, one_line

_MAX_RESULT = 2_000
_MAX_INPUT = 2_000


def render_transcript(parts: list[TranscriptMessage], task: str) -> Iterator[str]:
    """Yield the lines of the transcript of one task, with a heading for each session and turn."""
    session = ""
    for part in parts:
        if part.session != session:
            session = part.session
            round_number, _, role = session.partition("-")
            yield f"=== {one_line(task, 40)}: {role}, round {round_number} " + "=" * 20
        yield from _message_lines(part)


def _message_lines(part: TranscriptMessage) -> Iterator[str]:
    entry = part.content if isinstance(part.content, dict) else {}
    message = entry.get("message") or {}
    if entry.get("level"):
        yield f"--- turn {part.number}  the session starts anew: its conversation could not go on"
    if part.side == "user" or part.side.startswith("refused"):
        tools = entry.get("tools") or []
        yield from _block_lines(message.get("content"), tools if isinstance(tools, list) else [])
        for path in entry.get("put_back") or []:
            yield f"  put back, outside the role's scope: {one_line(str(path), 200)}"
        return
    facts = [f"--- turn {part.number}", one_line(str(entry.get("model", "")), 60)]
    facts += [format_usd(float(entry.get("cost_usd") or 0.0)), f"{float(entry.get('seconds') or 0.0):.1f} s"]
    if part.side != "assistant":
        facts.append("cut off, nothing of it was run")
    yield "  ".join(fact for fact in facts if fact)
    yield from _block_lines(message.get("content"), [])


def _block_lines(content: Any, tools: list[Any]) -> Iterator[str]:
    """Yield the lines of a message's blocks; `tools` has name and exit code of each tool call of a result."""
    if isinstance(content, str):
        yield from _indent_lines(content)
        return
    results = 0
    for block in content if isinstance(content, list) else []:
        match block:
            case {"type": "text", "text": str(text)}:
                yield from _indent_lines(text)
            case {"type": "thinking", "thinking": str(text)} if text:
                yield from _indent_lines(text, "  (thinking) ")
            case {"type": "tool_use", "name": str(name), "input": given}:
                yield f"  > {one_line(name, 60)} {_cut_middle(_format_input(given), _MAX_INPUT)}"
            case {"type": "tool_result"}:
                yield from _result_lines(block, tools[results] if results < len(tools) else {})
                results += 1


def _result_lines(block: dict[str, Any], tool: Any) -> Iterator[str]:
    facts = tool if isinstance(tool, dict) else {}
    heading = f"  < {one_line(str(facts.get('name', 'result')), 60)}"
    if facts.get("exit_code") is not None:
        heading += f", exit code {facts['exit_code']}"
    if block.get("is_error"):
        heading += ", error"
    yield heading
    content = block.get("content")
    texts = (
        [content]
        if isinstance(content, str)
        else [part.get("text", f"[{part.get('type')}]") for part in content or [] if isinstance(part, dict)]
    )
    for text in texts:
        yield from _indent_lines(_cut_middle(str(text), _MAX_RESULT), "    ")


def _format_input(given: Any) -> str:
    if isinstance(given, dict) and len(given) == 1:
        only = next(iter(given.values()))
        if isinstance(only, str):
            return only
    return json.dumps(given, ensure_ascii=False)


def _cut_middle(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... ({len(text) - limit} characters left out; --json has all) ...\n{text[-half:]}"


def _indent_lines(text: str, prefix: str = "  ") -> Iterator[str]:
    for line in text.rstrip("\n").split("\n"):
        yield prefix + line
