"""One model a tool: the schema that a model is offered is made from what its calls are checked by."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from agents.tools.json_schema import flat_schema
from baton.tool_inputs import INPUTS, TOOL_NAMES, BashInput, GrepInput, ReadInput, ToolName

DIRECTORY = {"description": "Directory or file to search in, relative to the root; default: the root", "type": "string"}
PATH = {"description": "Path relative to the workspace root, such as src/app.py", "type": "string"}
OFFERED: dict[ToolName, tuple[dict[str, Any], list[str]]] = {
    "Read": (
        {
            "file_path": PATH,
            "offset": {"minimum": 1, "type": "integer", "description": "First line to read, counted from 1"},
            "limit": {"minimum": 1, "type": "integer", "description": "Number of lines to read"},
        },
        ["file_path"],
    ),
    "Write": (
        {"file_path": PATH, "content": {"description": "The complete content of the file", "type": "string"}},
        ["file_path", "content"],
    ),
    "Edit": (
        {
            "file_path": PATH,
            "old_string": {
                "description": "The exact text to replace, with its indentation, without line numbers",
                "type": "string",
            },
            "new_string": {
                "description": "The text to put in its place; must differ from old_string",
                "type": "string",
            },
            "replace_all": {
                "default": False,
                "description": "Replace every occurrence instead of exactly one",
                "type": "boolean",
            },
        },
        ["file_path", "old_string", "new_string"],
    ),
    "Glob": (
        {
            "pattern": {"description": "Glob pattern such as **/*.py or src/**/test_*.ts", "type": "string"},
            "path": DIRECTORY,
        },
        ["pattern"],
    ),
    "Grep": (
        {
            "pattern": {
                "description": "Regular expression in ripgrep's syntax, such as def \\w+_order",
                "type": "string",
            },
            "path": DIRECTORY,
            "glob": {"type": "string", "description": "Only files whose name matches, such as *.py"},
        },
        ["pattern"],
    ),
    "Bash": (
        {
            "command": {"description": "The command line", "type": "string"},
            "timeout": {
                "maximum": 600000,
                "minimum": 1,
                "type": "integer",
                "description": "Time limit in milliseconds; default 120000, at most 600000",
            },
            "description": {"type": "string", "description": "What the command does, in five to ten words"},
        },
        ["command"],
    ),
}
"""Properties and required ones, in the order in which every session so far has been offered them."""


@pytest.mark.parametrize("name", TOOL_NAMES)
def test_the_offered_schema_keeps_its_bytes(name: ToolName) -> None:
    """A changed byte costs each running fleet its prompt caches."""
    properties, required = OFFERED[name]
    schema = {"additionalProperties": False, "properties": properties, "required": required, "type": "object"}
    assert json.dumps(flat_schema(INPUTS[name])) == json.dumps(schema)


@pytest.mark.parametrize("name", TOOL_NAMES)
def test_a_call_by_the_schema_is_read(name: ToolName) -> None:
    """Each property by its own name, with its least, its greatest or a short value."""
    properties, required = OFFERED[name]
    for bound in ("minimum", "maximum"):
        call = {
            key: {"string": "x", "boolean": True, "integer": schema.get(bound, 7)}[schema["type"]]
            for key, schema in properties.items()
        }
        given = INPUTS[name].model_validate(call)
        assert {key: getattr(given, key) for key in properties} == call
    INPUTS[name].model_validate(dict.fromkeys(required, "x"))
    for key in required:
        with pytest.raises(ValidationError):
            INPUTS[name].model_validate({other: "x" for other in required if other != key})


def test_what_models_write_beyond_the_schema() -> None:
    assert ReadInput.model_validate({"path": "a", "start_line": 0, "limit": 10**30}).file_path == "a"
    assert BashInput.model_validate({"cmd": "a", "timeout": 10**9}).time_limit_seconds == 600
    assert BashInput.model_validate({"command": "a"}).time_limit_seconds == 120
    assert GrepInput.model_validate({"regex": "a", "-i": True, "-C": 3}).around == 3
    for wrong in ({"command": "a", "timeout": 0}, {"command": ""}, {"command": "a", "cwd": "b"}):
        with pytest.raises(ValidationError):
            BashInput.model_validate(wrong)
