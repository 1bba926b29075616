"""Checks the arguments of a tool call: a fault becomes a sentence that the model can correct its call by."""

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from baton.text.truncation import first_items
from baton.tool_inputs import ToolInput

_MAX_FAULTS = 5
_Input = TypeVar("_Input", bound=ToolInput)


class ToolFault(Exception):
    """A call that cannot be carried out; the text goes to the model as the tool's result."""

    def __init__(self, message: str, *, touched: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.touched = set(touched)
        """Paths that may have changed although the call failed."""


def read_input(model: type[_Input], tool: str, data: Any) -> _Input:
    """Return the arguments of a call. Raises ToolFault with one line for each fault, naming the field."""
    if not isinstance(data, dict):
        raise ToolFault(f"{tool}: the arguments must be an object.")
    try:
        return model.model_validate({key: value for key, value in data.items() if value is not None})
    except ValidationError as error:
        faults = [
            _describe_fault(fault["loc"], fault["type"], fault["msg"]) for fault in error.errors(include_url=False)
        ]
        raise ToolFault(f"{tool}: wrong arguments.\n" + "\n".join(first_items(faults, _MAX_FAULTS))) from error


def _describe_fault(location: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(str(part)[:60] for part in location) or "input"
    if kind == "missing":
        return f"- {name}: is missing"
    if kind == "extra_forbidden":
        return f"- {name}: there is no such argument"
    return f"- {name}: {message.removeprefix('Value error, ')}"
