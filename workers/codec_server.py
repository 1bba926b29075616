"""The codec server: it decrypts and encrypts payloads for the Web UI and the `temporal` command, given its token.

The protocol is Temporal's: https://docs.temporal.io/codec-server. The token comes as `Authorization: Bearer`, or, from
a Web UI that cannot send this header, as the first part of the path.
"""

import asyncio
import hmac
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence

from google.protobuf.json_format import MessageToDict, Parse, ParseError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads

from baton.errors import ConfigurationError
from baton.settings.core import read_settings
from baton.settings.encryption_keys import KeyRing
from workers.encryption import EncryptionCodec
from workers.http_server import serve_http

MAX_REQUEST = 32_000_000
"""Bytes of a request's body; a page of a history is far smaller."""

Convert = Callable[[Sequence[Payload]], Awaitable[list[Payload]]]


def build_codec_app(ring: KeyRing, token: str, origins: Iterable[str] = ()) -> Starlette:
    """Return the application. `origins` are the Web UIs whose pages may call it from a browser."""
    codec = EncryptionCodec(ring)

    async def encode(request: Request) -> Response:
        return await _convert_request(request, token, codec.encode)

    async def decode(request: Request) -> Response:
        async def readable(payloads: Sequence[Payload]) -> list[Payload]:
            return [await _decode_payload(codec, payload) for payload in payloads]

        return await _convert_request(request, token, readable)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["POST"],
        allow_headers=["content-type", "x-namespace", "authorization"],
        allow_credentials=True,
    )
    routes = [Route("/healthz", health)]
    for prefix in ("", "/{token}"):
        routes += [
            Route(f"{prefix}/encode", encode, methods=["POST"]),
            Route(f"{prefix}/decode", decode, methods=["POST"]),
        ]
    return Starlette(routes=routes, middleware=[cors])


async def _decode_payload(codec: EncryptionCodec, payload: Payload) -> Payload:
    """Return the payload decrypted, or as it is where its key is not configured here: the others stay readable."""
    try:
        return (await codec.decode([payload]))[0]
    except ConfigurationError:
        return payload


async def _convert_request(request: Request, token: str, convert: Convert) -> Response:
    if not _is_authorized(request, token):
        return JSONResponse({"message": "A valid token is needed."}, 401, {"WWW-Authenticate": "Bearer"})
    body = bytearray()
    async for chunk in request.stream():
        # Bytes beyond the maximum are read and dropped: a client that still writes would not see the answer.
        body += chunk if len(body) <= MAX_REQUEST else b""
    if len(body) > MAX_REQUEST:
        return JSONResponse({"message": "The request is too large."}, 413)
    try:
        payloads = Parse(bytes(body), Payloads())
    except (ParseError, UnicodeDecodeError):
        return JSONResponse({"message": "The body is not a list of payloads in JSON."}, 400)
    return JSONResponse(MessageToDict(Payloads(payloads=await convert(payloads.payloads))))


def _is_authorized(request: Request, token: str) -> bool:
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = [bearer.strip()] if scheme.lower() == "bearer" else []
    given.append(request.path_params.get("token", ""))
    return any(hmac.compare_digest(one.encode(), token.encode()) for one in given)


async def _run_server(port: int, origins: list[str]) -> None:
    """Run the codec server of an embedded server's Web UI until SIGTERM; the supervisor starts and stops it."""
    settings = read_settings()
    ring, token = settings.make_key_ring(), settings.codec_token
    assert ring is not None
    assert token is not None
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with serve_http(build_codec_app(ring, token.get_secret_value(), origins), "127.0.0.1", port, "codec server"):
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(_run_server(int(sys.argv[1]), sys.argv[2:]))
