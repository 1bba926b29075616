"""Opens a GitHub, and a world in it; without pytest, for whoever records histories, too."""

import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from temporalio.client import Client

from baton.settings.core import Settings
from interfaces.github.app import Webhook
from interfaces.github.server import serve_webhook as serve_webhook
from interfaces.github.start_delivery import DeliveryStarter
from interfaces.github.verdicts import WebhookPolicy
from standin.script.scenario import Scenario
from standin.server.server import serve_scenario as serve_model
from tests.pipelines.conftest import CANARY
from tests.support.github.emulator import APP_ID, OWNER, SECRET, emulator, private_key, token_of
from tests.support.github.hub import Hub
from tests.support.github.npm import Npm
from tests.support.github.world import Forge, World
from tests.support.ports import reserve_port
from tests.support.repositories import make_repository
from workers.worker import run_worker


@asynccontextmanager
async def open_forge(npm: Npm, place: Path) -> AsyncIterator[Forge]:
    """The emulator, with our proxy in front of it, in a directory."""
    port, key = reserve_port(), private_key()
    repositories = place / "repositories"
    repositories.mkdir()
    address = f"http://127.0.0.1:{port}"
    async with emulator(npm, place, key, seen_at=address, webhook=f"{address}/_deliveries") as real:
        hub = Hub(real, repositories)
        async with serve_webhook(hub.application(), "127.0.0.1", port):
            yield Forge(hub, address, real, repositories, key)
        await hub.close()


def app_settings(settings: Settings, forge: Forge) -> Settings:
    """Settings of an App on this GitHub."""
    return settings.model_copy(
        update={
            "github_app_id": APP_ID,
            "github_private_key": SecretStr(forge.key),
            "github_webhook_secret": SecretStr(SECRET),
            "github_url": forge.address,
            "github_api_url": forge.address,
            "github_writes_per_second": 100.0,
            "github_quiet": 0.0,
        }
    )


@asynccontextmanager
async def open_world(
    client: Client,
    settings: Settings,
    forge: Forge,
    place: Path,
    script: Scenario,
    *,
    worker: bool = True,
    files: dict[str, str] | None = None,
    name: str = "",
    **more: Any,
) -> AsyncIterator[World]:
    """A repository on GitHub, the webhook, a model with this script, and a worker unless it is left out."""
    async with AsyncExitStack() as stack:
        standin = await stack.enter_async_context(serve_model(script, keep_bodies=True))
        own = settings.model_copy(update={"api_key": SecretStr(CANARY), "base_url": standin.base_url, **more})
        app = Webhook(WebhookPolicy.from_settings(own), DeliveryStarter(client)).build_application()
        address = await stack.enter_async_context(serve_webhook(app, "127.0.0.1", 0))
        made = World(client, own, standin, forge, name or f"shop-{secrets.token_hex(3)}", f"{address}/webhook")
        stack.push_async_callback(made.http.aclose)
        await make_on_github(made)
        make_for_git(made, place, files)
        forge.hub.quiet()
        forge.hub.receivers = [made.webhook]
        stack.callback(forge.hub.quiet)
        if worker:
            await stack.enter_async_context(run_worker(client, own))
        yield made


async def make_on_github(world: World) -> None:
    """The repository of a world, on the emulator: ada's, and ben may write to it."""
    said = await world.http.post(
        f"{world.forge.emulator}/user/repos",
        json={"name": world.name, "auto_init": True},
        headers={"authorization": f"token {token_of(OWNER)}"},
    )
    assert said.status_code == 201, said.text
    await world.api("PUT", "/collaborators/ben", {"permission": "push"})


def make_for_git(world: World, place: Path, files: dict[str, str] | None) -> None:
    """The repository of a world as git serves it, with one commit on `main`."""
    source = make_repository(place / f"source-{world.name}", files)
    world.bare.parent.mkdir(exist_ok=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(source), str(world.bare)], check=True)
    subprocess.run(["git", "-C", str(world.bare), "config", "http.receivepack", "true"], check=True)
