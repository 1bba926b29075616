"""Names of settings in the environment: `BATON_<NAME>`, or aliases, of which the first is the current name."""

from typing import Any

from pydantic import AliasChoices, Field
from pydantic.fields import FieldInfo


def cap_field(name: str, old_name: str, description: str) -> Any:
    """Return the field of a maximum that is set by `BATON_<name>`, and by an older name that keeps working."""
    return Field(
        default=None,
        validation_alias=AliasChoices(f"BATON_{name}", f"BATON_{old_name}"),
        description=description,
    )


def variables_of(name: str, field: FieldInfo) -> list[str]:
    """Return the variables that set a field: the current name first, then older ones and alternatives."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias or f"BATON_{name.upper()}"]
    return [str(choice) for choice in choices]
