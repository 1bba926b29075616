"""Every fault of the Messages API, over a real socket, becomes the right branch of the error tree and retry posture."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.runtime.failures import ASKED_TO_WAIT, USAGE_LIMIT, to_application_error
from activities.session.messages_api import CallMeter, ask_model, make_client
from baton import errors
from baton.errors import AnswerTruncated, ModelRefused, ModelUnavailable, RequestRefused, UsageLimitReached
from standin.script.scenario import Fault, Scenario, ScriptedCall, ScriptedStep
from standin.server.server import serve_scenario

REQUEST: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 1_000,
    "messages": [{"role": "user", "content": "Hello"}],
}


async def failure(fault: Fault) -> Exception:
    async with serve_scenario(Scenario(steps=[ScriptedStep(text="Hello to you", faults=[fault])])) as standin:
        client = make_client("sk-ant-test-key", standin.base_url)
        try:
            with pytest.raises(errors.ModelError) as caught:
                await ask_model(client, REQUEST, {})
            assert len(standin.requests) == 1, "the client must not retry by itself"
            return caught.value
        finally:
            await client.close()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=429, retry_after=2), "rate_limit_error"),
        (Fault(status=529), "overloaded_error"),
        (Fault(status=500), "api_error"),
        (Fault(status=503), "api_error"),
        (Fault(reset_before_response=True), "connection"),
        (Fault(error_event_after=2), "overloaded_error"),
        (Fault(reset_after=3), "stream_broken"),
        (Fault(fin_after=3), "stream_broken"),
        (Fault(clean_end_after=3), "truncated"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_passing_faults_may_be_tried_again(fault: Fault, kind: str) -> None:
    error = await failure(fault)
    assert isinstance(error, ModelUnavailable)
    assert error.kind == kind
    posture = to_application_error(error)
    # What names a time to wait leaves the retries to the workflow's timer.
    assert posture.non_retryable == (posture.type == ASKED_TO_WAIT) == (error.retry_after is not None)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
async def test_what_cannot_succeed_is_not_tried_again(status: int) -> None:
    error = await failure(Fault(status=status))
    assert isinstance(error, ModelRefused)
    assert to_application_error(error).non_retryable


@pytest.mark.parametrize(
    ("fault", "about_the_request"),
    [
        (Fault(status=400), True),
        (Fault(status=400, error_type="a_gateways_own"), True),
        (Fault(status=404), True),
        (Fault(status=413), True),
        (Fault(status=422), True),
        (Fault(error_event_after=2, error_type="invalid_request_error"), True),
        (Fault(error_event_after=2, error_type="permission_error"), False),
        # Words decide nothing, whoever wrote them.
        (Fault(status=401, message="prompt is too long: 2 tokens > 1 maximum"), False),
        (Fault(status=400, error_type="billing_error", message="prompt is too long"), False),
        (Fault(status=402), False),
        (Fault(status=403, error_type="invalid_request_error"), False),
        (Fault(status=500, should_retry=False), False),
        (Fault(status=529, should_retry=False), False),
        (Fault(spend_limit=True), False),
    ],
)
async def test_which_refusals_have_their_cause_in_what_is_sent(fault: Fault, about_the_request: bool) -> None:
    assert isinstance(await failure(fault), RequestRefused) == about_the_request


async def test_retry_after_is_waited_for_by_the_workflow_and_counts_as_no_attempt() -> None:
    posture = to_application_error(await failure(Fault(status=429, retry_after=7)))
    assert (posture.type, posture.non_retryable) == (ASKED_TO_WAIT, True)
    assert list(posture.details) == ["rate_limit_error", 7.0]


async def test_the_api_may_forbid_a_retry() -> None:
    assert isinstance(await failure(Fault(status=529, should_retry=False)), ModelRefused)


async def test_a_usage_limit_with_a_stated_reset_is_waited_for() -> None:
    asked = datetime.now(UTC)
    error = await failure(Fault(usage_limit=600))
    told = datetime.now(UTC)
    assert isinstance(error, UsageLimitReached)
    posture = to_application_error(error)
    assert (posture.type, posture.non_retryable) == (USAGE_LIMIT, True)
    reset = datetime.fromisoformat(str(posture.details[0]))
    # The API says whole seconds.
    assert asked + timedelta(seconds=599) <= reset <= told + timedelta(seconds=602)


async def test_a_spend_limit_is_final() -> None:
    error = await failure(Fault(spend_limit=True))
    assert isinstance(error, ModelRefused)
    assert error.kind == "spend_limit"


async def test_an_unreachable_address_is_a_passing_fault_with_advice() -> None:
    client = make_client("sk-ant-test-key", "http://127.0.0.1:9")
    with pytest.raises(ModelUnavailable, match="ANTHROPIC_BASE_URL"):
        await ask_model(client, REQUEST, {})
    await client.close()


async def test_a_wrong_key_is_named_and_never_shown() -> None:
    async with serve_scenario(Scenario(steps=[ScriptedStep(text="Hello")], keys=["sk-ant-the-right-one"])) as standin:
        client = make_client("sk-ant-the-wrong-one", standin.base_url)
        with pytest.raises(ModelRefused, match="ANTHROPIC_API_KEY") as caught:
            await ask_model(client, REQUEST, {})
        await client.close()
    assert "sk-ant-the-wrong-one" not in str(caught.value)


def test_every_error_of_the_tree_has_a_posture() -> None:
    """The mapping is total: each class of the tree becomes an ApplicationError under a name."""
    now = datetime.now(UTC)
    for error_type in vars(errors).values():
        if not isinstance(error_type, type) or not issubclass(error_type, errors.BatonError):
            continue
        if issubclass(error_type, UsageLimitReached):
            error: errors.BatonError = error_type("m", kind="k", resets_at=now)
        elif issubclass(error_type, errors.ModelError):
            error = error_type("m", kind="k")
        elif issubclass(error_type, errors.MergeConflict):
            error = error_type("m", ["a"])
        else:
            error = error_type("m")
        posture = to_application_error(error)
        assert posture.type
        assert posture.message == "m"
        # A live attempt that lost a race goes on from what the winner did; to any other nobody listens.
        retryable = issubclass(
            error_type,
            (ModelUnavailable, AnswerTruncated, errors.StaleAttempt, errors.RepositoryAway, errors.GitHubAway),
        )
        if retryable:
            assert not posture.non_retryable
        elif issubclass(error_type, (errors.UsageError, ModelRefused, errors.GitHubDenied, errors.GitHubRefused)):
            assert posture.non_retryable


def test_a_full_disk_is_named() -> None:
    posture = to_application_error(OSError(28, "No space left on device"))
    assert posture.type == "DiskFull"
    assert not posture.non_retryable


@asynccontextmanager
async def says(body: bytes) -> AsyncIterator[str]:
    """A server that answers every request with these bytes as a stream of events; gives its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


START = (
    b'event: message_start\ndata: {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": '
    b'"assistant", "content": [], "model": "claude-sonnet-5-5", "usage": {"input_tokens": 70, "output_tokens": 1}}}\n\n'
)


@pytest.mark.parametrize(
    ("body", "kind", "begun"),
    [
        (START + b"event: content_block_start\ndata: {not JSON\n\n", "unreadable", True),
        (START + b'event: content_block_start\ndata: {"a": "\xff"}\n\n', "unreadable", True),
        (START + b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 7, "delta": '
         b'{"type": "text_delta", "text": "x"}}\n\n', "unreadable", True),
        (START + b"event: message_delta\ndata: [1]\n\n", "unreadable", True),
        (START, "truncated", True),
        (b"", "truncated", False),
        (b"event: message_start\ndata: {not JSON\n\n", "unreadable", False),
    ],
)  # fmt: skip
async def test_what_is_no_stream_of_events_is_an_error_of_ours(body: bytes, kind: str, begun: bool) -> None:
    """And what was billed of it is known: the tokens that the answer began with."""
    meter = CallMeter()
    async with says(body) as address:
        client = make_client("sk-ant-test-key", address)
        with pytest.raises(ModelUnavailable) as caught:
            await ask_model(client, REQUEST, {}, meter)
        await client.close()
    assert caught.value.kind == kind
    assert not to_application_error(caught.value).non_retryable
    assert not meter.free
    assert (meter.begun is not None) is begun
    if meter.begun is not None:
        assert meter.begun.input_tokens == 70


async def test_a_request_that_cannot_be_written_is_not_sent() -> None:
    async with serve_scenario(Scenario()) as standin:
        client = make_client("sk-ant-test-key", standin.base_url)
        with pytest.raises(ModelRefused):
            await ask_model(client, {**REQUEST, "messages": [{"role": "user", "content": "\ud800"}]}, {})
        await client.close()
        assert standin.requests == []


async def test_the_text_of_a_tools_input_counts_where_the_stream_breaks() -> None:
    meter = CallMeter()
    step = ScriptedStep(
        calls=[ScriptedCall("Write", raw='{"content": "' + "\\ud800" * 4_000)], faults=[Fault(reset_after=8)]
    )
    async with serve_scenario(Scenario(steps=[step])) as standin:
        client = make_client("sk-ant-test-key", standin.base_url)
        with pytest.raises(ModelUnavailable):
            await ask_model(client, REQUEST, {}, meter)
        await client.close()
    assert meter.begun is not None
    assert meter.begun.output_tokens > 500
