"""The endpoints `/v1/messages` and `/v1/messages/count_tokens` in ASGI, with access to the connection for faults."""

import time
from contextlib import suppress
from typing import Any, Protocol

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from standin.api.errors import ApiError, invalid_request
from standin.script.player import read_caller
from standin.server.request_log import RequestLog, RequestRecord, mask_headers
from standin.server.wire import ClientConnection, ConnectionGone

MAX_BODY_BYTES = 32 * 1024 * 1024
_DRAIN_BYTES = 8 * MAX_BODY_BYTES


class MessagesBackend(Protocol):
    """The part of the stand-in that the endpoint uses."""

    log: RequestLog

    def new_request_id(self) -> str:
        """Return a unique id."""
        ...

    def common_headers(self, request_id: str) -> dict[str, str]:
        """Return the headers that every answer has."""
        ...

    def check_key(self, headers: Headers) -> None:
        """Check the API key; raises ApiError (401)."""
        ...

    async def count_tokens(self, body: bytes, record: RequestRecord) -> dict[str, Any]:
        """Answer `count_tokens`; raises ApiError."""
        ...

    async def answer_message(
        self, body: bytes, headers: Headers, record: RequestRecord, wire: ClientConnection
    ) -> None:
        """Answer `messages` over the connection; raises ApiError."""
        ...


class MessagesEndpoint:
    """One of the two endpoints; it logs every request, including refused ones."""

    def __init__(self, standin: MessagesBackend, *, counting: bool) -> None:
        self._standin, self._counting = standin, counting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Log a request and answer it."""
        standin, headers = self._standin, Headers(scope=scope)
        started = time.monotonic()
        request_id = standin.new_request_id()
        log = standin.log
        record = RequestRecord(
            number=len(log.requests) + 1,
            path=scope["path"],
            headers=mask_headers(dict(headers)),
            request_id=request_id,
        )
        log.requests.append(record)
        wire = ClientConnection(scope, receive, send, standin.common_headers(request_id))
        try:
            body = await _read_body(receive)
            record.name_caller(read_caller(headers))
            standin.check_key(headers)
            _check_headers(scope["method"], headers)
            if self._counting:
                counted = await standin.count_tokens(body, record)
                record.status = 200
                await wire.send_json(200, counted)
                record.whole = True
            else:
                await standin.answer_message(body, headers, record, wire)
        except ApiError as error:
            record.status, record.error_type, record.error_message = error.status, error.kind, error.message
            with suppress(ConnectionGone):
                await wire.send_error(error, request_id)
        except ConnectionGone:
            pass
        finally:
            record.seconds = time.monotonic() - started


async def _read_body(receive: Receive) -> bytes:
    """Read the request's body; raises ApiError (413) above 32 MB, after the client has sent all of it.

    A client reads no answer before it has sent its request. Above 256 MB the rest is not read.
    """
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionGone
        size += len(message.get("body", b""))
        if size <= MAX_BODY_BYTES:
            pieces.append(message.get("body", b""))
        elif size > _DRAIN_BYTES:
            break
        if not message.get("more_body", False):
            break
    if size > MAX_BODY_BYTES:
        raise ApiError(413, headers={"x-should-retry": "false", "connection": "close"})
    return b"".join(pieces)


def _check_headers(method: str, headers: Headers) -> None:
    if method != "POST":
        raise ApiError(405, "Method Not Allowed")
    if "anthropic-version" not in headers:
        raise invalid_request("anthropic-version: header is required")
    if not headers.get("content-type", "").startswith("application/json"):
        raise invalid_request("content-type: must be application/json")
