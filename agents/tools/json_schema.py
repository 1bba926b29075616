"""Flat JSON schemas from pydantic models: no references, no titles, no additional properties."""

from collections.abc import Mapping

from pydantic import BaseModel

JsonObject = dict[str, object]


def flat_schema(model: type[BaseModel]) -> JsonObject:
    """Return the schema of a model as the `input_schema` of a tool, with the properties in the model's order."""
    schema = model.model_json_schema(by_alias=False)  # by the names of the fields, not their synonyms
    definitions = schema.pop("$defs", {})
    flat = _flatten_node(schema, definitions)
    if not isinstance(flat, dict):
        raise TypeError(f"{model.__name__} has no object schema")
    flat.pop("description", None)
    return flat


def _flatten_node(node: object, definitions: Mapping[str, object]) -> object:
    if isinstance(node, list):
        return [_flatten_node(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[str(node["$ref"]).rpartition("/")[2]]
        merged = (
            {**target, **{key: value for key, value in node.items() if key != "$ref"}}
            if isinstance(target, dict)
            else {}
        )
        return _flatten_node(merged, definitions)
    if "anyOf" in node:
        node = _unwrap_optional(node)
    result: JsonObject = {}
    for key, value in node.items():
        if key == "properties" and isinstance(value, dict):
            result[key] = {name: _flatten_node(child, definitions) for name, child in value.items()}
        elif key == "title" or (key == "default" and value is None):
            continue
        else:
            result[key] = _flatten_node(value, definitions)
    return result


def _unwrap_optional(node: JsonObject) -> JsonObject:
    """Return `X | None` as X: models omit an optional property more reliably than they write null."""
    branches = node["anyOf"]
    if not isinstance(branches, list):
        return node
    kept = [branch for branch in branches if branch != {"type": "null"}]
    if len(kept) != 1:
        return node
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    return {**kept[0], **rest}
