"""The search attributes of a run, and their registration in a Temporal namespace."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from baton.errors import ConfigurationError

if TYPE_CHECKING:
    from temporalio.api.enums.v1 import IndexedValueType
    from temporalio.client import Client

SEARCH_ATTRIBUTES = {
    "BatonRepo": "Keyword",
    "BatonStatus": "Keyword",
    "BatonPendingDecisions": "Int",
    "BatonCostUsd": "Double",
}
"""Names and types; the types as the `temporal` command spells them."""

VISIBLE_WITHIN = timedelta(seconds=30)
"""For a new attribute to be listed by the whole server, whose caches are refreshed at intervals."""


async def ensure_search_attributes(client: "Client") -> list[str]:
    """Register the missing attributes and return the names that were added.

    Registering a name that exists with another type succeeds and changes nothing, and a workflow that uses an
    unknown attribute hangs: so the list is read first, compared, and read again.
    Raises ConfigurationError if a type differs, or this connection may not add attributes.
    """
    from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
    from temporalio.service import RPCError, RPCStatusCode

    missing = await _find_missing(client)
    if not missing:
        return []
    request = AddSearchAttributesRequest(
        namespace=client.namespace, search_attributes={name: _type_value(kind) for name, kind in missing.items()}
    )
    try:
        await client.operator_service.add_search_attributes(request, retry=True)
    except RPCError as error:
        # Two commands may add them at the same moment: they are read again below.
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            wanted = " ".join(f"--name {name} --type {kind}" for name, kind in missing.items())
            raise ConfigurationError(
                f"The namespace {client.namespace} lacks search attributes, and they cannot be added from here"
                f" ({error.message}); add them with: temporal operator search-attribute create {wanted}"
            ) from error
    deadline = asyncio.get_running_loop().time() + VISIBLE_WITHIN.total_seconds()
    while await _find_missing(client):
        if asyncio.get_running_loop().time() > deadline:
            raise ConfigurationError(
                f"The search attributes {', '.join(missing)} were added to the namespace {client.namespace}, but the"
                " server does not list them yet; try again in a minute."
            )
        await asyncio.sleep(0.2)
    return list(missing)


async def _find_missing(client: "Client") -> dict[str, str]:
    """Return the attributes that the namespace lacks; raises ConfigurationError for one of another type."""
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest

    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), retry=True
    )
    known = {**listed.system_attributes, **listed.custom_attributes}
    missing = {}
    for name, kind in SEARCH_ATTRIBUTES.items():
        if name not in known:
            missing[name] = kind
        elif known[name] != _type_value(kind):
            raise ConfigurationError(
                f"The namespace {client.namespace} has a search attribute {name} that is not of type {kind}: remove it"
                f" with `temporal operator search-attribute remove --name {name}`, or use another namespace."
            )
    return missing


def _type_value(kind: str) -> "IndexedValueType.ValueType":
    from temporalio.api.enums.v1 import IndexedValueType

    return IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")
