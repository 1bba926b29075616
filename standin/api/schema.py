"""A strict check of the types of a request body, derived from the parameter types of the SDK.

The SDK's `TypedDict`s accept invalid blocks: they validate `Iterable` fields only on iteration, drop unknown keys, and
try every member of a union. Here `Iterable` becomes `list`, unknown keys are refused, and unions are discriminated by
`type` or `role`, so that an error has the place and the message that the API reports.
"""

import collections.abc
import sys
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsBase
from anthropic.types.tool_param import InputSchemaTyped, ToolParam
from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict, is_typeddict

from standin.api.errors import invalid_request

_HIDDEN = "\x00"
"""Prefix of union tags that the API does not show in the place of an error."""

_HEADERS_OF_THE_SDK = ("user_profile_id", "workspace_id")
"""Parameters that the SDK sends as headers; in a body they are unknown."""

_ToolName = Annotated[str, StringConstraints(max_length=128, pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
_BlockId = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]+$")]

_NARROWER: Mapping[tuple[str, str], Any] = {
    ("ToolParam", "name"): _ToolName,
    ("ToolParam", "input_schema"): InputSchemaTyped,
    ("ToolUseBlockParam", "id"): _BlockId,
    ("ToolUseBlockParam", "name"): Annotated[str, StringConstraints(min_length=1, max_length=200)],
    ("ToolResultBlockParam", "tool_use_id"): _BlockId,
    ("MessageCreateParamsBase", "max_tokens"): Annotated[int, Field(ge=0)],
}
"""Fields that the API checks more strictly than the SDK's types."""


def _by_shape(value: Any) -> str:
    kind = "str" if isinstance(value, str) else "dict" if isinstance(value, dict) else "list"
    return _HIDDEN + kind


def _by_role(value: Any) -> str | None:
    role = value.get("role") if isinstance(value, dict) else None
    return _HIDDEN + role if isinstance(role, str) else None


def _by_tool_type(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else "custom"


def _any_of(choices: tuple[Any, ...]) -> Any:
    return Union[choices]  # noqa: UP007 - the members are known at run time only


def _literal_values(annotation: Any, field: str) -> tuple[str, ...]:
    """Return the values of a `Literal` field of a TypedDict; empty for other fields."""
    hint = get_type_hints(annotation).get(field)
    if get_origin(hint) in (Union, UnionType):
        hint = next((arg for arg in get_args(hint) if arg is not NoneType), None)
    return get_args(hint) if get_origin(hint) is Literal else ()


def _tagged_union(members: list[Any], field: str, hidden: str, discriminate: Callable[[Any], str | None]) -> Any:
    choices = tuple(
        Annotated[_strict_type(member), Tag(hidden + value)]
        for member in members
        for value in _literal_values(member, field)
    )
    return Annotated[_any_of(choices), Discriminator(discriminate)]


def _object_union(members: list[Any]) -> Any:
    """Return a union of JSON objects, discriminated by their `role` or `type`."""
    if len(members) == 1:
        return _strict_type(members[0])
    if all(_literal_values(member, "role") for member in members):
        return _tagged_union(members, "role", _HIDDEN, _by_role)
    if ToolParam in members:
        return _tagged_union(members, "type", "", _by_tool_type)
    if all(_literal_values(member, "type") for member in members):
        choices = tuple(_strict_type(member) for member in members)
        return Annotated[_any_of(choices), Field(discriminator="type")]
    return _any_of(tuple(_strict_type(member) for member in members))


def _strict_union(members: list[Any]) -> Any:
    objects = [member for member in members if is_typeddict(member)]
    lists = [member for member in members if _is_list(member)]
    texts = [member for member in members if member is str]
    literals = [member for member in members if get_origin(member) is Literal]
    shapes: list[tuple[str, Any]] = []
    if texts:
        shapes.append(("str", str))
    if lists:
        shapes.append(("list", _strict_type(lists[0])))
    if objects:
        shapes.append(("dict", _object_union(objects)))
    if not shapes:
        plain = tuple(literals) or tuple(m for m in members if m in (int, float, bool))
        return _any_of(plain)
    if len(shapes) == 1:
        return shapes[0][1]
    choices = tuple(Annotated[kind, Tag(_HIDDEN + name)] for name, kind in shapes)
    return Annotated[_any_of(choices), Discriminator(_by_shape)]


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return origin in (list, collections.abc.Iterable, collections.abc.Sequence) or (
        getattr(origin, "__name__", "") == "SequenceNotStr"
    )


@cache
def _closed_twin(original: Any) -> Any:
    """Return a copy of a TypedDict that refuses unknown keys and has strict fields."""
    hints = get_type_hints(original, include_extras=True)
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        if name in _HEADERS_OF_THE_SDK:
            continue
        # `__required_keys__` does not see through the SDK's postponed annotations.
        needed = get_origin(hint) is Required or (original.__total__ and get_origin(hint) is not NotRequired)
        if get_origin(hint) in (Required, NotRequired):
            hint = get_args(hint)[0]
        narrower = _NARROWER.get((original.__name__, name))
        kind = _strict_type(narrower if narrower is not None else hint)
        fields[name] = Required[kind] if needed else NotRequired[kind]
    if original is MessageCreateParamsBase:
        fields["stream"] = NotRequired[bool]
    make: Any = TypedDict
    twin = make(original.__name__, fields)
    extra = (getattr(original, "__pydantic_config__", None) or {}).get("extra", "forbid")
    twin.__pydantic_config__ = ConfigDict(extra="allow" if extra == "allow" else "forbid")
    return twin


def _strict_type(annotation: Any) -> Any:
    if is_typeddict(annotation):
        return _closed_twin(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        constraints = [
            extra for extra in annotation.__metadata__ if isinstance(extra, StringConstraints | type(Field()))
        ]
        inner = _strict_type(get_args(annotation)[0])
        for constraint in constraints:
            inner = Annotated[inner, constraint]
        return inner
    if origin in (Union, UnionType):
        members = list(get_args(annotation))
        optional = NoneType in members
        members = [member for member in members if member is not NoneType]
        inner = _strict_type(members[0]) if len(members) == 1 else _strict_union(members)
        return inner | None if optional else inner
    if _is_list(annotation):
        return list[_strict_type(get_args(annotation)[0])]  # type: ignore[misc]
    return annotation


@cache
def _build_adapter(counting: bool) -> TypeAdapter[dict[str, Any]]:
    original: Any = MessageCountTokensParams if counting else MessageCreateParamsBase
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(_closed_twin(original))
    return adapter


def build_adapters() -> None:
    """Build the type adapters in advance; it takes about 100 ms, which the first request would wait."""
    _build_adapter(False)
    _build_adapter(True)


def _format_place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if not (isinstance(part, str) and part.startswith(_HIDDEN)))


def parse_request(body: bytes, *, counting: bool = False) -> dict[str, Any]:
    """Return the checked body, with keys in the order of the types; raises ApiError (400) with the first error.

    `counting` checks the fields of `count_tokens` in place of those of `messages`.
    """
    try:
        data = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise invalid_request(f"The request body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise invalid_request("The request body must be a JSON object")
    _check_numbers(data)
    _check_roles(data.get("messages"))
    try:
        return _build_adapter(counting).validate_python(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = _format_place(first["loc"])
        raise invalid_request(f"{place}: {first['msg']}" if place else first["msg"]) from error


def _check_numbers(data: Any) -> None:
    """Refuse a number beyond the range of a double, as the API's parser does."""
    rest = [data]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list):
            rest += value
        elif isinstance(value, int | float) and not -sys.float_info.max <= value <= sys.float_info.max:
            raise invalid_request("The request body is not valid JSON: number is infinity when parsed as double")


def _check_roles(messages: Any) -> None:
    """Refuse a missing or unknown role first, because the API reports it before other errors of a message."""
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        role = message.get("role") if isinstance(message, dict) else None
        if isinstance(message, dict) and "role" not in message:
            raise invalid_request(f"messages.{index}.role: Field required")
        if isinstance(role, str) and role not in ("user", "assistant", "system"):
            raise invalid_request(
                f'messages: Unexpected role "{role}". Allowed roles are "user", "assistant" or "system"'
            )
