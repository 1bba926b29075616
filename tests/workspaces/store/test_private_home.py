"""A home is its owner's: new ones are made so, those that exist are closed, and that is said."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workspaces.conftest import Lab, Project
from workers.embedded.server_files import ServerFiles
from workers.host_id import read_host_id
from workspaces.sandbox.sandbox import Sandbox, SandboxCommand
from workspaces.store.private_home import close_home
from workspaces.store.store import Store


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_whoever_comes_first_makes_a_private_home(tmp_path: Path, project: Project) -> None:
    ServerFiles.open_home(tmp_path / "a" / "home")
    read_host_id(tmp_path / "b" / "home")
    await Store.open(tmp_path / "c" / "home", str(project.path))
    for name in "abc":
        assert mode(tmp_path / name / "home") == 0o700
    for path in (tmp_path / "c" / "home").iterdir():
        assert mode(path) == 0o700
    # What is above is no business of ours.
    assert mode(tmp_path / "a") == 0o755


def test_an_existing_home_is_closed_and_it_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "stores").mkdir(parents=True)
    (home / "workspaces").mkdir()
    home.chmod(0o755)
    said = close_home(home)
    assert len(said) == 3
    assert said[0] == f"{home} was open to others (0755) and now is not (0700)."
    assert {mode(path) for path in (home, home / "stores", home / "workspaces")} == {0o700}
    assert close_home(home) == []


def test_a_directory_that_is_not_batons_alone_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    (tmp_path / "person" / "stores").mkdir(parents=True)
    sticky = tmp_path / "sticky"
    (sticky / "gates").mkdir(parents=True)
    sticky.chmod(0o1777)
    for shared in (tmp_path / "person", sticky):
        said = close_home(shared)
        assert "set BATON_HOME elsewhere" in said[0]
        assert mode(shared) != 0o700
        assert {mode(path) for path in shared.iterdir()} == {0o700}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "stores").symlink_to(tmp_path / "elsewhere")
    assert close_home(tmp_path / "home") == []
    assert mode(tmp_path / "elsewhere") == 0o755


async def test_commands_work_in_a_private_home_and_leave_no_set_id_files(lab: Lab, machine_sandbox: Sandbox) -> None:
    workspace = await lab.workspace()
    text = (
        "cp /usr/bin/env tool; chmod u+s tool; chmod g+s tool; chmod 6755 tool; install -m 4755 tool other;"
        " python3 -c \"import os; os.open('made', os.O_CREAT, 0o4755)\"; mkdir d; chmod g+s d; ls"
    )
    result = await machine_sandbox.run_command(SandboxCommand(argv=text, workspace=workspace.path))
    assert "README.md" in result.output
    assert "tool" in result.output
    assert [path for path in workspace.path.rglob("*") if path.lstat().st_mode & 0o6000] == []
    assert mode(lab.home) == 0o700
