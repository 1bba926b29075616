"""Every fault raises in Anthropic's SDK what the engine expects of the real API."""

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import anthropic
import httpx2
import pytest

from standin import Fault, Scenario, ScriptedCall, ScriptedStep, serve_scenario
from tests.conftest import HANGS, assert_eventually
from tests.standin.conftest import request

IMPATIENT = httpx2.Timeout(0.3, connect=60)
"""Of a client that waits for an answer that will not come."""

STEP: dict[str, Any] = {
    "thinking": "Well.",
    "text": "A text that comes in a few pieces, for it is not that short.",
    "calls": [ScriptedCall("Write", {"file_path": "a.txt", "content": "x" * 300})],
}


async def ask(client: anthropic.AsyncAnthropic) -> anthropic.types.Message:
    async with client.messages.stream(**request()) as stream:
        message: anthropic.types.Message = await stream.get_final_message()
        return message


async def _drain(stream: Any, seen: list[Any]) -> None:
    async with stream:
        async for event in stream:
            seen.append(event)


STATUSES: list[tuple[Fault, type[Exception], str, str | None, str | None]] = [
    (Fault(status=429, retry_after=3), anthropic.RateLimitError, "rate_limit_error", "3", "true"),
    (Fault(status=429, retry_after=0.5), anthropic.RateLimitError, "rate_limit_error", "0.5", "true"),
    (Fault(status=529), anthropic.OverloadedError, "overloaded_error", None, "true"),
    (Fault(status=500), anthropic.InternalServerError, "api_error", None, "true"),
    (Fault(status=500, should_retry=False), anthropic.InternalServerError, "api_error", None, "false"),
    (Fault(status=413), anthropic.ContentTooLargeError, "request_too_large", None, "false"),
    (Fault(status=401), anthropic.AuthenticationError, "authentication_error", None, "false"),
    (Fault(status=403), anthropic.PermissionDeniedError, "permission_error", None, "false"),
    (Fault(status=402), anthropic.APIStatusError, "billing_error", None, "false"),
    (Fault(status=400, error_type="billing_error"), anthropic.BadRequestError, "billing_error", None, "false"),
    (Fault(status=408), anthropic.APIStatusError, "timeout_error", None, "true"),
]


@pytest.mark.parametrize(("fault", "raised", "kind", "after", "retry"), STATUSES)
async def test_a_status_before_the_body(
    sdk: Any, fault: Fault, raised: type[Exception], kind: str, after: str | None, retry: str | None
) -> None:
    async with (
        serve_scenario(Scenario(default=ScriptedStep(faults=[fault], **STEP))) as standin,
        sdk(standin) as client,
    ):
        with pytest.raises(raised) as caught:
            await ask(client)
        error: Any = caught.value
        assert (error.status_code, error.type) == (fault.status, kind)
        assert error.response.headers.get("retry-after") == after
        assert error.response.headers["x-should-retry"] == retry
        assert error.request_id == standin.requests[0].request_id
        assert (await ask(client)).stop_reason == "tool_use"
        assert [(r.status, r.whole, r.attempt) for r in standin.requests] == [(fault.status, False, 1), (200, True, 2)]
        assert standin.requests[0].cost_usd == 0, "a request that was refused is not billed"


async def test_a_status_with_words_of_its_own(sdk: Any) -> None:
    fault = Fault(status=503, message="Soon.", error_code="compaction_unavailable")
    async with (
        serve_scenario(Scenario(default=ScriptedStep(faults=[fault], **STEP))) as standin,
        sdk(standin) as client,
    ):
        with pytest.raises(anthropic.InternalServerError) as caught:
            await ask(client)
        assert (caught.value.api_message, caught.value.error_code) == ("Soon.", "compaction_unavailable")


async def test_the_connection_is_reset_before_the_answer(sdk: Any) -> None:
    async with serve_scenario(
        Scenario(default=ScriptedStep(faults=[Fault(reset_before_response=True)], **STEP))
    ) as standin:
        async with sdk(standin) as client:
            with pytest.raises(anthropic.APIConnectionError) as caught:
                await ask(client)
            assert not isinstance(caught.value, anthropic.APITimeoutError)
            assert (await ask(client)).stop_reason == "tool_use"
        assert [record.status for record in standin.requests] == [0, 200]


async def test_the_first_byte_is_slow(sdk: Any) -> None:
    async with serve_scenario(Scenario(default=ScriptedStep(faults=[Fault(delay=3_600)], **STEP))) as standin:
        async with sdk(standin, timeout=IMPATIENT) as client:
            with pytest.raises(anthropic.APITimeoutError):
                await ask(client)
        async with sdk(standin) as client:
            assert (await ask(client)).stop_reason == "tool_use"
        await assert_eventually(lambda: standin.requests[0].seconds > 0)  # it notices that the client has gone
        assert not standin.requests[0].whole


async def test_an_error_event_in_the_stream(sdk: Any) -> None:
    faults = [Fault(error_event_after=4), Fault(error_event_after=1, error_type="api_error", message="Oh.")]
    async with (
        serve_scenario(Scenario(default=ScriptedStep(faults=list(faults), **STEP))) as standin,
        sdk(standin) as client,
    ):
        for kind, words in (("overloaded_error", "Overloaded"), ("api_error", "Oh.")):
            with pytest.raises(anthropic.APIStatusError) as caught:
                await ask(client)
            assert (caught.value.status_code, caught.value.type, caught.value.api_message) == (200, kind, words)
            assert type(caught.value) is anthropic.APIStatusError
        assert (await ask(client)).stop_reason == "tool_use"
        assert [record.whole for record in standin.requests] == [False, False, True]


@pytest.mark.parametrize("after", [0, 1, 4, 8])
@pytest.mark.parametrize(
    ("name", "raised"), [("reset_after", httpx2.ReadError), ("fin_after", httpx2.RemoteProtocolError)]
)
async def test_the_connection_breaks_in_the_stream(sdk: Any, name: str, raised: type[Exception], after: int) -> None:
    fault = Fault.model_validate({name: after})
    async with (
        serve_scenario(Scenario(default=ScriptedStep(faults=[fault], **STEP))) as standin,
        sdk(standin) as client,
    ):
        stream = await client.messages.create(**request(), stream=True)
        seen: list[Any] = []
        with pytest.raises(raised):
            await _drain(stream, seen)
        assert len(seen) == after
        assert (await ask(client)).stop_reason == "tool_use"
        assert [record.whole for record in standin.requests] == [False, True]
        assert standin.requests[0].cost_usd > 0, "what was generated is billed, though it did not arrive"


async def test_the_stream_stalls(sdk: Any) -> None:
    scenario = Scenario(default=ScriptedStep(faults=[Fault(stall_after=3)], **STEP))
    async with serve_scenario(scenario) as standin, sdk(standin) as client:
        async with sdk(standin, timeout=IMPATIENT) as impatient:
            with pytest.raises(httpx2.ReadTimeout):
                await ask(impatient)
        assert (await ask(client)).stop_reason == "tool_use"


@pytest.mark.parametrize("after", [1, 3, 12])
async def test_a_clean_end_before_the_message_stops_raises_nothing(sdk: Any, after: int) -> None:
    async with serve_scenario(Scenario(default=ScriptedStep(faults=[Fault(clean_end_after=after)], **STEP))) as standin:
        async with sdk(standin) as client:
            message = await ask(client)
            assert message.stop_reason is None
        assert not standin.requests[0].whole


async def test_pings_only_and_a_slow_pace(sdk: Any) -> None:
    faults: list[Fault | None] = [Fault(pings=6), Fault(pace=0.05), None]
    async with serve_scenario(Scenario(default=ScriptedStep(faults=faults, **STEP))) as standin:
        async with sdk(standin, timeout=httpx2.Timeout(5)) as client:
            for _ in range(3):
                assert (await ask(client)).stop_reason == "tool_use"
        slow, paced, plain = (record.seconds for record in standin.requests)
        assert slow >= 6
        assert paced >= 0.5
        assert plain > 0


async def test_a_usage_limit_holds_until_its_reset(sdk: Any) -> None:
    fault = Fault(usage_limit=1.2)
    async with (
        serve_scenario(Scenario(steps=[ScriptedStep(turn=1, faults=[fault], **STEP)])) as standin,
        sdk(standin) as client,
    ):
        headers = {"X-Baton-Turn": "1"}
        began, refused, answer = datetime.now(UTC), 0, None
        while answer is None:
            try:
                answer = await client.messages.create(**request(), extra_headers=headers)
            except anthropic.RateLimitError as error:
                refused, said, sent = refused + 1, str(error), error.response.headers
                assert sent["anthropic-ratelimit-unified-status"] == "rejected"
                reset = datetime.fromtimestamp(int(sent["anthropic-ratelimit-unified-reset"]), UTC)
                # A header says whole seconds; the limit lasts from the first request on.
                assert began <= reset <= datetime.now(UTC) + timedelta(seconds=2.5)
                assert int(sent["retry-after"]) in (1, 2)
                assert "regain access" in said
                await asyncio.sleep(0.1)
        assert datetime.now(UTC) - began >= timedelta(seconds=1.2)
        assert refused >= 1
        assert answer.stop_reason == "tool_use"


async def test_a_spend_limit_has_no_reset(sdk: Any) -> None:
    async with serve_scenario(Scenario(default=ScriptedStep(faults=[Fault(spend_limit=True)], **STEP))) as standin:
        async with sdk(standin) as client:
            with pytest.raises(anthropic.RateLimitError) as caught:
                await ask(client)
        assert "retry-after" not in caught.value.response.headers
        assert caught.value.error_code == "enforced_spend_limit_reached"


async def test_a_request_that_does_not_stream_is_cut_before_its_body(sdk: Any) -> None:
    async with (
        serve_scenario(Scenario(default=ScriptedStep(faults=[Fault(reset_after=3)], **STEP))) as standin,
        sdk(standin) as client,
    ):
        with pytest.raises(anthropic.APIConnectionError):
            await client.messages.create(**request())


async def test_a_client_that_leaves_is_noticed(sdk: Any) -> None:
    async with serve_scenario(Scenario(seconds=20, default=ScriptedStep(**STEP))) as standin, sdk(standin) as client:
        task = asyncio.create_task(ask(client))
        while not standin.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await assert_eventually(lambda: standin.requests[0].seconds > 0)
        assert not standin.requests[0].whole


async def test_leaving_does_not_wait_for_open_answers(sdk: Any) -> None:
    async with AsyncExitStack() as stack:
        async with (
            asyncio.timeout(HANGS.total_seconds()),
            serve_scenario(Scenario(seconds=3_600, default=ScriptedStep(**STEP))) as standin,
        ):
            client = await stack.enter_async_context(sdk(standin))
            task = asyncio.create_task(ask(client))
            while not standin.requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
        with pytest.raises(httpx2.HTTPError):
            await task
    assert not standin.requests[0].whole


async def test_faults_befall_requests_in_their_order(sdk: Any) -> None:
    faults: list[Fault | None] = [None, Fault(status=529, times=2), Fault(status=500)]
    async with (
        serve_scenario(Scenario(default=ScriptedStep(faults=faults, text="x"))) as standin,
        sdk(standin) as client,
    ):
        for _ in range(5):
            try:
                await client.messages.create(**request())
            except anthropic.APIStatusError:
                continue
        assert [record.status for record in standin.requests] == [200, 529, 529, 500, 200]


async def test_a_run_meets_a_final_refusal_again_with_the_same_bytes(sdk: Any) -> None:
    """Another request of the same run goes through, and so do the same bytes after what asks for another try."""
    headers = {"X-Baton-Run": "r", "X-Baton-Turn": "1"}
    for fault, again in (
        (Fault(status=413), 413),
        (Fault(status=400, should_retry=True), 200),
        (Fault(status=401), 200),
    ):
        async with (
            serve_scenario(Scenario(default=ScriptedStep(faults=[fault], **STEP))) as standin,
            sdk(standin) as client,
        ):
            for _ in range(2):
                with suppress(anthropic.APIStatusError):
                    await client.messages.create(**request(), extra_headers=headers)
            other = {**request(), "messages": [{"role": "user", "content": "Something shorter."}]}
            await client.messages.create(**other, extra_headers=headers)
            assert [record.status for record in standin.requests] == [fault.status, again, 200]
