"""The YAML frontmatter of agent files, read tolerantly: strictly first, then with quoted values, then line by line.

Of about a thousand public agent files, one in sixteen is not valid YAML (a colon in a description, `tools: *`). Claude
Code quotes such values and skips files that still fail. Baton skips no file, and a warning names each repair.
"""

import re
from dataclasses import dataclass, field

import yaml
from pydantic import JsonValue

from agents.roles.definition import DOCUMENTED_FIELDS
from baton.errors import AgentFileError

_MAX_FRONTMATTER = 64_000
_FENCE = re.compile(r"^---[ \t]*$", re.MULTILINE)
_KEY_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*):(?:[ \t]+(.*))?")
_SPECIAL = re.compile(r"[:#{}\[\],&*!|>%@`'\"?]|^-\s")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass
class Frontmatter:
    """The fields and the body of a file, with warnings about the faults that were repaired."""

    fields: dict[str, JsonValue]
    body: str
    warnings: list[str] = field(default_factory=list)


class _FrontmatterUnreadable(Exception):
    """The text is no YAML that a frontmatter may contain."""


class _TextLoader(yaml.BaseLoader):
    """Reads scalars as text (`no`, `1.0`, dates) and refuses aliases, which can expand without bounds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _FrontmatterUnreadable("aliases are not admitted")
        return super().compose_node(parent, index)


def split_frontmatter(text: str, origin: str) -> Frontmatter:
    """Separate and read the frontmatter. Raises AgentFileError if there is none or if it is unreadable."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    warnings: list[str] = []
    stripped = text.lstrip("\n \t")
    if stripped != text and stripped.startswith("---"):
        warnings.append("blank lines stand before the frontmatter")
    opening = _FENCE.match(stripped)
    if opening is None:
        raise AgentFileError(f"{origin} is not an agent file: it does not begin with a line `---` (YAML frontmatter).")
    closing = _FENCE.search(stripped, opening.end() + 1)
    if closing is None:
        raise AgentFileError(f"{origin}: the frontmatter is not closed; a second line `---` is missing.")
    raw = stripped[opening.end() + 1 : closing.start()]
    if len(raw) > _MAX_FRONTMATTER:
        raise AgentFileError(f"{origin}: the frontmatter is longer than {_MAX_FRONTMATTER} characters.")
    result = Frontmatter({}, stripped[closing.end() :].strip(), warnings)
    result.fields = _read_fields(raw, origin, warnings)
    return result


def _read_fields(raw: str, origin: str, warnings: list[str]) -> dict[str, JsonValue]:
    try:
        return _parse_yaml(raw, warnings)
    except _FrontmatterUnreadable as error:
        fault = str(error)
    try:
        fields = _parse_yaml(_quote_values(raw), warnings)
    except _FrontmatterUnreadable:
        fields = _scan_lines(raw)
        if not fields:
            raise AgentFileError(f"{origin}: the frontmatter is not YAML ({fault}).") from None
        warnings.append(f"the frontmatter is not valid YAML ({fault}); its known fields were read line by line")
    else:
        warnings.append(f"the frontmatter is not valid YAML ({fault}); its values were taken as plain text")
    return fields


def _parse_yaml(raw: str, warnings: list[str]) -> dict[str, JsonValue]:
    found: list[str] = []
    try:
        loader = _TextLoader(raw)
        try:
            node = loader.get_single_node()
            value = None if node is None else _node_value(node, found)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 2}" if error.problem_mark else ""
        raise _FrontmatterUnreadable(f"{error.problem or 'syntax error'}{line}") from error
    except yaml.YAMLError as error:
        raise _FrontmatterUnreadable("it contains characters that YAML does not admit") from error
    except RecursionError as error:
        raise _FrontmatterUnreadable("it is nested too deeply") from error
    except (ValueError, IndexError, OverflowError) as error:
        # PyYAML lets these through for odd escapes (`"\UFFFFFFFF"`).
        raise _FrontmatterUnreadable("it contains an escape that YAML does not admit") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _FrontmatterUnreadable("it is not a list of `key: value`")
    warnings.extend(found)
    return value


def _node_value(node: yaml.Node, warnings: list[str]) -> JsonValue:
    if isinstance(node, yaml.ScalarNode):
        text = str(node.value)
        return None if node.style is None and text in _NULLS else text
    if isinstance(node, yaml.SequenceNode):
        return [_node_value(item, warnings) for item in node.value]
    fields: dict[str, JsonValue] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _FrontmatterUnreadable("a key is not plain text")
        key = str(key_node.value)
        if key in fields:
            warnings.append(f"`{key}` is given more than once; the last one counts")
        fields[key] = _node_value(value_node, warnings)
    return fields


def _quote_values(raw: str) -> str:
    """Return the text with quotes around values of `key: value` lines that have special characters."""
    lines = []
    for line in raw.split("\n"):
        match = _KEY_LINE.fullmatch(line.rstrip())
        value = match[2] if match else None
        if match and value and not _is_quoted(value) and value[0] not in "|>" and _SPECIAL.search(value):
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            line = f'{match[1]}: "{escaped}"'
        lines.append(line)
    return "\n".join(lines)


def _is_quoted(value: str) -> bool:
    return len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"


def _scan_lines(raw: str) -> dict[str, JsonValue]:
    """Return the known keys at the beginning of lines, each with the text up to the next known key."""
    collected: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in raw.split("\n"):
        match = _KEY_LINE.fullmatch(line.rstrip())
        if match and match[1] in DOCUMENTED_FIELDS:
            current = collected[match[1]] = [match[2] or ""]
        elif current is not None:
            current.append(line.strip())
    return {key: _scanned_value(lines) for key, lines in collected.items()}


def _scanned_value(lines: list[str]) -> JsonValue:
    first, rest = lines[0], [line for line in lines[1:] if line]
    if not first and rest and all(line.startswith("- ") for line in rest):
        return [_strip_quotes(line[2:].strip()) for line in rest]
    if first in {"|", ">", "|-", ">-", "|+", ">+"}:
        first = ""
    text = " ".join(part for part in (first, *rest) if part)
    return _strip_quotes(text) or None


def _strip_quotes(value: str) -> str:
    return value[1:-1] if _is_quoted(value) else value
