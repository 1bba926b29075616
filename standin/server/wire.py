"""A client's connection, on which answers are sent completely, slowly, or broken by a fault."""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

from starlette.types import Receive, Scope, Send

from standin.api.errors import ApiError, error_body
from standin.script.scenario import Fault
from standin.server.events import PING, Event, encode_event, json_bytes

TRANSPORT = "standin.transport"
"""Key of the connection's transport in the ASGI scope."""

_SETTLE = 0.03
"""Seconds for sent bytes to reach the client before the connection is broken."""
_PING_INTERVAL = 0.2
"""Seconds."""


class ConnectionGone(Exception):
    """The connection is closed, and no more bytes can be sent."""


class ClientConnection:
    """The connection of one request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        self._transport: asyncio.Transport = scope[TRANSPORT]
        self._receive, self._send = receive, send
        self._headers = headers

    async def _start_response(self, status: int, kind: str, headers: dict[str, str]) -> None:
        pairs = {**self._headers, **headers, "content-type": kind}
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in pairs.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _send_body(self, data: bytes, more: bool) -> None:
        if self._transport.is_closing():
            raise ConnectionGone
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def wait_or_gone(self, seconds: float) -> None:
        """Wait for some seconds; raises Gone as soon as the client disconnects."""
        if seconds <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._await_disconnect()

    async def send_json(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Send a complete JSON answer."""
        data = json_bytes(body)
        await self._start_response(status, "application/json", {**(headers or {}), "content-length": str(len(data))})
        await self._send_body(data, more=False)

    async def send_error(self, error: ApiError, request_id: str) -> None:
        """Send an error answer in the API's form."""
        await self.send_json(error.status, error_body(error, request_id), error.headers)

    async def reset_connection(self) -> None:
        """Break the connection with a TCP reset."""
        await asyncio.sleep(_SETTLE)
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is not None:
            # With a linger time of zero the kernel sends RST in place of FIN: see SO_LINGER in socket(7).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        await self._await_disconnect()

    async def close_connection(self) -> None:
        """Close the connection (FIN) without ending the body."""
        self._transport.close()
        await self._await_disconnect()

    async def _await_disconnect(self) -> None:
        """Wait until the connection is closed, and raise Gone, so that the server does not try to end the answer."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise ConnectionGone

    async def send_stream(self, events: list[Event], pace: float, fault: Fault | None, request_id: str) -> None:
        """Send the events; raises Gone if the fault or the client breaks the stream."""
        cut = fault.stream_cut if fault else None
        await self._start_response(200, "text/event-stream; charset=utf-8", {"cache-control": "no-cache"})
        sent = 0
        if cut and cut[1] == 0:
            await self._break_stream(cut[0], fault, request_id)
            return
        for event in events:
            await self.wait_or_gone(pace)
            last = event[0] == "message_stop"
            await self._send_body(encode_event(event), more=not last)
            if event is PING:
                continue
            sent += 1
            if sent == 1 and fault and fault.pings:
                await self._ping_for(fault.pings)
            if cut and sent == cut[1]:
                await self._break_stream(cut[0], fault, request_id)
                return

    async def _ping_for(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            await self._send_body(encode_event(PING), more=True)
            await self.wait_or_gone(min(_PING_INTERVAL, left))

    async def _break_stream(self, how: str, fault: Fault | None, request_id: str) -> None:
        if how == "error_event":
            kind = (fault.error_type if fault else None) or "overloaded_error"
            error = ApiError(529, fault.message if fault else None, kind=kind)
            await self._send_body(encode_event(("error", error_body(error, request_id))), more=False)
        elif how == "clean_end":
            await self._send_body(b"", more=False)
        elif how == "reset":
            # uvicorn sends the headers with the first part of the body; an empty part is enough.
            await self._send_body(b"", more=True)
            await self.reset_connection()
        elif how == "fin":
            await self._send_body(b"", more=True)
            await self.close_connection()
        else:
            await self._await_disconnect()
        raise ConnectionGone
