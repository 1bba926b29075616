"""Many who open connections and send nothing, or half of a request: health and signed deliveries are answered."""

import asyncio
import resource
from collections.abc import Iterator

import pytest
from temporalio.client import Client

from interfaces.github.app import Webhook
from interfaces.github.server import MAX_WAITING, max_waiting_connections, serve_webhook
from interfaces.github.start_delivery import DeliveryStarter
from tests.interfaces.github.deliveries import PATIENCE, POLICY, encode, headers, labeled
from tests.interfaces.github.http import connect, get, post, request

BODY = encode(labeled())
CROWD = 1_100
WHOLE = request(headers(BODY, "issues"), BODY)
SENT = {
    "nothing": b"",
    "half a head": b"POST /webhook HTTP/1.1\r\nHost: x\r\nX-A",
    "a head": WHOLE[: -len(BODY)],
    "half a body": WHOLE[:-10],
}


@pytest.fixture
def many_files() -> Iterator[None]:
    """Both ends of each connection are files of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.usefixtures("many_files")
async def test_a_crowd_shuts_nobody_out(client: Client, task_queue: str, sent: str) -> None:
    async with serve_webhook(
        Webhook(POLICY, DeliveryStarter(client, task_queue, limit=PATIENCE)).build_application(), "127.0.0.1", 0
    ) as where:
        crowd = []
        for _ in range(CROWD):
            _, writer = await connect(where)
            writer.write(SENT[sent])
            crowd.append(writer)
        await asyncio.gather(*(writer.drain() for writer in crowd), return_exceptions=True)
        assert (await get(where, "/healthz")).status == 200
        answers = [(await post(where, headers(BODY, "issues"), BODY)).status for _ in range(3)]
        assert answers == [202, 202, 202]
        for writer in crowd:
            writer.transport.abort()


def test_room_is_left_for_other_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, hard))
        assert max_waiting_connections() == 256
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
        assert max_waiting_connections() == MAX_WAITING
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
