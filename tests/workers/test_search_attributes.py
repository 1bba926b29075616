"""Search attributes on a real server: added when missing, refused when of another type, never touched when right."""

import asyncio
import secrets

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from baton.errors import ConfigurationError, TemporalUnreachable
from tests.conftest import HANGS
from workers.connection import connect_to_address
from workers.search_attributes import SEARCH_ATTRIBUTES, ensure_search_attributes
from workers.temporal_service import TemporalService


async def listed(client: Client) -> dict[str, int]:
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return dict(answer.custom_attributes)


async def new_namespace(service: TemporalService) -> Client:
    """A client of a fresh namespace; it is known to the whole server only after a while."""
    name = f"space-{secrets.token_hex(4)}"
    await service.client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=Duration(seconds=86_400))
    )
    client = await Client.connect(service.address, namespace=name, tls=service.tls or False)
    deadline = asyncio.get_running_loop().time() + HANGS.total_seconds()
    while asyncio.get_running_loop().time() < deadline:
        try:
            await listed(client)
        except RPCError:
            await asyncio.sleep(0.1)
        else:
            return client
    pytest.fail("the namespace did not appear")


async def test_the_embedded_server_has_them_from_the_start(service: TemporalService) -> None:
    assert (await listed(service.client)).keys() >= SEARCH_ATTRIBUTES.keys()
    assert await ensure_search_attributes(service.client) == []


async def test_missing_ones_are_added_and_then_left_alone(service: TemporalService) -> None:
    client = await new_namespace(service)
    assert await ensure_search_attributes(client) == list(SEARCH_ATTRIBUTES)
    assert await ensure_search_attributes(client) == []
    assert (await listed(client))["BatonCostUsd"] == IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE


async def test_a_wrong_type_is_a_clear_error(service: TemporalService) -> None:
    client = await new_namespace(service)
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace, search_attributes={"BatonCostUsd": IndexedValueType.INDEXED_VALUE_TYPE_INT}
        )
    )
    with pytest.raises(ConfigurationError, match="BatonCostUsd that is not of type Double"):
        await ensure_search_attributes(client)
    assert "BatonRepo" not in await listed(client)


async def test_a_namespace_that_is_not_there_is_named(service: TemporalService) -> None:
    with pytest.raises(TemporalUnreachable, match="has no namespace nowhere"):
        await connect_to_address(service.address, namespace="nowhere")


@pytest.mark.parametrize("address", ["not an address", "127.0.0.1:notaport", ""])
async def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(TemporalUnreachable, match="set TEMPORAL_ADDRESS"):
        await connect_to_address(address)
