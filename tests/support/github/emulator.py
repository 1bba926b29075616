"""The emulator of GitHub's API as a process: users, an App with its key, and webhooks to an address."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from baton.github.app import EVENTS, PERMISSIONS
from tests.conftest import HANGS
from tests.support.github.npm import Npm
from tests.support.ports import reserve_port

APP_ID = 12345
SLUG = "baton-test"
BOT = f"{SLUG}[bot]"
SECRET = "a-webhook-secret-for-tests"
OWNER = "ada"
PEOPLE = (OWNER, "ben", "eve")
"""ada owns the repositories; ben may write to those that say so; eve may not."""


def private_key() -> str:
    """A key for the App."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def token_of(person: str) -> str:
    """The token by which the emulator knows a person."""
    return f"token-of-{person}"


@asynccontextmanager
async def emulator(npm: Npm, place: Path, key: str, *, seen_at: str, webhook: str) -> AsyncIterator[str]:
    """Run the emulator; gives its address. `seen_at` is the address that it says it has."""
    app = {
        "app_id": APP_ID,
        "slug": SLUG,
        "name": "Baton",
        "private_key": key,
        "permissions": PERMISSIONS,
        "events": list(EVENTS),
        "webhook_url": webhook,
        "webhook_secret": SECRET,
        "installations": [{"installation_id": 100, "account": OWNER, "repository_selection": "all"}],
    }
    seed = {
        "tokens": {token_of(person): {"login": person, "scopes": ["repo"]} for person in PEOPLE},
        "github": {"users": [{"login": person} for person in PEOPLE], "repos": [], "apps": [app]},
    }
    file = place / "seed.json"
    file.write_text(json.dumps(seed))
    port = reserve_port()
    with (place / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(npm.node), str(npm.emulator), "start", "--service", "github"),
                *("--port", str(port), "--base-url", seen_at, "--seed", str(file)),
            ],
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await _answers(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        ended = process.poll()
        process.kill()
        process.wait()
        assert ended is None, f"the emulator has ended by itself, with {ended}: {place / 'emulator.log'}"


async def _answers(port: int) -> None:
    deadline = asyncio.get_running_loop().time() + HANGS.total_seconds()
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
            return
        assert asyncio.get_running_loop().time() < deadline, "the emulator did not start"
        await asyncio.sleep(0.05)
