"""Input of signal and update handlers, parsed so that invalid input never stops the workflow.

Temporal hands a signal over as it came: without input, or with too much of it. An exception in its handler fails the
workflow task, again and again, for what is in the history stays there. So handlers take anything, and it is read here.
"""

from typing import TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel, ValidationError
from baton.text.truncation import cut_text, first_items

Message = TypeVar("Message", bound=BaseModel)


class InvalidInput(ValueError):
    """An invalid message; the text says why, and gives the valid form."""


def parse_input(kind: type[Message], given: tuple[object, ...]) -> Message:
    """The one message among a handler's arguments; raises Unreadable."""
    wanted = ", ".join(f'"{name}"' for name in kind.model_fields)
    if len(given) != 1:
        raise InvalidInput(f"It must come with one JSON object as its input ({wanted}), not with {len(given)} values.")
    try:
        return kind.model_validate(given[0])
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'input'}: {fault['msg']}" for fault in error.errors()]
        raise InvalidInput(
            cut_text(
                f"It does not fit: {'; '.join(first_items(faults, 3))}. The input is a JSON object with {wanted}.", 500
            )
        ) from error


def parse_text(given: tuple[object, ...], limit: int = 20_000) -> str:
    """The one text among a handler's arguments, bounded; raises Unreadable."""
    if len(given) != 1 or not isinstance(given[0], str) or not given[0].strip():
        raise InvalidInput("It must come with one JSON string as its input.")
    return given[0][:limit]
