"""Containers of the image as docker-compose.yml starts them, with podman and runc in place of Docker."""

import json
import os
import resource
import secrets
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import HANGS

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/baton:test"
PATIENCE = int(HANGS.total_seconds())
"""Seconds that a command in a container may take: against hanging alone."""
SAME = {"systempaths=unconfined": "unmask=ALL", "no-new-privileges:true": "no-new-privileges"}
"""Docker's security options that podman calls otherwise."""


def services() -> dict[str, Any]:
    """The services of docker-compose.yml."""
    read: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return read


def security(service: dict[str, Any], *, without: str = "") -> list[str]:
    """Options of podman for the walls that a service has; `without`: leave this security option out."""
    given = [SAME.get(option, option.replace(":", "=")) for option in service["security_opt"] if option != without]
    options = [f"--security-opt={option}" for option in given]
    options += [f"--cap-drop={capability}" for capability in service["cap_drop"]]
    options += [f"--tmpfs={place}" for place in service["tmpfs"]]
    assert service["read_only"]
    assert service["init"]
    return [*options, "--read-only", "--read-only-tmpfs=false", "--init"]


class Containers:
    """All containers of a test, with a network of their own that leads nowhere."""

    def __init__(self, directory: Path) -> None:
        """`directory`: that of scripts/image.sh."""
        self._directory = directory
        self._net = "none"
        self._mark = secrets.token_hex(4)
        self.names: list[str] = []

    def podman(self, *arguments: str, within: int = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run podman on the storage of the tests."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._directory),
            "TMPDIR": str(self._directory / "tmp"),
            "CONTAINERS_CONF": str(self._directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self._directory / "storage.conf"),
        }
        command = ["podman", "--log-level=fatal", *arguments]
        return subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=within, stdin=subprocess.DEVNULL
        )

    def volume(self, volume: str) -> str:
        """The option for a named volume, as `home:/var/lib/baton`, of this test alone."""
        return f"--volume={self._mark}-{volume}"

    def run(self, options: Sequence[str], *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the image to its end."""
        name = f"once-{secrets.token_hex(4)}"
        self.names.append(name)
        return self.podman("run", "--rm", f"--name={name}", *self._common(), *options, IMAGE, *command)

    def start(self, name: str, options: Sequence[str], *command: str) -> None:
        """Start a container that stays."""
        self.names.append(name)
        done = self.podman("run", "--detach", f"--name={name}", *self._common(), *options, IMAGE, *command)
        assert done.returncode == 0, done.stderr

    def share_network_of(self, name: str) -> None:
        """Let the containers to come see this one at 127.0.0.1."""
        self._net = f"container:{name}"

    def execute(self, name: str, *command: str, env: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command in a container that is there, as `docker exec` does."""
        return self.podman("exec", *(f"--env={pair}" for pair in env), name, *command)

    def logs(self, name: str) -> str:
        """All that a container has said."""
        done = self.podman("logs", name)
        return done.stdout + done.stderr

    def wait_for(self, name: str, words: str) -> str:
        """Wait until a container has said this; fails where it ends before."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            said = self.logs(name)
            if words in said:
                return said
            state = self.podman("inspect", "--format", "{{.State.Status}}", name).stdout.strip()
            assert state in ("running", "created", "initialized"), f"{name} is {state}\n{said}"
            time.sleep(0.25)
        raise AssertionError(f"{name} did not say {words!r}\n{said}")

    def stop(self, name: str, grace: str) -> int:
        """Stop a container as `docker stop` does; its exit code, 137 where it had to be killed."""
        done = self.podman("stop", "--time", grace.removesuffix("s"), name)
        assert done.returncode == 0, done.stderr
        return int(self.podman("inspect", "--format", "{{.State.ExitCode}}", name).stdout)

    def health_check(self) -> list[str]:
        """The image's own health check."""
        done = self.podman("image", "inspect", "--format", "{{json .HealthCheck}}", IMAGE)
        kind, *command = json.loads(done.stdout)["Test"]
        assert kind == "CMD"
        return [str(word) for word in command]

    def remove(self, *names: str) -> None:
        """Take containers away, running ones too."""
        done = self.podman("rm", "--force", "--ignore", "--depend", "--time=0", *names)
        assert done.returncode == 0, done.stderr

    def _common(self) -> list[str]:
        """Options for every container: as Docker, podman adds no line for an unknown user to /etc/passwd.

        podman asks for limits that a root without CAP_SYS_RESOURCE may not give; health checks want systemd.
        """
        files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 16_384)
        limits = [f"--ulimit=nofile={files}:{files}", "--ulimit=nproc=8192:8192"]
        return [
            *limits,
            "--passwd=false",
            "--no-healthcheck",
            "--pull=never",
            "--cgroup-parent=/image-tests",
            f"--network={self._net}",
        ]
