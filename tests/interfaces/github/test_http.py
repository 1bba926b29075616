"""The webhook over real HTTP, against a real Temporal server: what is taken, and what a client can do to it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio
from temporalio import workflow
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from baton.records.issue import Delivery
from interfaces.github.app import Webhook
from interfaces.github.parse_request import MAX_BODY
from interfaces.github.request_body import RequestBodies
from interfaces.github.server import serve_webhook
from interfaces.github.signature import sign_body
from interfaces.github.start_delivery import DeliveryStarter
from tests.conftest import HANGS, assert_eventually
from tests.interfaces.github.deliveries import PATIENCE, POLICY, SECRET, commented, encode, headers, labeled
from tests.interfaces.github.http import answer, connect, get, post, request, send

BODY = encode(labeled())


@workflow.defn(name="Delivery", sandboxed=False)
class Noted:
    """Stands where the workflow of a delivery will: it only says what it got."""

    @workflow.run
    async def run(self, delivery: Delivery) -> str:
        return f"{delivery.event} {delivery.matter.kind}"


@pytest_asyncio.fixture(loop_scope="session")
async def address(client: Client, task_queue: str) -> AsyncIterator[str]:
    """A webhook that hands over to a task queue nobody else uses."""
    async with serve_webhook(
        Webhook(POLICY, DeliveryStarter(client, task_queue, limit=PATIENCE)).build_application(), "127.0.0.1", 0
    ) as where:
        yield where


async def test_a_delivery_is_taken_once_also_when_its_workflow_has_ended(
    address: str, client: Client, task_queue: str
) -> None:
    given = headers(BODY, "issues")
    workflow_id = f"gh-delivery-{given['X-GitHub-Delivery']}"
    first = await post(address, given, BODY)
    assert first.status == 202
    assert first.says == {"verdict": "start", "reason": "taken", "workflow": workflow_id}
    assert first.headers["connection"] == "close"
    # Both paths are the webhook.
    again = [await post(address, given, BODY, path) for path in ("/webhook", "/")]
    assert {(each.status, each.says["reason"]) for each in again} == {(202, "this delivery was taken before")}
    async with Worker(client, task_queue=task_queue, workflows=[Noted]):
        assert await client.get_workflow_handle(workflow_id).result() == "issues.labeled start"
    run = (await client.get_workflow_handle(workflow_id).describe()).run_id
    assert (await post(address, given, BODY)).says["reason"] == "this delivery was taken before"
    assert (await client.get_workflow_handle(workflow_id).describe()).run_id == run


async def test_200_deliveries_at_once(address: str, client: Client) -> None:
    # 50 of them, each four times.
    body = encode(commented("/baton status"))
    given = [headers(body, "issue_comment") for _ in range(50)]
    answers = await asyncio.gather(*(post(address, each, body) for each in given * 4))
    assert Counter(each.status for each in answers) == {202: 200}
    assert Counter(each.says["reason"] for each in answers) == {"taken": 50, "this delivery was taken before": 150}
    for each in given:
        described = await client.get_workflow_handle(f"gh-delivery-{each['X-GitHub-Delivery']}").describe()
        assert described.workflow_type == "Delivery"


async def test_what_is_refused_or_ignored_starts_nothing(address: str, client: Client) -> None:
    foreign = headers(BODY, "issues", "another-secret")
    assert (await post(address, foreign, BODY)).status == 401
    ignored = headers(BODY, "star")
    answered = await post(address, ignored, BODY)
    assert (answered.status, answered.says["verdict"]) == (202, "ignored")
    form = headers(BODY, "issues", **{"Content-Type": "application/x-www-form-urlencoded"})
    assert (await post(address, form, BODY)).status == 415
    assert (await post(address, headers(b"{", "issues"), b"{")).status == 400
    for given in (foreign, ignored, form):
        try:
            await client.get_workflow_handle(f"gh-delivery-{given['X-GitHub-Delivery']}").describe()
        except RPCError:
            continue
        raise AssertionError("a workflow was started")


async def test_other_paths_and_methods(address: str) -> None:
    assert (await get(address, "/healthz")).status == 200
    ready = await get(address, "/readyz")
    assert (ready.status, ready.says) == (200, {"ok": True, "temporal": True})
    assert (await get(address, "/webhook")).status == 405
    assert (await get(address, "/metrics")).status == 404
    assert (await send(address, request({}, method="DELETE", path="/"))).status == 405
    assert (await post(address, headers(BODY, "issues"), BODY, "/webhook/../other")).status == 404


async def test_bodies_that_are_too_large(address: str) -> None:
    large = b" " * (MAX_BODY + 1)
    given = headers(large, "issues")
    assert (await post(address, given, large)).status == 413
    # Sent in pieces, nobody says before how much it will be.
    chunked = b"".join(b"100000\r\n" + b" " * 0x100000 + b"\r\n" for _ in range(26)) + b"0\r\n\r\n"
    assert (await send(address, request({**given, "Transfer-Encoding": "chunked"}, chunked))).status == 413
    # What is announced as far too large is not waited for.
    assert (await send(address, request({**given, "Content-Length": str(10 * MAX_BODY)}))).status == 413
    # Without a signature, too; then nothing of it was kept.
    assert (await post(address, {}, large)).status == 413


async def test_nonsense_on_the_wire(address: str) -> None:
    for raw in (
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    ):
        assert (await send(address, raw + b"\r\n")).status in (0, 400, 413), raw[:60]
    # Somebody leaves in the middle.
    _, writer = await connect(address)
    writer.write(request({**headers(BODY, "issues"), "Content-Length": "5000"}, BODY))
    await writer.drain()
    writer.close()
    # Two signatures are none.
    given = headers(BODY, "issues")
    wrong = {**given, "x-hub-signature-256": sign_body(BODY, "another-secret")}
    assert (await post(address, wrong, BODY)).status == 401
    assert (await get(address, "/healthz")).status == 200


async def test_slow_clients_are_let_go(client: Client) -> None:
    bodies = RequestBodies(limit=timedelta(seconds=2))
    application = Webhook(POLICY, DeliveryStarter(client), bodies).build_application()
    async with serve_webhook(application, "127.0.0.1", 0, patience=timedelta(seconds=2)) as where:
        given = headers(BODY, "issues")
        # No head, half a head, half a body.
        for raw, status in ((b"", 0), (b"POST / HTTP/1.1\r\nHost: x\r\n", 0), (request(given, BODY)[:-1], 408)):
            reader, writer = await connect(where)
            writer.write(raw)
            async with asyncio.timeout(HANGS.total_seconds()):
                assert (await answer(reader)).status == status
            writer.close()
        await assert_eventually(lambda: bodies.held == 0)


async def test_memory_for_bodies_is_bounded(client: Client) -> None:
    bodies = RequestBodies(max_held=1_500)
    async with serve_webhook(
        Webhook(POLICY, DeliveryStarter(client), bodies).build_application(), "127.0.0.1", 0
    ) as where:
        body = BODY + b" " * (1_000 - len(BODY))
        half = request(headers(body, "star"), body)
        reader, writer = await connect(where)
        writer.write(half[:-1])
        await assert_eventually(lambda: bodies.held == 999)
        refused = await post(where, headers(body, "star"), body)
        assert (refused.status, refused.headers["retry-after"]) == (503, "30")
        writer.write(half[-1:])
        assert (await answer(reader)).status == 202
        writer.close()
        assert (await post(where, headers(body, "star"), body)).status == 202
        await assert_eventually(lambda: bodies.held == 0)


async def test_what_is_under_way_is_answered_when_the_server_stops(client: Client, task_queue: str) -> None:
    given = headers(BODY, "issues")
    async with serve_webhook(
        Webhook(POLICY, DeliveryStarter(client, task_queue, limit=PATIENCE)).build_application(), "127.0.0.1", 0
    ) as where:
        reader, writer = await connect(where)
        writer.write(request(given, BODY))
        await writer.drain()
        # Its first bytes have arrived by the time another request is answered.
        await get(where, "/healthz")
    assert (await answer(reader)).status == 202
    writer.close()
    assert SECRET not in str(given)
