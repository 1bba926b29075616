"""Directories that a repository asks for: only a person grants them, and a door is never among them."""

import asyncio
import os
import socket
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from baton.errors import ConfigurationError
from baton.settings.bind_paths import refuse_bind, refuse_directory
from baton.settings.core import SandboxMode, read_settings
from workspaces.project.baton_toml import GateConfig
from workspaces.project.gate import run_gate
from workspaces.sandbox import binds as binds_module
from workspaces.sandbox.binds import Bind, BindDecision, BindRules
from workspaces.sandbox.sandbox import CommandResult, Sandbox, SandboxCommand

NO_TOOLCHAINS = (
    *("/", "//", "/root", "/root/", "/home", "/home/ann", "/etc", "/etc/ssl", "/proc/1/root", "/sys/fs", "/dev/shm"),
    *("/var", "/run/x", "relative", "~/x", "/opt/../etc", "/root/.ssh", "/root/.SSH", "/home/ann/.aws/x"),
    *("/home/ann/.config", "/srv/secrets", "/opt/a\0b", ""),
)

NEVER = (
    *NO_TOOLCHAINS,
    *("/srv/x", "/srv", "/var/lib", "/var/lib/x", "/tmp/x", "/run/user/0", "/root/tool", "/home/bob/project"),
    *("/workspace", "/workspace/x", "/baton", "/baton/bin", "/home/ann", "/data", "/data/home", "/data/home/bob/x"),
    *("/opt/baton-home", "/opt/baton-home/workspaces"),
)


@pytest.fixture(scope="session")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    opened = await Sandbox.open_sandbox(SandboxMode.AUTO, home=tmp_path_factory.mktemp("home"))
    opened.require_available()
    return opened


def allowing(sandbox: Sandbox, *allowed: Path) -> Sandbox:
    rules = BindRules(allowed=allowed, home=sandbox.binds.home, hidden=sandbox.binds.hidden)
    return Sandbox(sandbox.status, sandbox.toolchains, rules)


async def run(box: Sandbox, text: str, work: Path) -> CommandResult:
    work.mkdir(exist_ok=True)
    return await box.run_command(SandboxCommand(argv=text, workspace=work, timeout=timedelta(seconds=30)))


def tool(place: Path) -> Path:
    """A toolchain with one program."""
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "greet").write_text("#!/bin/sh\necho hello from $0\n")
    (place / "bin" / "greet").chmod(0o755)
    return place


@pytest.mark.parametrize("text", NO_TOOLCHAINS)
def test_names_that_are_no_toolchain(text: str) -> None:
    assert refuse_bind(text)
    assert BindRules(allowed=(Path("/"),), asked=(text,)).decide_binds_now().refused


@pytest.mark.parametrize("text", NEVER)
def test_places_that_are_never_shown(text: str) -> None:
    own, home = Path("/home/ann"), Path("/opt/baton-home")
    assert refuse_directory(text, baton_home=home, own_home=own, homes=[own, Path("/data/home/bob")])


@pytest.mark.parametrize("text", ["/opt/node", "/usr/lib/jvm/21", "/home/ann/.nvm/versions/node", "/data/tools"])
def test_places_where_toolchains_lie(text: str) -> None:
    own, home = Path("/home/ann"), Path("/opt/baton-home")
    assert refuse_directory(text, baton_home=home, own_home=own, homes=[own, Path("/data/home/bob")]) is None


@pytest.mark.parametrize(
    "text", ["/", "/srv", "/var/lib/x:/opt/x", "/opt/x:/tmp/y", "relative", "~", "/home/another/x"]
)
def test_a_setting_that_names_such_a_place_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_SANDBOX_BINDS", text)
    with pytest.raises(ConfigurationError, match="BATON_SANDBOX_BINDS") as error:
        read_settings()
    assert str(error.value).count(". ") == 0


def test_a_setting_whose_link_leads_to_such_a_place_is_an_error(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shelf / "link").symlink_to("/var/lib")
    monkeypatch.setenv("BATON_SANDBOX_BINDS", f"/opt/x:{shelf / 'link'}")
    with pytest.raises(ConfigurationError, match="BATON_SANDBOX_BINDS"):
        read_settings()
    monkeypatch.setenv("BATON_SANDBOX_BINDS", f"{shelf}::/opt/x:")
    assert read_settings().list_allowed_binds() == (shelf, Path("/opt/x"))
    monkeypatch.setenv("BATON_SANDBOX_BINDS", str(shelf / "home"))
    with pytest.raises(ConfigurationError, match="Baton's own data"):
        read_settings(home=shelf / "home" / "baton")


async def test_without_a_persons_leave_nothing_is_shown(sandbox: Sandbox, shelf: Path, tmp_path: Path) -> None:
    place = tool(shelf / "tool")
    result = await run(sandbox.with_binds([str(place)]), f"greet; ls {place}; echo end", tmp_path / "work")
    assert "hello" not in result.output
    assert result.output.endswith("end\n")
    assert result.binds == ()
    assert "BATON_SANDBOX_BINDS" in result.not_shown[0]
    # The same words for a path that is not there: the machine cannot be looked through by asking.
    missing = await run(sandbox.with_binds([str(shelf / "none")]), "true", tmp_path / "work")
    assert missing.not_shown[0].replace("none", "tool") == result.not_shown[0]


async def test_what_a_person_allows_is_there_and_read_only(sandbox: Sandbox, shelf: Path, tmp_path: Path) -> None:
    place = tool(shelf / "tool")
    (shelf / "other").mkdir()
    for box in (allowing(sandbox, shelf), allowing(sandbox, place)):
        text = f"greet; touch {place}/x && echo WROTE; ls {shelf}"
        result = await run(box.with_binds([str(place)]), text, tmp_path / "work")
        assert result.output.startswith(f"hello from {place}/bin/greet"), result.output
        assert "WROTE" not in result.output
        assert "other" not in result.output
        assert (result.binds, result.not_shown) == ((str(place),), ())
    # Allowed is not yet shown: that is for the project to ask.
    assert "hello" not in (await run(allowing(sandbox, shelf), "greet", tmp_path / "work")).output


async def test_a_link_to_what_is_allowed_works_by_both_names(sandbox: Sandbox, shelf: Path, tmp_path: Path) -> None:
    place = tool(shelf / "v1")
    (shelf / "current").symlink_to("v1")
    box = allowing(sandbox, shelf).with_binds([str(shelf / "current"), str(shelf / "current" / "bin"), str(place)])
    result = await run(box, f"{shelf}/current/bin/greet && {place}/bin/greet", tmp_path / "work")
    assert result.exit_code == 0, result.output
    assert result.binds == (str(place), str(place / "bin"))


@pytest.mark.parametrize("leads_to", ["/srv", "/var/lib", "/etc", "/", "/root/.ssh", "/proc/self/root", "/workspace"])
async def test_a_link_leads_nowhere_else(sandbox: Sandbox, shelf: Path, tmp_path: Path, leads_to: str) -> None:
    (shelf / "link").symlink_to(leads_to)
    judged = await allowing(sandbox, shelf).with_binds([str(shelf / "link")]).binds.decide_binds()
    assert judged.granted == ()
    assert judged.refused
    # Nor where the person's own entry is the link.
    judged = await allowing(sandbox, shelf / "link").with_binds([str(shelf / "link")]).binds.decide_binds()
    assert judged.granted == ()


async def test_a_socket_inside_opens_no_door(sandbox: Sandbox, shelf: Path, tmp_path: Path) -> None:
    """The attack that worked: a directory with a socket that runs what it is told."""
    deep = shelf / "tool" / "share" / "deep"
    deep.mkdir(parents=True)
    (shelf / "link").symlink_to(shelf / "tool")
    server = socket.socket(socket.AF_UNIX)
    os.chdir(deep)
    try:
        server.bind("s")
    finally:
        os.chdir(Path(__file__).parents[3])
    server.listen()
    server.setblocking(False)
    connect = f"import os, socket; os.chdir({str(deep)!r}); socket.socket(socket.AF_UNIX).connect('s'); print('OPEN')"
    box = allowing(sandbox, shelf)
    for asked in (shelf / "tool", deep, shelf / "link", shelf):
        result = await run(box.with_binds([str(asked)]), f'python3 -c "{connect}"', tmp_path / "work")
        assert "OPEN" not in result.output
        assert "socket" in result.not_shown[0]
    with pytest.raises(BlockingIOError):
        server.accept()
    server.close()
    (deep / "s").unlink()
    os.mkfifo(deep / "pipe")
    judged = await box.with_binds([str(shelf / "tool")]).binds.decide_binds()
    assert "pipe" in judged.refused[0]


async def test_credentials_and_unknown_masses_are_not_shown(
    sandbox: Sandbox, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shelf / "cargo").mkdir()
    (shelf / "cargo" / "credentials.toml").touch()
    (shelf / "deep" / "a" / ".ssh").mkdir(parents=True)
    (shelf / "file").touch()
    monkeypatch.setattr(binds_module, "MAX_ENTRIES", 20)
    (shelf / "many").mkdir()
    for number in range(21):
        (shelf / "many" / str(number)).touch()
    asked = [str(shelf / name) for name in ("cargo", "deep", "file", "many", "missing")]
    judged = await allowing(sandbox, shelf).with_binds(asked).binds.decide_binds()
    assert judged.granted == ()
    words = ("credentials.toml", ".ssh", "directory", "too many", "directory")
    assert [word in text for word, text in zip(words, judged.refused, strict=True)] == [True] * 5


async def test_batons_own_packages_are_not_to_be_had_by_a_bind(sandbox: Sandbox, tmp_path: Path) -> None:
    for hidden in sandbox.binds.hidden:
        for asked in (hidden, hidden / "lib"):
            judged = await allowing(sandbox, hidden.parent).with_binds([str(asked)]).binds.decide_binds()
            assert judged.granted == ()
    # A directory above them is shown without them.
    checkout = Path(__file__).parents[3]
    box = Sandbox(sandbox.status, sandbox.toolchains)
    shown = box.toolchains.__class__(hidden=(checkout / "baton",), binds=(Bind(checkout, (), ""),))
    assert shown.covered_places() == [checkout / "baton"]


async def test_what_is_mounted_inside_is_not_taken_along(
    sandbox: Sandbox, shelf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tool(shelf / "tool with space")
    escaped = str(place / "inner").replace(" ", "\\040")
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:1 /var/lib {escaped} rw - ext4 /dev/a rw\n")
    monkeypatch.setattr(binds_module, "_MOUNTS", table)
    judged = await allowing(sandbox, shelf).with_binds([str(place), str(place / "bin")]).binds.decide_binds()
    assert judged.shown_paths == (str(place / "bin"),)
    assert "mounted inside" in judged.refused[0]


async def test_a_link_that_is_swapped_later_does_not_help(
    sandbox: Sandbox, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command looks anew; and one that was swapped after the look, before the mount, is not run."""
    place = tool(shelf / "tool")
    (tmp_path / "other" / "bin").mkdir(parents=True)
    (tmp_path / "other" / "canary").write_text("CANARY")
    link = shelf / "link"
    link.symlink_to(place)
    box = allowing(sandbox, shelf).with_binds([str(link)])
    assert "hello" in (await run(box, "greet", tmp_path / "work")).output
    link.unlink()
    link.symlink_to(tmp_path / "other")
    result = await run(box, f"cat {link}/canary; greet", tmp_path / "work")
    assert "CANARY" not in result.output
    assert "hello" not in result.output
    assert result.binds == ()

    box = allowing(sandbox, shelf).with_binds([str(place)])
    judge = BindRules.decide_binds

    async def and_swap(rules: BindRules) -> BindDecision:
        judged = await judge(rules)
        place.rename(shelf / "gone")
        place.symlink_to(tmp_path / "other")
        return judged

    monkeypatch.setattr(BindRules, "decide_binds", and_swap)
    result = await run(box, f"cat {place}/canary; touch /workspace/ran", tmp_path / "work")
    assert "CANARY" not in result.output
    assert result.exit_code != 0
    assert "replaced" in result.output
    assert not (tmp_path / "work" / "ran").exists()


async def test_the_gate_says_what_was_there(sandbox: Sandbox, shelf: Path, tmp_path: Path) -> None:
    place = tool(shelf / "tool")
    (shelf / "no").mkdir()
    os.mkfifo(shelf / "no" / "pipe")

    async def checkout(_commit: str, _directory: Path) -> None:
        await asyncio.sleep(0)

    box = allowing(sandbox, shelf).with_binds([str(place), str(shelf / "no")])
    evidence, log = await run_gate(checkout, "c0ffee", tmp_path / "g", GateConfig(test="greet"), box)
    assert evidence.is_green
    assert evidence.binds == [str(place)]
    assert len(evidence.not_shown) == 1
    assert f"{place} was there, read-only" in log.read_text()
    assert "is not shown to commands" in log.read_text()


async def test_without_isolation_a_repository_puts_no_program_first(tmp_path: Path, shelf: Path) -> None:
    plain = await Sandbox.open_sandbox(SandboxMode.NONE, home=tmp_path / "home")
    evil = shelf / "evil" / "bin"
    evil.mkdir(parents=True)
    (evil / "git").write_text("#!/bin/sh\necho EVIL\n")
    (evil / "git").chmod(0o755)
    result = await run(plain.with_binds([str(evil.parent)]), "git --version", tmp_path / "work")
    assert "EVIL" not in result.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
async def test_a_real_mount_inside(sandbox: Sandbox, shelf: Path, tmp_path: Path) -> None:
    place = tool(shelf / "tool")
    (place / "inner").mkdir()
    mounted = subprocess.run(["mount", "--bind", str(tmp_path), str(place / "inner")], capture_output=True)
    if mounted.returncode:
        pytest.skip("this container may not mount")
    try:
        judged = await allowing(sandbox, shelf).with_binds([str(place)]).binds.decide_binds()
    finally:
        subprocess.run(["umount", str(place / "inner")], check=True)
    assert judged.granted == ()
