"""Clients that speak to a stand-in over a real socket: Anthropic's SDK, and plain HTTP."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic

from standin import StandIn
from tests.conftest import HANGS

MODEL = "claude-sonnet-5-5"

SdkFactory = Callable[..., AbstractAsyncContextManager[AsyncAnthropic]]


@pytest.fixture
def sdk() -> SdkFactory:
    """The SDK's client against a stand-in, as the engine uses it: without retries."""

    @asynccontextmanager
    async def open_client(standin: StandIn, **options: Any) -> AsyncIterator[AsyncAnthropic]:
        options = {"api_key": "sk-test", "max_retries": 0, **options}
        async with AsyncAnthropic(base_url=standin.base_url, **options) as client:
            yield client

    return open_client


class Raw:
    """Plain HTTP, for requests that the SDK would not send."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def post(self, body: Any, path: str = "/v1/messages", **headers: str | None) -> httpx2.Response:
        """Send a body; a header given as None is left out."""
        sent: dict[str, str | None] = {
            "authorization": "Bearer sk-test",
            "anthropic-version": "2026-10-21",
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        kept = {name: value for name, value in sent.items() if value is not None}
        if isinstance(body, bytes):
            return await self.client.post(path, content=body, headers=kept)
        return await self.client.post(path, json=body, headers=kept)


@pytest.fixture
def raw() -> Callable[[StandIn], AbstractAsyncContextManager[Raw]]:
    @asynccontextmanager
    async def open_client(standin: StandIn) -> AsyncIterator[Raw]:
        async with httpx2.AsyncClient(base_url=standin.base_url, timeout=HANGS.total_seconds()) as client:
            yield Raw(client)

    return open_client


def request(**changes: Any) -> dict[str, Any]:
    """A small valid request with some fields changed; `...` takes one out."""
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 1_000,
        "messages": [{"role": "user", "content": "Hello"}],
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}
