"""Environments with the real sandbox and package managers: made once, shared, and safe from what runs in them."""

import asyncio
import dataclasses
import os
import zipfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from baton.settings.core import SandboxMode
from baton.settings.network_names import NetworkGrant
from tests.conftest import HANGS
from workspaces.environments.environment import Environment, EnvironmentStep, discard, environment_key, make_environment
from workspaces.environments.machine import Needed, find_tools
from workspaces.environments.registries import find_registries
from workspaces.environments.trial import try_tests
from workspaces.sandbox.command import SandboxCommand
from workspaces.sandbox.network.destinations import DestinationRefused, Destinations
from workspaces.sandbox.sandbox import Sandbox

VENV = "/home/agent/venv"
ENV = {"VIRTUAL_ENV": VENV, "UV_PYTHON_DOWNLOADS": "never", "UV_OFFLINE": "1"}


@pytest.fixture(scope="module")
async def sandbox() -> Sandbox:
    opened = await Sandbox.open_sandbox(SandboxMode.AUTO)
    opened.require_available()
    return opened


@pytest.fixture(params=["overlay", "copy"])
def either(sandbox: Sandbox, request: pytest.FixtureRequest) -> Sandbox:
    """The sandbox with overlays, and as it is with a bubblewrap that has none."""
    if request.param == "overlay":
        return sandbox
    assert sandbox.status.bwrap is not None
    older = dataclasses.replace(sandbox.status.bwrap, flags=sandbox.status.bwrap.flags - {"--overlay"})
    return Sandbox(dataclasses.replace(sandbox.status, bwrap=older), sandbox.toolchains, bounds=sandbox.bounds)


def files(**texts: str) -> Callable[[Path], Awaitable[None]]:
    async def checkout(place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            file = place / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return checkout


def wheel(place: Path, name: str, code: str) -> Path:
    """A wheel made by hand, so that no registry is needed."""
    file = place / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(f"{name}.py", code)
        made.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        made.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return file


async def make(
    sandbox: Sandbox, home: Path, steps: list[str], checkout: Callable[[Path], Awaitable[None]]
) -> Environment:
    return await make_environment(
        environment_key({"steps": steps}),
        [EnvironmentStep(command=step) for step in steps],
        ENV,
        [f"{VENV}/bin"],
        checkout,
        sandbox,
        home,
        timeout=HANGS,
    )


async def run(sandbox: Sandbox, environment: Environment, place: Path, command: str) -> tuple[int, str]:
    """Run a command as a session would: in a workspace of its own, with the environment beneath."""
    (place / "work").mkdir(parents=True, exist_ok=True)
    (place / "home").mkdir(exist_ok=True)
    done = await sandbox.run_command(
        SandboxCommand(
            argv=command,
            workspace=place / "work",
            layer=environment.tree,
            home=place / "home",
            home_layer=environment.home,
            env=environment.env,
            search_path=environment.search_path,
            timeout=HANGS,
        )
    )
    return done.exit_code, done.output


async def test_what_a_set_up_installed_is_there_for_every_command(either: Sandbox, tmp_path: Path) -> None:
    package = wheel(tmp_path, "greeting", "def hello(): return 'hello'\n")

    async def with_wheel(place: Path) -> None:
        (place / package.name).write_bytes(package.read_bytes())

    steps = [
        f"uv venv -q {VENV}",
        f"uv pip install -q ./{package.name}",
        "mkdir node_modules && echo 1 > node_modules/x",
    ]
    made = await make(either, tmp_path / "baton", steps, with_wheel)
    assert made.record.failed is None, made.record
    for number in (1, 2):
        place = tmp_path / f"session{number}"
        code, said = await run(
            either, made, place, 'python -c "import greeting; print(greeting.hello())"; cat node_modules/x'
        )
        assert (code, said) == (0, "hello\n1\n")

    # The same again is not made again.
    again = await make(either, tmp_path / "baton", steps, with_wheel)
    assert again.record.reused
    assert again.tree == made.tree


async def test_no_command_changes_what_others_share(either: Sandbox, tmp_path: Path) -> None:
    made = await make(
        either, tmp_path / "baton", [f"mkdir deps; echo good > deps/x; mkdir {VENV}; echo good > {VENV}/x"], files()
    )
    attack = f"echo bad > deps/x; rm -rf deps; echo bad > {VENV}/x; rm -rf {VENV}; echo new > deps2; ls -a"
    code, _said = await run(either, made, tmp_path / "first", attack)
    assert code == 0
    code, said = await run(either, made, tmp_path / "second", f"cat deps/x {VENV}/x; ls deps2")
    assert said.startswith("good\ngood\n")
    assert code != 0
    # What the first wrote is its own, and still there for its next command.
    assert (await run(either, made, tmp_path / "first", "cat deps2"))[1] == "new\n"


async def test_the_checkout_wins_over_the_layer(sandbox: Sandbox, tmp_path: Path) -> None:
    made = await make(
        sandbox,
        tmp_path / "baton",
        ["echo changed > tracked; mkdir -p src; echo made > src/made"],
        files(tracked="base"),
    )
    (tmp_path / "s/work/src").mkdir(parents=True)
    (tmp_path / "s/work/tracked").write_text("mine")
    (tmp_path / "s/work/src/own").write_text("own")
    code, said = await run(sandbox, made, tmp_path / "s", "cat tracked; echo; ls src")
    assert (code, said) == (0, "mine\nmade\nown\n")
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["home", "work"]


async def test_one_of_many_that_want_it_makes_it(sandbox: Sandbox, tmp_path: Path) -> None:
    made = await asyncio.gather(*(make(sandbox, tmp_path / "baton", ["date +%N > stamp"], files()) for _ in range(5)))
    assert [one.record.reused for one in made].count(False) == 1
    assert len({(one.tree / "stamp").read_text() for one in made}) == 1


async def test_a_set_up_that_fails_is_told_and_not_kept(sandbox: Sandbox, tmp_path: Path) -> None:
    made = await make(sandbox, tmp_path / "baton", ["true", "echo no such package; exit 3", "touch never"], files())
    assert made.record.failed is not None
    assert (made.record.failed.exit_code, made.record.failed.output) == (3, "no such package\n")
    assert len(made.record.steps) == 2
    await discard(made)
    assert not [path for path in (tmp_path / "baton/environments").iterdir() if path.is_dir()]


async def test_a_set_up_that_is_ended_leaves_nothing_half(sandbox: Sandbox, tmp_path: Path) -> None:
    begun = tmp_path / "baton/environments"
    task = asyncio.create_task(make(sandbox, tmp_path / "baton", ["touch here; sleep 600"], files()))
    async with asyncio.timeout(HANGS.total_seconds()):
        while not list(begun.glob(".making-*/tree/here")):
            await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [path for path in begun.iterdir() if path.is_dir()]
    assert (await make(sandbox, tmp_path / "baton", ["touch here"], files())).record.failed is None


async def test_what_was_not_used_for_long_goes(sandbox: Sandbox, tmp_path: Path) -> None:
    old = await make(sandbox, tmp_path / "baton", ["touch old"], files())
    used = await make(sandbox, tmp_path / "baton", ["touch used"], files())
    for one in (old, used):
        os.utime(one.tree.parent, (0, 0))
    assert (await make(sandbox, tmp_path / "baton", ["touch used"], files())).record.reused
    await make(sandbox, tmp_path / "baton", ["touch new"], files())
    assert (old.tree.exists(), used.tree.exists()) == (False, True)


async def test_a_set_up_that_takes_too_long_is_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    made = await make_environment(
        "k",
        [EnvironmentStep(command="sleep 600")],
        {},
        [],
        files(),
        sandbox,
        tmp_path / "baton",
        timeout=timedelta(seconds=1),
    )
    assert made.record.failed is not None
    assert made.record.failed.timed_out
    await discard(made)


async def test_tests_run_in_the_environment_and_leave_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    package = wheel(tmp_path, "greeting", "def hello(): return 'hello'\n")

    async def checkout(place: Path) -> None:
        place.mkdir(exist_ok=True)
        (place / "test_app.py").write_text(
            "import unittest, greeting\nclass T(unittest.TestCase):\n"
            "    def test_a(self): self.assertEqual(greeting.hello(), 'hello')\n"
            "    def test_b(self): self.fail('as ever')\n"
        )
        (place / package.name).write_bytes(package.read_bytes())

    made = await make(
        sandbox, tmp_path / "baton", [f"uv venv -q {VENV}", f"uv pip install -q ./{package.name}"], checkout
    )
    tried = await try_tests("python -m unittest", made, checkout, sandbox, tmp_path / "baton", timeout=HANGS)
    assert (tried.verdict, tried.report.passed, tried.report.failing) == (
        "green_against_base",
        1,
        ["test_b (test_app.T.test_b)"],
    )
    assert list((tmp_path / "baton/trials").iterdir()) == []


async def test_tools_are_looked_for_from_inside_the_sandbox(sandbox: Sandbox) -> None:
    wanted = [Needed(tool="python", version=">=3.9"), Needed(tool="python", version=">=9"), Needed(tool="sh-not-there")]
    found = await find_tools(wanted, sandbox)
    assert [bool(tool.found) for tool in found] == [True, False, False]


def test_registries_of_the_host_are_passed_on_without_credentials(tmp_path: Path) -> None:
    (tmp_path / ".npmrc").write_text("//x/:_authToken=word\nregistry=https://npm.example.org/\n")
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://ada:word@pypi.example.org/simple\n")
    found = find_registries({}, tmp_path)
    assert found.env == {"npm_config_registry": "https://npm.example.org/"}
    assert found.grants == (NetworkGrant("npm.example.org"),)
    assert "pypi.example.org is configured with credentials" in found.notes[0]
    assert "word" not in repr(found)
    # A variable of the person's comes first.
    found = find_registries({"PIP_INDEX_URL": "http://127.0.0.1:3141/simple"}, tmp_path)
    assert found.env["UV_DEFAULT_INDEX"] == "http://127.0.0.1:3141/simple"
    assert NetworkGrant("127.0.0.1", 3141) in found.grants


async def test_a_host_that_a_lock_file_names_is_open_at_public_addresses_only() -> None:
    """A lock file is the repository's word: it leads no set-up into a private network."""

    async def private(_name: str, _port: int) -> list[str]:
        return ["10.0.0.7"]

    asked = Destinations(
        (NetworkGrant("pypi.org"),), resolver=private, public=frozenset({"npm.example.org"}), closed=True
    )
    name, grant = asked.admit_host("npm.example.org", 443)
    with pytest.raises(DestinationRefused, match="private network"):
        await asked.resolve_addresses(name, 443, grant)
    with pytest.raises(DestinationRefused, match="not one of the names"):
        asked.admit_host("elsewhere.example.org", 443)
    # The registry itself may be a mirror that the person's machine reaches there.
    name, grant = asked.admit_host("pypi.org", 443)
    assert await asked.resolve_addresses(name, 443, grant) == ["10.0.0.7"]
    with pytest.raises(DestinationRefused, match="not one of the names"):
        Destinations(closed=True).admit_host("pypi.org", 443)
