"""A state remote over HTTP: it works, and its password shows nowhere."""

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from baton.errors import StateRemoteAway
from baton.settings.core import read_settings
from tests.support.git_over_http import PASSWORD, USER, serving
from tests.workspaces.conftest import AT, Project, run_git
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.store.state_remote import StateRemote
from workspaces.store.store import Store

LANE = Lane("run-1", "task-1")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    run_git(tmp_path, "init", "--quiet", "--bare", "state.git")
    run_git(tmp_path / "state.git", "config", "http.receivepack", "true")
    with serving(tmp_path) as port:
        yield port


def url(port: int, password: str = PASSWORD) -> str:
    return f"http://{USER}:{quote(password, safe='')}@127.0.0.1:{port}/state.git"


async def begin(home: Path, project: Project, remote: str) -> tuple[Store, str]:
    store = await Store.open(home, str(project.path), StateRemote.parse(remote, home.name))
    base = await store.fetch_base(None)
    await store.move_ref("refs/baton/run-1/integration/head", base.commit, expected=None)
    await store.commit_files("refs/baton/run-1/run/head", expected=None, files={"a": b"1"}, message="a", at=AT)
    return store, await Checkpoints(store).begin_lane(LANE, base.commit, at=AT)


async def test_another_host_takes_over_over_http(tmp_path: Path, project: Project, port: int) -> None:
    # Larger than what git sends in one piece, and not to be compressed.
    project.commit({"large": secrets.token_bytes(3_000_000)}, "large")
    _first, began = await begin(tmp_path / "first", project, url(port))
    second = await Store.open(tmp_path / "second", str(project.path), StateRemote.parse(url(port), "second"))
    head = await Checkpoints(second).claim_lane(LANE)
    assert head is not None
    assert Checkpoints(second).stands_at(head, began)
    assert await second.read_file(head, "workspace/large") == (project.path / "large").read_bytes()


async def test_a_password_shows_nowhere(tmp_path: Path, project: Project, port: int) -> None:
    seen: set[str] = set()
    store = await Store.open(tmp_path / "first", str(project.path), StateRemote.parse(url(port), "first"))

    async def watch() -> None:
        """What any user of the machine can read of our processes."""
        while True:
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(process.read_bytes().decode(errors="replace"))
                except OSError:
                    continue
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    try:
        for _ in range(5):
            assert await StateRemote.parse(url(port)).list_refs(store, "run-1") == {}
    finally:
        watching.cancel()
    assert any("ls-remote" in line for line in seen)
    for wrong in ("wrong-" + PASSWORD, PASSWORD):
        remote = StateRemote.parse(url(port if wrong != PASSWORD else 9, wrong))
        with pytest.raises(StateRemoteAway) as caught:
            await remote.list_refs(store, "run-1")
        seen |= {str(caught.value), repr(caught.value.__cause__), repr(remote)}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    seen |= {path.read_bytes().decode(errors="replace") for path in files}
    for secret in (PASSWORD, quote(PASSWORD, safe=""), b64encode(f"{USER}:{PASSWORD}".encode()).decode()):
        assert not [text for text in seen if secret in text]


async def test_reasons_are_plain_words(tmp_path: Path, project: Project, port: int) -> None:
    store = await Store.open(tmp_path / "first", str(project.path))
    expected = {
        url(port, "wrong"): "access was denied",
        "http://127.0.0.1:9/state.git": "cannot be reached; check",
        f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/none.git": "it is not a git repository",
        str(tmp_path / "missing.git"): "it is not a git repository",
    }
    for setting, words in expected.items():
        with pytest.raises(StateRemoteAway, match="BATON_STATE_REMOTE") as caught:
            await StateRemote.parse(setting).list_refs(store, "run-1")
        assert words in str(caught.value), setting
        assert "\n" not in str(caught.value)


def test_the_password_is_a_secret_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_STATE_REMOTE", url(80))
    assert PASSWORD in read_settings().list_secrets()
    monkeypatch.setenv("BATON_STATE_REMOTE", "https://a-token-alone@git.example.org/state.git")
    assert "a-token-alone" in read_settings().list_secrets()
