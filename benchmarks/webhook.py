"""How quickly a delivery is answered, and whether the webhook's memory stays flat.

    python -m benchmarks.webhook

The command `baton webhook` as a process of its own, over HTTP, on a real Temporal server. First a stream of
deliveries at a fixed rate, whatever the answers do; an answer's time counts from when its delivery was due. Then 10,000
deliveries, some at once. Each is one of GitHub's own examples (`issues.labeled`) with an id of its own, and is taken.
"""

import argparse
import asyncio
import json
import math
import os
import secrets
import signal
import statistics
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from baton.settings.core import read_settings
from benchmarks.scene import BATON, await_line, describe_machine, memory_of, read_processor_times
from interfaces.github.signature import sign_body
from tests.conftest import server_environment
from tests.interfaces.github.http import get, post
from tests.support.github.npm import install
from workers.embedded.server_files import ServerFiles, read_record
from workers.temporal_service import connect_service

SECRET = "benchmark-secret"
AT_ONCE = 16


@dataclass(frozen=True)
class WebhookProcess:
    """Where the webhook is, and the processes of it and of the server."""

    address: str
    webhook: int
    server: int

    def read_use(self) -> tuple[float, float]:
        """Milliseconds of processor time of both so far."""
        return read_processor_times(self.webhook)[0], read_processor_times(self.server)[0]


@asynccontextmanager
async def run_webhook() -> AsyncIterator[WebhookProcess]:
    """A server and the webhook before it."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-", ignore_cleanup_errors=True) as name:
        settings = read_settings(home=Path(name) / "home")
        async with connect_service(settings, embedded_only=True) as service:
            kept = {key: value for key, value in os.environ.items() if not key.startswith(("BATON_", "TEMPORAL_"))}
            own = {"BATON_HOME": str(Path(name) / "other"), **server_environment(service.address)}
            process = await asyncio.create_subprocess_exec(
                BATON,
                *("webhook", "--port", "0"),
                env={**kept, **own, "BATON_GITHUB_WEBHOOK_SECRET": SECRET},
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
            )
            assert process.stderr is not None
            line = await await_line(process.stderr, "GitHub webhook")
            drain = asyncio.create_task(process.stderr.read())
            try:
                record = read_record(ServerFiles.open_home(settings.home))
                assert record is not None
                yield WebhookProcess(line.split()[2].removesuffix("/webhook,"), process.pid, record.server)
            finally:
                process.send_signal(signal.SIGTERM)
                await process.wait()
                await drain


def make_delivery() -> bytes:
    """An issue that gets the label, as GitHub sends it."""
    payload = next(given for event, given in install().examples() if event == "issues" and given["action"] == "labeled")
    return json.dumps({**payload, "label": {**payload["label"], "name": "baton"}}).encode()


async def send_delivery(address: str, body: bytes, signature: str) -> bool:
    """Send one new delivery; returns whether it was accepted."""
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "issues",
        "X-GitHub-Delivery": f"bench-{secrets.token_hex(8)}",
        "X-Hub-Signature-256": signature,
    }
    answered = await post(address, headers, body)
    assert answered.status in (202, 503), answered
    return answered.status == 202


async def send_stream(address: str, rate: int, seconds: int) -> list[float]:
    """Milliseconds until each answer, counted from when the delivery was due; infinite where it was not taken."""
    body = make_delivery()
    signature = sign_body(body, SECRET)
    start = time.perf_counter() + 0.5

    async def one(due: float) -> float:
        await asyncio.sleep(due - time.perf_counter())
        taken = await send_delivery(address, body, signature)
        return (time.perf_counter() - due) * 1_000 if taken else math.inf

    return await asyncio.gather(*(one(start + number / rate) for number in range(rate * seconds)))


async def send_many(address: str, process: int, count: int) -> None:
    """Send so many, some at once, and print the memory on the way."""
    body = make_delivery()
    signature = sign_body(body, SECRET)
    left = iter(range(count))
    started = time.perf_counter()
    print(f"memory: {memory_of(process)[0]:.1f} MB before")

    async def sender() -> None:
        for number in left:
            while not await send_delivery(address, body, signature):
                await asyncio.sleep(1)
            if (number + 1) % (count // 10) == 0:
                print(f"memory: {memory_of(process)[0]:.1f} MB after {number + 1:,} deliveries")

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    print(
        f"{count:,} deliveries, {AT_ONCE} at once: {count / (time.perf_counter() - started):.0f} a second,"
        f" highest memory {memory_of(process)[1]:.1f} MB"
    )


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--count", type=int, default=10_000)
    wanted = parser.parse_args()
    async with run_webhook() as served:
        assert (await get(served.address, "/readyz")).status == 200
        print(f"{describe_machine()}; a payload of {len(make_delivery()):,} bytes")
        before = served.read_use()
        took = await send_stream(served.address, wanted.rate, wanted.seconds)
        used = [(now - then) / len(took) for now, then in zip(served.read_use(), before, strict=True)]
        cuts = statistics.quantiles(took, n=100)
        print(
            f"{len(took):,} deliveries at {wanted.rate} a second: median {cuts[49]:.0f} ms, p95 {cuts[94]:.0f},"
            f" p99 {cuts[98]:.0f}, highest {max(took):.0f} ({describe_machine()})"
        )
        print(f"processor time of a delivery: webhook {used[0]:.1f} ms, server {used[1]:.1f} ms")
        await send_many(served.address, served.webhook, wanted.count)


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)
