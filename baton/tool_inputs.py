"""The inputs of an agent's file, search and shell tools: one model each, for the offered schema and for the calls.

Names, units and limits are those of Claude Code's tools. A call may also use the usual synonyms of a name (`path` for
`file_path`) and arguments that the schema leaves out (`SkipJsonSchema`), because models have learned them elsewhere.
Two values that the schema excludes are accepted, because their meaning is plain: line 0 as the first line, and a time
limit above the maximum as the maximum. Every other deviation is an error. Pure.
"""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from baton.policies import COMMAND_TIMEOUT, MAX_COMMAND_TIMEOUT

ToolName = Literal["Read", "Write", "Edit", "Glob", "Grep", "Bash"]
"""The tools that Baton offers, under Claude Code's names."""

TOOL_NAMES: tuple[ToolName, ...] = get_args(ToolName)
"""The same as a tuple, in the order in which they are offered to the model."""

_MAX_TEXT = 5_000_000
"""Characters of one text argument; a model writes no longer file."""
_MAX_PATH = 4_096
_MAX_COMMAND = 100_000
"""Linux takes 131,072 bytes in one argument."""
_MAX_LINES = 10**9
_MAX_CONTEXT = 100
_DEFAULT_MS = int(COMMAND_TIMEOUT.total_seconds() * 1000)
_MAX_MS = int(MAX_COMMAND_TIMEOUT.total_seconds() * 1000)


def _check_text(value: object) -> object:
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("holds a NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a character, which cannot be written as UTF-8") from None
    return value


def _cap(maximum: int) -> AfterValidator:
    """Take a larger number as the maximum, because that is what a model that gives one means."""
    return AfterValidator(lambda number: min(number, maximum))


def _limit_length(minimum: int, maximum: int) -> AfterValidator:
    """Check a text's length, which the schema does not announce."""

    def check_length(value: str) -> str:
        if not minimum <= len(value) <= maximum:
            raise ValueError("must not be empty" if len(value) < minimum else f"is longer than {maximum:,} characters")
        return value

    return AfterValidator(check_length)


_Text = Annotated[str, BeforeValidator(_check_text), _limit_length(0, _MAX_TEXT)]
_Name = Annotated[str, BeforeValidator(_check_text), _limit_length(1, _MAX_PATH)]
_Path = Annotated[_Name, Field(description="Path relative to the workspace root, such as src/app.py")]
_Directory = Annotated[
    _Name, Field(description="Directory or file to search in, relative to the root; default: the root")
]
_FirstLine = Annotated[int, Field(ge=0, json_schema_extra={"minimum": 1}), _cap(_MAX_LINES)]
_LineCount = Annotated[int, Field(ge=1), _cap(_MAX_LINES)]
_Context = Annotated[int, Field(ge=0, le=_MAX_CONTEXT)]

_PATH_NAMES = AliasChoices("file_path", "path", "file", "filename")
_DIRECTORY_NAMES = AliasChoices("path", "directory", "dir")


class ToolInput(BaseModel):
    """The arguments of a call: those of the schema, their synonyms, and no others."""

    model_config = ConfigDict(extra="forbid")


class ReadInput(ToolInput):
    """Lines of a file."""

    file_path: _Path = Field(validation_alias=_PATH_NAMES)
    offset: _FirstLine | None = Field(
        default=None,
        validation_alias=AliasChoices("offset", "start_line"),
        description="First line to read, counted from 1",
    )
    limit: _LineCount | None = Field(
        default=None, validation_alias=AliasChoices("limit", "line_count"), description="Number of lines to read"
    )


class WriteInput(ToolInput):
    """The whole content of a file."""

    file_path: _Path = Field(validation_alias=_PATH_NAMES)
    content: _Text = Field(
        validation_alias=AliasChoices("content", "file_text", "contents", "text"),
        description="The complete content of the file",
    )


class EditInput(ToolInput):
    """An exact replacement of text in a file."""

    file_path: _Path = Field(validation_alias=_PATH_NAMES)
    old_string: _Text = Field(
        validation_alias=AliasChoices("old_string", "old_str", "old_text"),
        description="The exact text to replace, with its indentation, without line numbers",
    )
    new_string: _Text = Field(
        validation_alias=AliasChoices("new_string", "new_str", "new_text"),
        description="The text to put in its place; must differ from old_string",
    )
    replace_all: bool = Field(default=False, description="Replace every occurrence instead of exactly one")


class GlobInput(ToolInput):
    """Files by name."""

    pattern: _Name = Field(
        validation_alias=AliasChoices("pattern", "glob"),
        description="Glob pattern such as **/*.py or src/**/test_*.ts",
    )
    path: _Directory | None = Field(default=None, validation_alias=_DIRECTORY_NAMES)


class GrepInput(ToolInput):
    """Lines of files by their content."""

    pattern: _Name = Field(
        validation_alias=AliasChoices("pattern", "regex", "query"),
        description="Regular expression in ripgrep's syntax, such as def \\w+_order",
    )
    path: _Directory | None = Field(default=None, validation_alias=_DIRECTORY_NAMES)
    glob: _Name | None = Field(
        default=None,
        validation_alias=AliasChoices("glob", "include"),
        description="Only files whose name matches, such as *.py",
    )
    ignore_case: SkipJsonSchema[bool] = Field(
        default=False, validation_alias=AliasChoices("-i", "ignore_case", "case_insensitive")
    )
    line_numbers: SkipJsonSchema[bool] = Field(default=True, validation_alias=AliasChoices("-n", "line_numbers"))
    after: SkipJsonSchema[_Context] = Field(default=0, validation_alias=AliasChoices("-A", "after"))
    before: SkipJsonSchema[_Context] = Field(default=0, validation_alias=AliasChoices("-B", "before"))
    around: SkipJsonSchema[_Context] = Field(default=0, validation_alias=AliasChoices("-C", "context"))
    multiline: SkipJsonSchema[bool] = False
    output_mode: SkipJsonSchema[Annotated[str, StringConstraints(pattern=r"^(content|files_with_matches|count)$")]] = (
        "content"
    )
    head_limit: SkipJsonSchema[Annotated[int, Field(ge=0, le=10**6)] | None] = None


class BashInput(ToolInput):
    """A command line."""

    command: Annotated[str, BeforeValidator(_check_text), _limit_length(1, _MAX_COMMAND)] = Field(
        validation_alias=AliasChoices("command", "cmd"), description="The command line"
    )
    timeout: Annotated[int, Field(ge=1, json_schema_extra={"maximum": _MAX_MS}), _cap(_MAX_MS)] | None = Field(
        default=None,
        validation_alias=AliasChoices("timeout", "timeout_ms"),
        description=f"Time limit in milliseconds; default {_DEFAULT_MS}, at most {_MAX_MS}",
    )
    description: str | None = Field(default=None, description="What the command does, in five to ten words")
    run_in_background: SkipJsonSchema[bool] = False

    @property
    def time_limit_seconds(self) -> float:
        """The time limit in seconds."""
        return (_DEFAULT_MS if self.timeout is None else self.timeout) / 1000


INPUTS: dict[ToolName, type[ToolInput]] = {
    "Read": ReadInput,
    "Write": WriteInput,
    "Edit": EditInput,
    "Glob": GlobInput,
    "Grep": GrepInput,
    "Bash": BashInput,
}
"""The input of each tool, in the order in which the tools are offered."""
