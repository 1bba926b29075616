"""Temporal is away: 503, nothing is marked as seen, and the same delivery is taken once it is back."""

import asyncio
from datetime import timedelta

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from interfaces.github.app import Webhook
from interfaces.github.server import serve_webhook
from interfaces.github.start_delivery import MAX_STARTS, DeliveryStarter
from tests.conftest import HANGS, assert_eventually
from tests.interfaces.github.deliveries import POLICY, encode, headers, labeled
from tests.interfaces.github.http import Answer, get, post
from tests.support.network_line import Line
from workers.temporal_service import TemporalService


async def test_nothing_is_lost_and_nothing_is_marked_as_seen(service: TemporalService, task_queue: str) -> None:
    line = Line(service.address)
    await line.open()
    client = await Client.connect(
        f"127.0.0.1:{line.port}", data_converter=pydantic_data_converter, tls=service.tls or False
    )
    desk = DeliveryStarter(client, task_queue, limit=timedelta(seconds=1))
    body = encode(labeled())
    given = headers(body, "issues")
    async with serve_webhook(Webhook(POLICY, desk).build_application(), "127.0.0.1", 0) as where:
        assert (await get(where, "/readyz")).status == 200
        await line.cut()
        refused = await post(where, given, body)
        assert (refused.status, refused.says["verdict"]) == (503, "unavailable")
        assert refused.headers["retry-after"] == "30"
        await assert_eventually(lambda: _status(where, "/readyz", 503))
        assert (await get(where, "/healthz")).status == 200

        await line.open()
        await assert_eventually(lambda: _status(where, "/readyz", 200))
        taken = await redeliver(where, given, body)
        again = await post(where, given, body)
        assert (again.status, again.says["reason"]) == (202, "this delivery was taken before")
        # A server that hangs is as good as none, also for those that wait for their turn.
        line.flows.clear()
        more = [headers(body, "issues") for _ in range(2 * MAX_STARTS)]
        assert {(await each).status for each in [asyncio.create_task(post(where, one, body)) for one in more]} == {503}
        line.flows.set()
        await assert_eventually(lambda: _status(where, "/readyz", 200))
        for one in more:
            await redeliver(where, one, body)
    described = await service.client.get_workflow_handle(taken.says["workflow"]).describe()
    assert described.workflow_type == "Delivery"
    await line.cut()


async def redeliver(where: str, given: dict[str, str], body: bytes) -> Answer:
    """Deliver until it is taken, as people do after an outage; a busy machine may need more than once."""
    async with asyncio.timeout(HANGS.total_seconds()):
        while (answer := await post(where, given, body)).status == 503:
            continue
    assert answer.status == 202
    return answer


async def _status(where: str, path: str, status: int) -> bool:
    return (await get(where, path)).status == status
