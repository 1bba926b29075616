"""The tools that `tools` and `disallowedTools` of an agent file grant; unenforceable restrictions grant none."""

import re

from pydantic import JsonValue

from agents.roles.definition import ToolGrant
from baton.errors import AgentFileError
from baton.tool_inputs import TOOL_NAMES, ToolName

_ITEM = re.compile(r"(?P<name>[^\s()]+)\s*(?:\((?P<pattern>.*)\))?", re.DOTALL)
_BY_LOWER_NAME: dict[str, ToolName] = {name.lower(): name for name in TOOL_NAMES}

# Names that Claude Code knows and Baton does not offer; other names are unknown, most likely typing mistakes.
_FOREIGN = frozenset(
    [
        "Agent",
        "AskUserQuestion",
        "BashOutput",
        "EnterPlanMode",
        "ExitPlanMode",
        "KillBash",
        "KillShell",
        "LS",
        "LSP",
        "ListMcpResourcesTool",
        "MultiEdit",
        "NotebookEdit",
        "NotebookRead",
        "ReadMcpResourceTool",
        "SendMessage",
        "Skill",
        "SlashCommand",
        "Task",
        "TaskCreate",
        "TaskGet",
        "TaskList",
        "TaskOutput",
        "TaskStop",
        "TaskUpdate",
        "TodoRead",
        "TodoWrite",
        "ToolSearch",
        "WebFetch",
        "WebSearch",
    ]
)


def read_tools(fields: dict[str, JsonValue], origin: str, warnings: list[str]) -> list[ToolGrant]:
    """Return the tools that a file grants; all if `tools` is missing or `*`. Raises AgentFileError if none is left."""
    granted = _read_granted(fields.get("tools"), origin, warnings)
    withheld = {
        grant.name
        for item in _split_items(fields.get("disallowedTools"), origin)
        for grant in _parse_withheld(item, warnings)
    }
    kept = [grant for grant in granted if grant.name not in withheld]
    if not kept:
        raise AgentFileError(f"{origin}: every tool is taken away by `disallowedTools`.")
    return kept


def _read_granted(value: JsonValue, origin: str, warnings: list[str]) -> list[ToolGrant]:
    everything = [ToolGrant(name=name) for name in TOOL_NAMES]
    if value is None:
        return everything
    items = _split_items(value, origin)
    if "*" in items:
        return everything
    granted: list[ToolGrant] = []
    for item in items:
        grant = _parse_grant(item, warnings)
        if grant is not None and grant not in granted:
            granted.append(grant)
    if not granted:
        raise AgentFileError(f"{origin}: none of its tools is one that Baton offers ({', '.join(TOOL_NAMES)}).")
    return granted


def _split_items(value: JsonValue, origin: str) -> list[str]:
    """Return the entries of a comma-separated text or a list; commas inside parentheses belong to an entry."""
    if value is None:
        return []
    if isinstance(value, str):
        parts = [value]
        if value.strip().startswith("[") and value.strip().endswith("]"):
            parts = [value.strip()[1:-1]]
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        parts = [str(item) for item in value]
    else:
        raise AgentFileError(f"{origin}: `tools` and `disallowedTools` take a list of names or a text with commas.")
    items = [item.strip().strip("\"'").strip() for part in parts for item in _outside_parentheses(part)]
    return [item for item in items if item]


def _outside_parentheses(text: str) -> list[str]:
    items, depth, current = [], 0, ""
    for character in text:
        if character == "," and depth == 0:
            items.append(current)
            current = ""
            continue
        depth += (character == "(") - (character == ")" and depth > 0)
        current += character
    return [*items, current]


def _parse_grant(item: str, warnings: list[str]) -> ToolGrant | None:
    match = _ITEM.fullmatch(item)
    shown = item[:80]
    if match is None:
        warnings.append(f"the tool `{shown}` cannot be read and was left out")
        return None
    name, pattern = match["name"], match["pattern"]
    known = _BY_LOWER_NAME.get(name.lower())
    if known is None:
        what = "is not offered by Baton" if name in _FOREIGN or name.startswith("mcp__") else "is unknown"
        warnings.append(f"the tool `{shown}` {what} and was left out")
        return None
    if name != known:
        warnings.append(f"the tool `{name}` was read as `{known}`")
    pattern = pattern.strip() if pattern is not None else None
    if pattern in (None, "*", "**", ":*"):
        return ToolGrant(name=known)
    if known != "Bash" or not pattern:
        # Only commands are matched against patterns, and to grant the unrestricted tool would exceed the file's grant.
        warnings.append(f"`{shown}` restricts the tool in a way that Baton cannot enforce; it was left out")
        return None
    return ToolGrant(name=known, pattern=pattern)


def _parse_withheld(item: str, warnings: list[str]) -> list[ToolGrant]:
    if item == "*":
        return [ToolGrant(name=name) for name in TOOL_NAMES]
    match = _ITEM.fullmatch(item)
    name = item.partition("(")[0].strip() if match is None else match["name"]
    known = _BY_LOWER_NAME.get(name.lower())
    if known is None:
        return []
    if match is None or match["pattern"] not in (None, "*"):
        warnings.append(f"`{item[:80]}` in `disallowedTools`: a tool cannot be forbidden in part; {known} is withheld")
    return [ToolGrant(name=known)]
