"""The client of the Messages API: one streamed call through the anthropic SDK, and its errors as Baton's own.

The SDK's retries are off, because Temporal retries the activity: retries of both would be paid calls that no ledger
counts. Functions import the SDK when they need it: the import takes a second, and commands that only show a run do
without it.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import httpx2
from pydantic import Field

from activities.session.conversation import WHOLE
from activities.session.received_answer import InputSplitStream, clean_text, receive_answer
from baton.errors import (
    AnswerTruncated,
    ModelError,
    ModelRefused,
    ModelUnavailable,
    RequestRefused,
    UsageLimitReached,
)
from baton.policies import MODEL_CONNECT_TIMEOUT, MODEL_READ_TIMEOUT
from baton.records.run import Record, Usage
from baton.text.truncation import cut_text

if TYPE_CHECKING:
    import anthropic
    from anthropic import AsyncAnthropic

_CHARACTERS_PER_TOKEN = 4
"""An estimate for an answer that broke off before the API reported its number of tokens."""
_RETRYABLE_STATUS = frozenset({408, 409, 429})
_RETRYABLE_KINDS = frozenset({"overloaded_error", "api_error", "rate_limit_error", "timeout_error"})
_ABOUT_THE_CALLER = frozenset({401, 402, 403, 407, 429})
"""Refusals because of the key, the account or the rate: the same request is accepted once a person has fixed that."""
_ABOUT_THE_CALLER_KINDS = frozenset({"authentication_error", "billing_error", "permission_error", *_RETRYABLE_KINDS})
_MAX_RETRY_AFTER = timedelta(minutes=2)
"""A `retry-after` beyond this is a usage limit: the workflow waits for it on a durable timer."""


class CallMeter:
    """The progress of a call, by which it is billed even if it ends without an answer."""

    def __init__(self) -> None:
        self.free = False
        """Whether the call is certainly not billed: refused before an answer began, or never sent."""
        self.begun: Usage | None = None
        """Tokens of the prompt as billed, and of the part of the answer that came; None before an answer began."""
        self.model = ""

    def record_failure(self, error: Exception) -> None:
        """Record the error with which a call ended."""
        import anthropic

        unsent = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
        self.free = self.begun is None and (isinstance(error, anthropic.APIStatusError) or unsent)

    def record_answer(self, message: "anthropic.types.Message", inputs: Mapping[int, str]) -> None:
        """Record the part of an answer that has come, with the inputs of its tool calls."""
        self.begun = usage_of(message.usage)
        self.model = clean_text(str(message.model))
        texts = [json.dumps(block, ensure_ascii=False, default=str) for block in _content_blocks(message)]
        seen = sum(map(len, [*texts, *inputs.values()])) // _CHARACTERS_PER_TOKEN
        self.begun = self.begun.model_copy(update={"output_tokens": max(self.begun.output_tokens, seen)})


class ModelAnswer(Record):
    """A complete answer of the model, in a form that can be stored and sent back."""

    content: list[dict[str, Any]]
    faults: dict[str, str] = Field(default_factory=dict)
    """The reason why a tool call does not run, by its id."""
    fault: str = ""
    """The reason why no part of the answer can be sent back; then its content is in `unsent`."""
    unsent: list[dict[str, Any]] = Field(default_factory=list)
    stop_reason: str
    stop_details: dict[str, Any] | None = None
    model: str
    request_id: str | None = None
    usage: Usage
    seconds: float


def make_client(api_key: str | None, base_url: str | None) -> "AsyncAnthropic":
    """Return the client of a worker. Without a key requests fail with 401, and the run asks a person."""
    from anthropic import AsyncAnthropic

    return AsyncAnthropic(
        # Always explicit: without a key the SDK would search for credentials elsewhere.
        api_key=api_key or "missing",
        base_url=base_url,
        max_retries=0,
        timeout=httpx2.Timeout(MODEL_READ_TIMEOUT.total_seconds(), connect=MODEL_CONNECT_TIMEOUT.total_seconds()),
    )


async def ask_model(
    client: "AsyncAnthropic", request: Mapping[str, Any], headers: Mapping[str, str], meter: CallMeter | None = None
) -> ModelAnswer:
    """Make one call and return the complete answer. Raises ModelError only.

    The meter has the billed tokens, also if the call fails.
    """
    import anthropic
    from anthropic.lib.streaming import AsyncMessageStream

    started = time.monotonic()
    meter = meter or CallMeter()
    begun = False
    try:
        inputs = InputSplitStream(await client.messages.create(**request, stream=True, extra_headers=dict(headers)))
        begun = True
        async with AsyncMessageStream(cast(Any, inputs), output_format=anthropic.NOT_GIVEN) as stream:
            try:
                message: anthropic.types.Message = await stream.get_final_message()
            finally:
                with suppress(AssertionError):  # No event has come yet.
                    meter.record_answer(stream.current_message_snapshot, inputs.input_texts)
            request_id = stream.request_id
    except (anthropic.AnthropicError, httpx2.HTTPError) as error:
        meter.record_failure(error)
        raise translate_error(error) from error
    except Exception as error:
        # On an invalid event or invalid JSON the SDK raises exceptions of many types.
        meter.record_failure(error)
        raise _unreadable_error(error, begun=begun) from error
    if message.stop_reason is None:
        # A clean end without `message_stop` raises nothing in the SDK: tool input may be cut in the middle.
        raise AnswerTruncated(
            "The answer of the Messages API ended before it was complete.", kind="truncated", request_id=request_id
        )
    taken = receive_answer(_content_blocks(message), inputs.input_texts, uncut=message.stop_reason in WHOLE)
    details = clean_text(message.to_dict(warnings=False).get("stop_details"))
    return ModelAnswer(
        content=taken.content,
        faults=taken.faults,
        fault=taken.fault,
        unsent=taken.unsent,
        stop_reason=clean_text(str(message.stop_reason)),
        stop_details=details if isinstance(details, dict) else None,
        model=clean_text(str(message.model)),
        request_id=request_id,
        usage=usage_of(message.usage),
        seconds=time.monotonic() - started,
    )


def _content_blocks(message: "anthropic.types.Message") -> list[dict[str, Any]]:
    """Return the blocks of an answer exactly as they came, without the inputs that `InputSplitStream` holds."""
    # Not through JSON: a text may hold half of a surrogate pair.
    content = message.to_dict(warnings=False)["content"]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _unreadable_error(error: Exception, *, begun: bool) -> ModelError:
    """Return the error for a request that cannot be serialised, or an answer that cannot be parsed."""
    kind = type(error).__name__
    if not begun:
        return ModelRefused(f"The request to the Messages API could not be made ({kind}).", kind=kind)
    if isinstance(error, AssertionError):
        return AnswerTruncated("The answer of the Messages API ended before it began.", kind="truncated")
    return ModelUnavailable(
        f"The answer of the Messages API could not be read ({kind}); check the gateway, where there is one.",
        kind="unreadable",
    )


def usage_of(usage: "anthropic.types.Usage") -> Usage:
    """Return the tokens of a call by the classes in which they are billed."""
    written = usage.cache_creation_input_tokens or 0
    detail = usage.cache_creation
    one_hour = detail.ephemeral_1h_input_tokens if detail else 0
    five_minutes = detail.ephemeral_5m_input_tokens if detail else written
    return Usage(
        input_tokens=usage.input_tokens,
        cache_write_5m_tokens=five_minutes,
        cache_write_1h_tokens=one_hour,
        cache_read_tokens=usage.cache_read_input_tokens or 0,
        output_tokens=usage.output_tokens,
    )


def translate_error(error: Exception) -> ModelError:
    """Return an error of the SDK or the transport as a ModelError: retryable (and when) or final."""
    import anthropic

    if isinstance(error, anthropic.APITimeoutError):
        return ModelUnavailable("The Messages API did not answer in time.", kind="timeout")
    if isinstance(error, anthropic.APIStatusError):
        return _translate_status(error)
    if isinstance(error, anthropic.APIConnectionError):
        return ModelUnavailable(
            "The Messages API cannot be reached; check the network and ANTHROPIC_BASE_URL.", kind="connection"
        )
    if isinstance(error, httpx2.HTTPError):
        return ModelUnavailable(
            f"The connection to the Messages API broke during an answer ({type(error).__name__}).", kind="stream_broken"
        )
    return RequestRefused(f"The request to the Messages API could not be made: {error}", kind=type(error).__name__)


def _translate_status(error: "anthropic.APIStatusError") -> ModelError:
    body = error.body if isinstance(error.body, dict) else {}
    detail = body.get("error")
    detail = detail if isinstance(detail, dict) else {}
    # An error event in the middle of a stream is a status error with code 200, so its type counts.
    kind = str(error.type or detail.get("type") or f"http_{error.status_code}")
    said = cut_text(str(detail.get("message") or error.message), 500)
    message = f"The Messages API answered {error.status_code} {kind}: {said}"
    headers = error.response.headers
    retry_after = _retry_after(headers)
    if error.status_code == 401 or kind == "authentication_error":
        message = f"The Messages API refused the key (401): {said}. Set a valid ANTHROPIC_API_KEY and retry."
    if error.status_code == 429:
        if _is_spend_limit(detail):
            return ModelRefused(message, kind="spend_limit", request_id=error.request_id)
        resets_at = _resets_at(headers, retry_after)
        if resets_at is not None:
            return UsageLimitReached(message, kind=kind, resets_at=resets_at, request_id=error.request_id)
        if retry_after is None and headers.get("x-should-retry") == "false":
            return ModelRefused(message, kind="spend_limit", request_id=error.request_id)
    if _should_retry(error.status_code, kind, headers.get("x-should-retry")):
        return ModelUnavailable(message, kind=kind, request_id=error.request_id, retry_after=retry_after)
    if _is_about_the_caller(error.status_code, kind):
        return ModelRefused(message, kind=kind, request_id=error.request_id)
    return RequestRefused(message, kind=kind, request_id=error.request_id)


def _should_retry(status: int, kind: str, said: str | None) -> bool:
    if said in ("true", "false"):
        return said == "true"
    if status == 200:
        return kind in _RETRYABLE_KINDS
    return status in _RETRYABLE_STATUS or status >= 500


def _is_about_the_caller(status: int, kind: str) -> bool:
    """Whether a refusal has its cause outside of the request, by status and type; message texts are not reliable."""
    return status in _ABOUT_THE_CALLER or status >= 500 or kind in _ABOUT_THE_CALLER_KINDS


def _is_spend_limit(detail: Mapping[str, Any]) -> bool:
    codes = (detail.get("error_code"), (detail.get("details") or {}).get("error_code"))
    return any(isinstance(code, str) and code.endswith("spend_limit_reached") for code in codes)


def _retry_after(headers: httpx2.Headers) -> timedelta | None:
    for name, unit in (("retry-after-ms", 1_000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value:
            try:
                seconds = float(value) / unit
            except ValueError:
                continue
            if 0 <= seconds < 7 * 86_400:
                return timedelta(seconds=seconds)
    return None


def _resets_at(headers: httpx2.Headers, retry_after: timedelta | None) -> datetime | None:
    """Return the end of a usage limit; None if the answer names none, or one that is near enough for a retry."""
    if retry_after is not None and retry_after > _MAX_RETRY_AFTER:
        return datetime.now(UTC) + retry_after
    stated = headers.get("anthropic-ratelimit-unified-reset")
    if stated:
        try:
            moment = (
                datetime.fromtimestamp(float(stated), UTC)
                if stated.replace(".", "", 1).isdigit()
                else datetime.fromisoformat(stated)
            )
        except (ValueError, OverflowError):
            return None
        if moment.tzinfo is not None and moment - datetime.now(UTC) > timedelta(0):
            return moment
    return None
