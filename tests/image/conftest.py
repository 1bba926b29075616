"""The image, built once for all its tests, and taken away with all containers and mounts whatever happens."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import HANGS
from tests.image.containers import ROOT, Containers

CANNOT = 77
"""Exit code of scripts/image.sh where the machine lacks something; an image that does not build has another one."""


@pytest.fixture(scope="session")
def storage() -> Iterator[Path]:
    """A directory with images and containers of the tests alone; skips where none can be made."""
    script = str(ROOT / "scripts" / "image.sh")
    # `timeout` ends the tests by SIGTERM, and one that runs in the background would not hear SIGINT: both come here.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="baton-image-", dir="/var/tmp") as place:
        directory = Path(place) / "storage"
        try:
            code, said = build([script, "build", str(directory)])
            if code == CANNOT:
                pytest.skip(said.strip().splitlines()[-1])
            assert code == 0, said
            yield directory
        finally:
            subprocess.run(["sh", script, "remove", str(directory)], check=True, timeout=HANGS.total_seconds())


def build(script: list[str]) -> tuple[int, str]:
    """Run the script in a session of its own: an interrupted test ends it in order, with all that it has started."""
    process = subprocess.Popen(
        ["sh", *script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        said, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=HANGS.total_seconds())
        raise
    return process.returncode, said


@pytest.fixture
def containers(storage: Path) -> Iterator[Containers]:
    """Containers that end with the test."""
    made = Containers(storage)
    yield made
    made.remove(*reversed(made.names))
