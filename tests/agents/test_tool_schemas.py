"""What the model is offered: flat schemas that the SDK takes, in an order that never changes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import ToolParam
from pydantic import TypeAdapter

from agents.reports import REPORTS, EscalationInput, parse_escalation, parse_report
from agents.roles.loader import builtin_agents, parse_agent
from agents.tools.schemas import tool_schemas
from baton.errors import UsageError
from tests.agents.test_reports import ESCALATION, MAKER, PLAN, REVIEW, TESTER

EXAMPLES = {"orchestrator": PLAN, "backend": MAKER, "frontend": MAKER, "tester": TESTER, "reviewer": REVIEW}


def offered(role: str) -> list[ToolParam]:
    return tool_schemas(builtin_agents()[role].definition, role)


def objects(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for child in node.values():
            yield from objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from objects(child)


@pytest.mark.parametrize("role", list(REPORTS))
def test_schemas_are_what_the_sdk_takes(role: str) -> None:
    tools = offered(role)
    assert TypeAdapter(list[ToolParam]).validate_python(tools) == tools
    assert [tool["name"] for tool in tools][-2:] == ["hand_off", "escalate"]
    for tool in tools:
        text = json.dumps(tool["input_schema"])
        assert "$ref" not in text
        assert "anyOf" not in text
        assert len(tool["description"]) > 60
        found = list(objects(tool["input_schema"]))
        assert found
        for schema in found:
            assert schema["additionalProperties"] is False
            assert set(schema.get("required", [])) <= set(schema["properties"])
            assert all(child.get("description") for child in schema["properties"].values())


def test_names_and_parameters_are_those_of_claude_code() -> None:
    schemas: dict[str, Any] = {tool["name"]: tool["input_schema"] for tool in offered("backend")}
    parameters = {name: list(schema["properties"]) for name, schema in schemas.items()}
    assert parameters["Read"] == ["file_path", "offset", "limit"]
    assert parameters["Write"] == ["file_path", "content"]
    assert parameters["Edit"] == ["file_path", "old_string", "new_string", "replace_all"]
    assert parameters["Glob"] == ["pattern", "path"]
    assert parameters["Grep"] == ["pattern", "path", "glob"]
    assert parameters["Bash"] == ["command", "timeout", "description"]
    assert parameters["hand_off"] == list(MAKER)
    assert parameters["escalate"] == list(ESCALATION)
    assert schemas["Edit"]["required"] == ["file_path", "old_string", "new_string"]


@pytest.mark.parametrize(("role", "example"), EXAMPLES.items())
def test_the_schema_of_hand_off_asks_for_what_the_check_takes(role: str, example: dict[str, Any]) -> None:
    schema: Any = next(tool["input_schema"] for tool in offered(role) if tool["name"] == "hand_off")
    assert set(schema["properties"]) == set(example)
    assert set(schema["required"]) == set(example)
    parse_report(role, example)


def test_the_schema_of_escalate_asks_for_what_the_check_takes() -> None:
    schema: Any = next(tool["input_schema"] for tool in offered("tester") if tool["name"] == "escalate")
    assert set(schema["required"]) == set(EscalationInput.model_fields)
    parse_escalation(ESCALATION)


def test_only_granted_tools_are_offered_in_a_fixed_order() -> None:
    first = parse_agent("---\nname: a\ndescription: d\ntools: Grep, Bash, Read\n---\nx", "x").definition
    second = parse_agent("---\nname: a\ndescription: d\ntools: Read, Bash, Grep\n---\nx", "x").definition
    names = [tool["name"] for tool in tool_schemas(first, "reviewer")]
    assert names == ["Read", "Grep", "Bash", "hand_off", "escalate"]
    assert json.dumps(tool_schemas(first, "reviewer")) == json.dumps(tool_schemas(second, "reviewer"))


def test_patterns_are_named_in_the_description() -> None:
    text = "---\nname: a\ndescription: d\ntools: Bash(pytest:*), Bash(npm test)\n---\nx"
    shell = tool_schemas(parse_agent(text, "x").definition, "tester")[0]
    assert "`pytest:*`, `npm test`" in shell["description"]
    assert "without a shell" in shell["description"]


def test_a_role_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="janitor"):
        tool_schemas(builtin_agents()["tester"].definition, "janitor")
