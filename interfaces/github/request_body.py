"""Request bodies, read within maximums of size, of time, and of the memory of all requests together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from starlette.requests import Request

from interfaces.github.parse_request import MAX_BODY
from interfaces.github.verdicts import RejectRequest

BODY_TIMEOUT = timedelta(seconds=10)
"""For a body to arrive; GitHub itself gives up then."""

MAX_HELD = 4 * MAX_BODY
"""Bytes of all bodies that are being read or judged at one moment."""


class RequestBodies:
    """The bodies in memory; one object for all requests of a server."""

    def __init__(self, max_held: int = MAX_HELD, limit: timedelta = BODY_TIMEOUT) -> None:
        self._max_held, self._limit = max_held, limit
        self.held = 0
        """Bytes in memory now."""

    @asynccontextmanager
    async def read_body(self, request: Request, *, keep: bool = True) -> AsyncIterator[bytes | RejectRequest]:
        """Give the whole body while the block runs, or its refusal. Raises ClientDisconnect.

        Without `keep` the body is read and discarded, and empty. A body that is too large is read to its end, up to
        twice the maximum, and discarded: a client that is still sending would not see the answer.
        """
        pieces: list[bytes] = []
        try:
            refusal = await self._within_limit(pieces, request, keep)
            pieces[:] = [b"".join(pieces)]
            yield pieces[0] if refusal is None else refusal
        finally:
            self._drop_pieces(pieces)

    async def _within_limit(self, pieces: list[bytes], request: Request, keep: bool) -> RejectRequest | None:
        try:
            async with asyncio.timeout(self._limit.total_seconds()):
                return await self._read_pieces(pieces, request, keep)
        except TimeoutError:
            return RejectRequest(408, f"The body did not arrive within {self._limit.total_seconds():g} seconds.")

    async def _read_pieces(self, pieces: list[bytes], request: Request, keep: bool) -> RejectRequest | None:
        if _announced_length(request) > 2 * MAX_BODY:
            return _too_large()
        refusal: RejectRequest | None = None
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > 2 * MAX_BODY:
                break
            refusal = refusal or self._refuse_size(size, len(piece) if keep else 0)
            if refusal is None and keep:
                pieces.append(piece)
                self.held += len(piece)
            else:
                self._drop_pieces(pieces)
        return refusal

    def _drop_pieces(self, pieces: list[bytes]) -> None:
        self.held -= sum(map(len, pieces))
        pieces.clear()

    def _refuse_size(self, size: int, more: int) -> RejectRequest | None:
        if size > MAX_BODY:
            return _too_large()
        if self.held + more > self._max_held:
            return RejectRequest(503, "Too many large deliveries at once: send it again.")
        return None


def _announced_length(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    # The HTTP parser has refused a header that is not a number.
    return int(length[:20]) if length.isdecimal() else 0


def _too_large() -> RejectRequest:
    return RejectRequest(413, f"The body is larger than {MAX_BODY} bytes.")
