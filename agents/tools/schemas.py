"""The tools that an agent is offered: schemas and descriptions, in a fixed order."""

from typing import TYPE_CHECKING

from pydantic import BaseModel

from agents.reports import GUIDANCE, EscalationInput, report_model
from agents.roles.definition import AgentDefinition
from agents.tools.json_schema import flat_schema
from baton.policies import COMMAND_TIMEOUT, MAX_COMMAND_TIMEOUT, MAX_TOOL_OUTPUT
from baton.tool_inputs import INPUTS, ToolName

if TYPE_CHECKING:
    from anthropic.types import ToolParam

HAND_OFF = "hand_off"
ESCALATE = "escalate"

_LIMIT = f"{MAX_TOOL_OUTPUT:,} characters"

_DESCRIPTIONS: dict[ToolName, str] = {
    "Read": (
        "Read a text file of the workspace. Lines come numbered, a tab after the number; the numbers are not part of "
        f"the file. More than {_LIMIT} are cut in the middle: read large files in pieces with offset and limit. "
        "Read a file before you change it."
    ),
    "Write": (
        "Create a file or replace its whole content; missing directories are made. Prefer Edit for a change to an "
        "existing file. A path outside your scope is refused."
    ),
    "Edit": (
        "Replace an exact piece of text in a file. old_string must occur exactly once, spaces and line breaks "
        "included; take in more lines around it to make it unique, or set replace_all. A path outside your scope is "
        "refused."
    ),
    "Glob": "List files whose path matches a glob pattern, relative to the workspace root. Ignored files are left out.",
    "Grep": (
        "Search the contents of files for a regular expression (ripgrep). Gives path, line number and line. Narrow it "
        f"with path and glob; at most {_LIMIT} are returned."
    ),
    "Bash": (
        "Run a command in the workspace, which is the current directory. Each call is a process of its own: no "
        "directory, variable or background process survives it. {isolation} Standard output and "
        f"error come back together with the exit code, cut to {_LIMIT} in the middle. The time limit is "
        f"{int(COMMAND_TIMEOUT.total_seconds())} s unless you give another, at most "
        f"{int(MAX_COMMAND_TIMEOUT.total_seconds())} s; then the command and its children are killed. Never start "
        "anything that waits for input. What a command changes outside your scope is put back after the turn."
    ),
}

_ISOLATION = {
    True: (
        "There is a sandbox, in which the workspace is /workspace, without the machine's files and credentials, and "
        "without a network. Where a person opened one, it is HTTP and HTTPS by the proxy that HTTPS_PROXY names, and "
        "the answer says which hosts it refused."
    ),
    False: (
        "There is NO sandbox: commands have the engine's own rights on this machine, as a person allowed. Touch "
        "nothing outside the workspace, and give paths relative to it."
    ),
}

_HAND_OFF = {
    "orchestrator": "End your work with the plan.",
    "backend": "End your work with the report to the tester and the reviewer.",
    "frontend": "End your work with the report to the tester and the reviewer.",
    "tester": "End your work with the verdict of the tests.",
    "reviewer": "End your work with the verdict of the review.",
    GUIDANCE: "Answer the report: guide the agent, or pass the question on to a person.",
}


def tool_schemas(definition: AgentDefinition, kind: str, *, isolated: bool = True) -> "list[ToolParam]":
    """Return the tools of a session: those that the file grants, `hand_off` with the report of its kind, `escalate`.

    The kind is the role, or `guidance` for the orchestrator's answer to an agent that is stuck. `isolated` says whether
    commands run in the sandbox.
    """
    report = report_model(kind)
    granted = definition.patterns_by_tool().items()
    tools = [_tool_param(name, _describe_tool(name, patterns, isolated), INPUTS[name]) for name, patterns in granted]
    hand_off = (
        f"{_HAND_OFF[kind]} Call it once, alone, when everything is done; nothing follows after it is accepted. "
        "Every field is required. If one is invalid, the result names the fault: correct it and call again."
    )
    escalate = (
        "Ask when you cannot go on by yourself: a choice that shapes the system, missing credentials or access, work "
        "that belongs to another role, or a failure that remains after two more attempts. The answer comes back as "
        "the result of this call; the rest of the run goes on meanwhile. Call it alone, and do not use it for what "
        "the repository or the instructions answer."
    )
    return [*tools, _tool_param(HAND_OFF, hand_off, report), _tool_param(ESCALATE, escalate, EscalationInput)]


def _describe_tool(name: ToolName, patterns: list[str] | None, isolated: bool) -> str:
    text = _DESCRIPTIONS[name].replace("{isolation}", _ISOLATION[isolated])
    if patterns is None:
        return text
    allowed = ", ".join(f"`{pattern}`" for pattern in patterns)
    return (
        f"{text} Only these commands are allowed (`:*` or `*` stands for any arguments): {allowed}. "
        "They run without a shell: no pipes, redirections, variables, `;` or `&&`."
    )


def _tool_param(name: str, description: str, model: type[BaseModel]) -> "ToolParam":
    return {"name": name, "description": description, "input_schema": flat_schema(model)}
