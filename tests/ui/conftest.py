"""The browser of the Web UI's tests."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

# Fixtures of the pipelines: a stand-in, a worker, a repository.
from tests.pipelines.conftest import repo, staged  # noqa: F401
from tests.ui.browser import chromium, find_chromium


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of a process."""
    path = find_chromium()
    if path is None:
        pytest.skip("Chromium is missing: `sh scripts/chromium.sh` installs it on Debian")
    async with chromium(path) as started:
        yield started
