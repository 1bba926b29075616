"""The services of docker-compose.yml in their containers: worker, webhook and codec server beside a Temporal server.

The server is that of the image's own `temporal` command, which keeps its data in memory: no image of
`temporalio/server` is to be had here, nor one of PostgreSQL. Its namespace is made by the script of the service
`namespace`.
"""

import json
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.image.containers import ROOT, Containers, security, services

pytestmark = pytest.mark.image

HERE = "127.0.0.1:7233"
SECRETS = {
    "anthropic_api_key": "sk-ant-from-a-file-0000\n",
    "baton_codec_token": "a-token-of-some-length\n",
    "baton_encryption_keys": "k1:" + "A" * 43 + "=\n",
    "baton_github_token": "",
    "baton_github_private_key": "",
    "baton_github_webhook_secret": "a-secret-of-some-length\n",
}
MAKE_REPOSITORY = """
import pathlib
from interfaces.cli.runs.sample_repository import make_repository
make_repository(pathlib.Path("/var/lib/baton/orders"))
"""
POST = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], data=b"{}", method="POST"), timeout=60)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture
def temporal(containers: Containers) -> Containers:
    """Containers with a Temporal server at 127.0.0.1:7233, whose namespace has been made."""
    service = services()["namespace"]
    server = ["server", "start-dev", "--headless", "--ip", "127.0.0.1", "--log-level", "error"]
    containers.start("temporal", ["--entrypoint=temporal"], *server)
    containers.share_network_of("temporal")
    (mount,) = service["volumes"]
    place, target, _ = mount.split(":")
    env = {**service["environment"], "TEMPORAL_ADDRESS": HERE}
    options = [f"--volume={ROOT / place}:{target}:ro", "--entrypoint=sh", *variables(env)]
    done = containers.run(options, *service["command"][1:])
    assert "The namespace baton is ready." in done.stdout, done.stdout + done.stderr
    return containers


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The files of ./secrets, readable by the container's user as Docker Compose mounts them."""
    tmp_path.chmod(0o755)
    for name, content in SECRETS.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def variables(env: dict[str, Any]) -> list[str]:
    return [f"--env={name}={value}" for name, value in env.items()]


def options(containers: Containers, name: str, secrets: Path, **env: str) -> list[str]:
    """Options by which podman starts a service as Docker Compose does."""
    service = services()[name]
    given = {key: "" if str(value).startswith("${") else value for key, value in service["environment"].items()}
    mounts = [f"--volume={secrets / secret}:/run/secrets/{secret}:ro" for secret in service["secrets"]]
    mounts += [containers.volume(volume) for volume in service["volumes"]]
    return [*security(service), *mounts, *variables({**given, "TEMPORAL_ADDRESS": HERE, **env})]


def check(containers: Containers, name: str, command: list[str]) -> None:
    done = containers.execute(name, *command)
    assert done.returncode == 0, f"{name} is not healthy: {done.stderr}\n{containers.logs(name)}"


@pytest.mark.parametrize(("name", "said"), [("webhook", "GitHub webhook http://"), ("codec", "codec server http://")])
def test_a_service_is_healthy_and_ends_by_sigterm(temporal: Containers, secrets: Path, name: str, said: str) -> None:
    service = services()[name]
    temporal.start(name, options(temporal, name, secrets), *service["command"])
    temporal.wait_for(name, said)
    check(temporal, name, service["healthcheck"]["test"][1:])
    if name == "webhook":
        check(temporal, name, temporal.health_check())
        refused = temporal.execute(name, "python", "-c", POST, "http://127.0.0.1:8473/webhook")
        assert refused.stdout.strip() == "401", "a delivery without a signature"
    assert temporal.stop(name, service["stop_grace_period"]) == 0


def test_a_worker_goes_on_with_its_volume_after_sigterm(temporal: Containers, secrets: Path) -> None:
    service = services()["worker"]
    temporal.start("standin", [], "standin", "--scenario", "demo", "--port", "8099")
    url = urllib.parse.urlunsplit(("http", "127.0.0.1:8099", "", "", ""))
    given = options(temporal, "worker", secrets, ANTHROPIC_BASE_URL=url)
    temporal.start("worker", given, *service["command"])
    temporal.wait_for("worker", "A worker is at work")
    check(temporal, "worker", temporal.health_check())
    check(temporal, "worker", ["baton", "worker", "status"])
    check(temporal, "worker", ["python", "-c", MAKE_REPOSITORY])
    task = "Add pagination to the orders"
    run = ["baton", "run", task, "--repo", "/var/lib/baton/orders", "--run-id", "orders-1", "--detach"]
    check(temporal, "worker", run)
    waiting = temporal.execute("worker", "baton", "watch", "orders-1")
    assert waiting.returncode == 3, waiting.stdout + waiting.stderr
    logs = temporal.logs("worker")
    assert '"event": "turn"' in logs, "log lines of a service are JSON"
    assert not [line for line in waiting.stderr.splitlines() if line.startswith("{")]
    assert temporal.stop("worker", service["stop_grace_period"]) == 0

    temporal.remove("worker")
    temporal.start("worker", given, *service["command"])
    temporal.wait_for("worker", "A worker is at work")
    check(temporal, "worker", ["baton", "decide", "orders-1", "D1", "url"])
    done = temporal.execute("worker", "baton", "watch", "orders-1")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(temporal.execute("worker", "baton", "show", "orders-1", "--json").stdout)
    assert shown["status"] == "done"
    assert SECRETS["anthropic_api_key"].strip() not in logs + temporal.logs("worker")
