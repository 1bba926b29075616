"""A headless Chromium for tests and screenshots of the Web UI."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, async_playwright

from tests.conftest import HANGS

NAMES = ("chromium", "chromium-browser", "google-chrome")

PATIENCE = HANGS.total_seconds() * 1_000
"""Milliseconds that a page may take on a busy machine."""


def find_chromium() -> str | None:
    """Chromium as the system has it."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@asynccontextmanager
async def chromium(path: str) -> AsyncIterator[Browser]:
    """A browser without a window."""
    # Its own sandbox needs a user other than root; it opens nothing but pages of this machine.
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=arguments, timeout=PATIENCE)
        try:
            yield browser
        finally:
            await browser.close()


async def open_page(browser: Browser, url: str, width: int = 1_400, height: int = 1_000) -> Page:
    """A page at this address."""
    page = await browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    await page.goto(url)
    return page
