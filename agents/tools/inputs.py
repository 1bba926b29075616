"""Inputs of the file and shell tools as the model sees them: Claude Code's names, units and limits."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agents.roles.definition import ToolName
from baton.policies import COMMAND_TIMEOUT, COMMAND_TIMEOUT_MAX

_DEFAULT_MS = int(COMMAND_TIMEOUT.total_seconds() * 1000)
_MAX_MS = int(COMMAND_TIMEOUT_MAX.total_seconds() * 1000)

FilePath = Annotated[str, Field(description="Path relative to the workspace root, such as src/app.py")]
Directory = Annotated[str, Field(description="Directory or file to search in, relative to the root; default: the root")]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ReadInput(_Input):
    """Read a file."""

    file_path: FilePath
    offset: int | None = Field(default=None, ge=1, description="First line to read, counted from 1")
    limit: int | None = Field(default=None, ge=1, description="Number of lines to read")


class WriteInput(_Input):
    """Create or overwrite a file."""

    file_path: FilePath
    content: str = Field(description="The complete content of the file")


class EditInput(_Input):
    """Replace text in a file."""

    file_path: FilePath
    old_string: str = Field(description="The exact text to replace, with its indentation, without line numbers")
    new_string: str = Field(description="The text to put in its place; must differ from old_string")
    replace_all: bool = Field(default=False, description="Replace every occurrence instead of exactly one")


class GlobInput(_Input):
    """Find files by name."""

    pattern: str = Field(description="Glob pattern such as **/*.py or src/**/test_*.ts")
    path: Directory | None = None


class GrepInput(_Input):
    """Find text in files."""

    pattern: str = Field(description="Regular expression in ripgrep's syntax, such as def \\w+_order")
    path: Directory | None = None
    glob: str | None = Field(default=None, description="Only files whose name matches, such as *.py")


class BashInput(_Input):
    """Run a command."""

    command: str = Field(description="The command line")
    timeout: int | None = Field(
        default=None,
        ge=1,
        le=_MAX_MS,
        description=f"Time limit in milliseconds; default {_DEFAULT_MS}, at most {_MAX_MS}",
    )
    description: str | None = Field(default=None, description="What the command does, in five to ten words")


INPUTS: dict[ToolName, type[BaseModel]] = {
    "Read": ReadInput,
    "Write": WriteInput,
    "Edit": EditInput,
    "Glob": GlobInput,
    "Grep": GrepInput,
    "Bash": BashInput,
}
"""The input of each tool, in the order in which the tools are offered."""
