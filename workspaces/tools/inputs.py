"""What a tool call may say: Claude Code's parameters, the usual synonyms, and nothing else.

These are for running calls; the schemas that the model sees are those of the agents room.
"""

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from baton import policies
from baton.text.truncation import first

MAX_TEXT = 5_000_000
"""Characters of one text argument; more is no file that a model wrote."""

_MAX_COMMAND = 100_000  # Linux takes 131,072 bytes in one argument.
_MAX_MS = int(policies.COMMAND_TIMEOUT_MAX.total_seconds() * 1000)


class ToolFault(Exception):
    """A call that cannot be carried out; the text goes to the model as the tool's result."""

    def __init__(self, message: str, *, touched: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.touched = set(touched)
        """Paths that may have changed all the same."""


def _writable(value: object) -> object:
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("holds a NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a character, which cannot be written as UTF-8") from None
    return value


Text = Annotated[str, BeforeValidator(_writable), StringConstraints(max_length=MAX_TEXT)]
PathText = Annotated[str, BeforeValidator(_writable), StringConstraints(min_length=1, max_length=4_096)]
PatternText = Annotated[str, BeforeValidator(_writable), StringConstraints(min_length=1, max_length=4_096)]


def _names(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


Model = TypeVar("Model", bound=_Input)


class ReadInput(_Input):
    """Lines of a file."""

    file_path: PathText = Field(validation_alias=_names("file_path", "path", "file", "filename"))
    offset: int = Field(default=1, ge=0, le=10**9, validation_alias=_names("offset", "start_line"))
    limit: int = Field(default=2_000, ge=1, le=10**6, validation_alias=_names("limit", "line_count"))


class WriteInput(_Input):
    """A whole file."""

    file_path: PathText = Field(validation_alias=_names("file_path", "path", "file", "filename"))
    content: Text = Field(validation_alias=_names("content", "file_text", "contents", "text"))


class EditInput(_Input):
    """An exact replacement."""

    file_path: PathText = Field(validation_alias=_names("file_path", "path", "file", "filename"))
    old_string: Text = Field(validation_alias=_names("old_string", "old_str", "old_text"))
    new_string: Text = Field(validation_alias=_names("new_string", "new_str", "new_text"))
    replace_all: bool = False


class GlobInput(_Input):
    """Files by name."""

    pattern: PatternText = Field(validation_alias=_names("pattern", "glob"))
    path: PathText | None = Field(default=None, validation_alias=_names("path", "directory", "dir"))


class GrepInput(_Input):
    """Lines by content."""

    pattern: PatternText = Field(validation_alias=_names("pattern", "regex", "query"))
    path: PathText | None = Field(default=None, validation_alias=_names("path", "directory", "dir"))
    glob: PatternText | None = Field(default=None, validation_alias=_names("glob", "include"))
    ignore_case: bool = Field(default=False, validation_alias=_names("-i", "ignore_case", "case_insensitive"))
    line_numbers: bool = Field(default=True, validation_alias=_names("-n", "line_numbers"))
    after: int = Field(default=0, ge=0, le=100, validation_alias=_names("-A", "after"))
    before: int = Field(default=0, ge=0, le=100, validation_alias=_names("-B", "before"))
    around: int = Field(default=0, ge=0, le=100, validation_alias=_names("-C", "context"))
    multiline: bool = False
    output_mode: Annotated[str, StringConstraints(pattern=r"^(content|files_with_matches|count)$")] = "content"
    head_limit: int | None = Field(default=None, ge=0, le=10**6)


class BashInput(_Input):
    """A command line."""

    command: Annotated[str, BeforeValidator(_writable), StringConstraints(min_length=1, max_length=_MAX_COMMAND)] = (
        Field(validation_alias=_names("command", "cmd"))
    )
    timeout: int | None = Field(default=None, ge=1, validation_alias=_names("timeout", "timeout_ms"))
    """Milliseconds; more than may be asked for is taken as the most that may."""
    description: str | None = None
    run_in_background: bool = False

    @property
    def seconds(self) -> float:
        """The time limit."""
        if self.timeout is None:
            return policies.COMMAND_TIMEOUT.total_seconds()
        return min(self.timeout, _MAX_MS) / 1000


def read_input(model: type[Model], tool: str, data: Any) -> Model:
    """The arguments of a call; raises ToolFault with one line for each fault, naming the field."""
    if not isinstance(data, dict):
        raise ToolFault(f"{tool}: the arguments must be an object.")
    try:
        return model.model_validate({key: value for key, value in data.items() if value is not None})
    except ValidationError as error:
        faults = [_fault(fault["loc"], fault["type"], fault["msg"]) for fault in error.errors(include_url=False)]
        raise ToolFault(f"{tool}: wrong arguments.\n" + "\n".join(first(faults, 5))) from error


def _fault(location: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(str(part)[:60] for part in location) or "input"
    if kind == "missing":
        return f"- {name}: is missing"
    if kind == "extra_forbidden":
        return f"- {name}: there is no such argument"
    return f"- {name}: {message.removeprefix('Value error, ')}"
