"""The definition of an agent as plain data: the fields of its role file, and the tools that it grants.

The fields are those of Claude Code's agent files (https://code.claude.com/docs/en/sub-agents).
"""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from baton.tool_inputs import TOOL_NAMES, ToolName

Effort = Literal["low", "medium", "high", "xhigh", "max"]
"""The effort of a model for an answer (`output_config.effort` of the Messages API)."""

EFFORTS: tuple[Effort, ...] = get_args(Effort)

DOCUMENTED_FIELDS = (
    "name",
    "description",
    "tools",
    "disallowedTools",
    "model",
    "permissionMode",
    "maxTurns",
    "skills",
    "mcpServers",
    "hooks",
    "memory",
    "background",
    "effort",
    "isolation",
    "color",
    "initialPrompt",
)
"""Frontmatter fields that Claude Code documents."""


class ToolGrant(BaseModel):
    """One tool that an agent may use; a pattern restricts it to some commands (`Bash(pytest:*)`)."""

    model_config = ConfigDict(frozen=True)

    name: ToolName
    pattern: str | None = None
    """None: the tool without restriction."""

    def __str__(self) -> str:
        return self.name if self.pattern is None else f"{self.name}({self.pattern})"


class AgentDefinition(BaseModel):
    """An agent as its file describes it; pinned by `digest` to the text that was loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    model: str | None = None
    """Text of the file: alias, id, `inherit` or free text. `agents.roles.models.resolve_model` turns it into an id."""
    tools: list[ToolGrant]
    max_turns: int | None = None
    effort: Effort | None = None
    prompt: str = ""
    source: str
    """Source of the text, for people: a path or `built in`."""
    digest: str
    """`sha256:` and the digest of the complete text."""
    fields: dict[str, JsonValue] = Field(default_factory=dict)
    """The other documented fields, unchanged. Baton keeps them, and they have no effect."""

    def patterns_by_tool(self) -> dict[ToolName, list[str] | None]:
        """Return the granted tools in their fixed order, each with its patterns; None for an unrestricted tool."""
        granted: dict[ToolName, list[str] | None] = {}
        for name in TOOL_NAMES:
            patterns = [grant.pattern for grant in self.tools if grant.name == name]
            if patterns:
                # Several grants of one tool add up, as in Claude Code; an unrestricted one includes the others.
                granted[name] = None if None in patterns else [pattern for pattern in patterns if pattern is not None]
        return granted
