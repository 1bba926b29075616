"""Search attributes on a real server: added when missing, refused when of another type, never touched when right."""

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from baton.errors import ConfigurationError
from baton.settings import Settings
from workers.search_attributes import SEARCH_ATTRIBUTES, ensure_search_attributes
from workers.service import TemporalService, temporal_service


async def listed(client: Client) -> dict[str, int]:
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return dict(answer.custom_attributes)


async def test_the_embedded_server_has_them_from_the_start(service: TemporalService) -> None:
    assert SEARCH_ATTRIBUTES.keys() <= (await listed(service.client)).keys()
    assert await ensure_search_attributes(service.client) == []


async def new_namespace(client: Client, name: str, connect_to: str) -> Client:
    from google.protobuf.duration_pb2 import Duration

    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=Duration(seconds=86_400))
    )
    return await Client.connect(connect_to, namespace=name)


async def test_a_wrong_type_is_an_error_and_missing_ones_are_added(settings: Settings) -> None:
    async with temporal_service(settings) as service:
        fresh = await new_namespace(service.client, "fresh", service.address)
        for _ in range(200):  # a new namespace is known to the whole server only after a while
            try:
                await listed(fresh)
                break
            except Exception:
                import asyncio

                await asyncio.sleep(0.1)
        await fresh.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace="fresh", search_attributes={"BatonCostUsd": IndexedValueType.INDEXED_VALUE_TYPE_INT}
            )
        )
        with pytest.raises(ConfigurationError, match="BatonCostUsd that is not of type Double"):
            await ensure_search_attributes(fresh)
