"""One GitHub for each test process, and a world with a repository of its own for each test."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from baton.settings.core import Settings
from standin.script.scenario import Scenario
from tests.support.github.npm import Npm, npm
from tests.support.github.opening import app_settings, make_on_github, open_forge, open_world
from tests.support.github.world import Forge, World

__all__ = ["npm"]


@pytest_asyncio.fixture(scope="session")
async def forge(tmp_path_factory: pytest.TempPathFactory, npm: Npm) -> AsyncIterator[Forge]:
    """GitHub: the emulator, with our proxy in front."""
    async with open_forge(npm, tmp_path_factory.mktemp("github")) as made:
        yield made


@pytest.fixture
def github_settings(settings: Settings, forge: Forge) -> Settings:
    """Settings of an App on this GitHub."""
    return app_settings(settings, forge)


@pytest.fixture
def world(client: Client, github_settings: Settings, forge: Forge, tmp_path: Path) -> Any:
    """`async with world(scenario) as w`: a repository on GitHub, the webhook, and a worker."""

    def make(script: Scenario, **more: Any) -> AbstractAsyncContextManager[World]:
        return open_world(client, github_settings, forge, tmp_path, script, **more)

    return make


@pytest_asyncio.fixture
async def bare_world(github_settings: Settings, forge: Forge) -> AsyncIterator[World]:
    """A repository on GitHub that nobody works for: no model, no webhook, no Temporal, no git."""
    forge.hub.quiet()
    made = World(None, github_settings, None, forge, f"shop-{secrets.token_hex(3)}", "")  # type: ignore[arg-type]
    await make_on_github(made)
    yield made
    forge.hub.quiet()
    await made.http.aclose()
