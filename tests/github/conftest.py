"""One GitHub for each test process, and a world with a repository of its own for each test."""

import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.client import Client

from baton.settings import Settings
from interfaces.github.app import Webhook
from interfaces.github.server import serve as serve_webhook
from interfaces.github.taking import Desk
from interfaces.github.verdicts import Policy
from standin.scenario import Scenario
from standin.server import serve as serve_model
from tests.github.emulator import APP_ID, OWNER, SECRET, emulator, free_port, private_key, token_of
from tests.github.hub import Hub
from tests.github.npm import Npm, npm
from tests.github.world import Forge, World
from tests.pipelines.conftest import CANARY
from tests.pipelines.repositories import make_repository
from workers.worker import running_worker

__all__ = ["npm"]


@pytest_asyncio.fixture(scope="session")
async def forge(tmp_path_factory: pytest.TempPathFactory, npm: Npm) -> AsyncIterator[Forge]:
    """GitHub: the emulator, with our proxy in front."""
    place, port, key = tmp_path_factory.mktemp("github"), free_port(), private_key()
    repositories = place / "repositories"
    repositories.mkdir()
    address = f"http://127.0.0.1:{port}"
    async with emulator(npm, place, key, seen_at=address, webhook=f"{address}/_deliveries") as real:
        hub = Hub(real, repositories)
        async with serve_webhook(hub.application(), "127.0.0.1", port):
            yield Forge(hub, address, real, repositories, key)
        await hub.close()


@pytest.fixture
def github_settings(settings: Settings, forge: Forge) -> Settings:
    """Settings of an App on this GitHub."""
    return settings.model_copy(
        update={
            "github_app_id": APP_ID,
            "github_private_key": SecretStr(forge.key),
            "github_webhook_secret": SecretStr(SECRET),
            "github_url": forge.address,
            "github_api_url": forge.address,
            "github_writes_per_second": 100.0,
            "github_quiet": 0.5,
        }
    )


@pytest.fixture
def world(client: Client, github_settings: Settings, forge: Forge, tmp_path: Path) -> Any:
    """`async with world(scenario) as w`: a repository on GitHub, the webhook, and a worker."""

    @asynccontextmanager
    async def open_world(
        script: Scenario, *, worker: bool = True, files: dict[str, str] | None = None, **more: Any
    ) -> AsyncIterator[World]:
        name = f"shop-{secrets.token_hex(3)}"
        hub = forge.hub
        async with serve_model(script, keep_bodies=True) as standin:
            own = github_settings.model_copy(
                update={"api_key": SecretStr(CANARY), "base_url": standin.base_url, **more}
            )
            app = Webhook(Policy.of(own), Desk(client)).application()
            async with serve_webhook(app, "127.0.0.1", 0) as address:
                made = World(client, own, standin, forge, name, f"{address}/webhook")
                await _make_repository(made, tmp_path, files)
                hub.faults, hub.revoked, hub.copies, hub.receivers = [], False, 1, [made.webhook]
                try:
                    if worker:
                        async with running_worker(client, own):
                            yield made
                    else:
                        yield made
                finally:
                    hub.receivers, hub.faults, hub.revoked = [], [], False
                    await made.http.aclose()

    return open_world


@pytest_asyncio.fixture
async def bare_world(github_settings: Settings, forge: Forge) -> AsyncIterator[World]:
    """A repository on GitHub that nobody works for: no model, no webhook, no Temporal, no git."""
    hub = forge.hub
    hub.faults, hub.revoked, hub.receivers = [], False, []
    made = World(None, github_settings, None, forge, f"shop-{secrets.token_hex(3)}", "")  # type: ignore[arg-type]
    await _make_on_github(made)
    yield made
    hub.faults = []
    await made.http.aclose()


async def _make_on_github(world: World) -> None:
    said = await world.http.post(
        f"{world.forge.emulator}/user/repos",
        json={"name": world.name, "auto_init": True},
        headers={"authorization": f"token {token_of(OWNER)}"},
    )
    assert said.status_code == 201, said.text
    await world.api("PUT", "/collaborators/ben", {"permission": "push"})


async def _make_repository(world: World, place: Path, files: dict[str, str] | None) -> None:
    """The repository, on GitHub and for git."""
    await _make_on_github(world)
    source = make_repository(place / f"source-{world.name}", files)
    world.bare.parent.mkdir(exist_ok=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(source), str(world.bare)], check=True)
    subprocess.run(["git", "-C", str(world.bare), "config", "http.receivepack", "true"], check=True)
