"""What a user sees of stores that it may not read, as a user that is not root."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from baton import identifiers
from tests.conftest import HANGS
from tests.workspaces.conftest import AT, Project, run_files
from workspaces.store.store import Store

USER = 61_234
LOOK = """
import asyncio, concurrent.futures.thread, encodings.idna, json, os, sys, tempfile
from dataclasses import asdict
from pathlib import Path
from baton.errors import BatonError
from workspaces.git.inventory import list_stores
from workspaces.store.store import Store
from workspaces.maintenance.verify import broken_refs
home, user = Path(sys.argv[1]), int(sys.argv[2])
os.setuid(user)
(place,) = list_stores(home)
found = [asdict(finding) for finding in place.faults]
opened = True
try:
    store = asyncio.run(Store.open(home, sys.argv[3]))
    found += [asdict(finding) for finding in broken_refs(store)]
except BatonError as error:
    opened = str(error)
print(json.dumps([opened, found]))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="becoming another user needs root")


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that another user can come to."""
    made = Path(tempfile.mkdtemp(prefix="baton-stock-"))
    made.chmod(0o755)
    yield made / "home"
    shutil.rmtree(made)


@pytest.mark.parametrize(
    ("closed", "what"),
    [
        ("", "cannot be read: Permission denied"),
        ("store.git", "store.git cannot be read: Permission denied"),
        ("source.git", "source.git cannot be read: Permission denied"),
        ("store.git/refs", "refs cannot be read: Permission denied"),
        ("store.git/objects", "objects cannot be read: Permission denied"),
        ("store.git/refs/baton", "A directory of refs cannot be read (Permission denied)"),
        ("store.git/HEAD", "store.git has no HEAD that git can read"),
        ("repository", "The file that says which repository it is of is lost or damaged."),
    ],
)
async def test_what_may_not_be_read_is_a_finding(home: Path, tmp_path: Path, closed: str, what: str) -> None:
    project = Project(tmp_path / "shop")
    project.commit({"README.md": b"x\n"}, "first")
    store = await Store.open(home, str(project.path))
    files = run_files("shop-1", store.repo)
    await store.commit_files(identifiers.run_ref("shop-1"), expected=None, files=files, message="r", at=AT)
    for path in (home, *home.rglob("*")):
        os.chown(path, USER, USER)
    (store.root / closed).chmod(0)
    said = subprocess.run(
        [sys.executable, "-c", LOOK, str(home), str(USER), store.repo],
        capture_output=True,
        text=True,
        timeout=HANGS.total_seconds(),
    )
    assert said.returncode == 0, said.stderr
    opened, found = json.loads(said.stdout)
    assert any(what in finding["what"] for finding in found), found
    assert all(finding["advice"] for finding in found)
    # Who knows the repository needs no file that says it; a directory of refs is looked at later.
    assert (opened is True) == (closed in ("repository", "store.git/refs/baton")), opened
