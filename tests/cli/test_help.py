"""Every command explains itself by a help text and an example that is valid, and loads little for it."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from interfaces.cli.main import app
from tests.cli.conftest import Cli
from tests.conftest import HANGS

SLOW_TO_LOAD = {"anthropic", "git", "httpx2", "pydantic", "pygit2", "rich.live", "structlog", "temporalio", "uvicorn"}

EXPECTED = {
    *("demo", "up", "run", "list", "show", "watch", "log", "diff", "decide", "guide", "stop", "worker", "doctor"),
    *("webhook", "standin", "agents list", "agents show", "agents check", "codec-server", "gc", "worker status"),
}


def commands() -> dict[str, Any]:
    """Every command by its full name."""

    def walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, f"{prefix}{name} ")
            if getattr(command, "invoke_without_command", True):
                yield f"{prefix}{name}", command

    return dict(walk(typer.main.get_command(app), ""))


def test_the_commands_are_those_of_the_design() -> None:
    assert commands().keys() >= EXPECTED


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_a_description_and_an_example_that_fits_it(name: str) -> None:
    command = commands()[name]
    assert command.help, name
    assert (command.epilog or "").startswith("Example: "), name
    words = shlex.split(command.epilog.removeprefix("Example: "))
    # What stands before is a variable of the environment.
    words = words[words.index("baton") + 1 :]
    assert words[: len(name.split())] == name.split()
    # Parses the example's arguments without running the command; a wrong one raises.
    command.make_context(name, words[len(name.split()) :])


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_is_explained(name: str) -> None:
    for parameter in commands()[name].params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        assert getattr(parameter, "help", None), f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", sorted(commands()))
async def test_help_is_printed(cli: Cli, name: str) -> None:
    result = await cli(*name.split(), "--help")
    assert result.code == 0
    assert "Example: " in result.out
    assert " range>" not in result.out


async def test_commands_that_print_a_result_do_so_as_json_too() -> None:
    assert [name for name, command in commands().items() if all(p.name != "as_json" for p in command.params)] == []


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_and_version_load_little(option: str) -> None:
    program = (
        "import sys\nfrom interfaces.cli.main import main\n"
        f"sys.argv = ['baton', {option!r}]\n"
        "import atexit, os\n"
        "def tell(*_):\n"
        f"    print('loaded:', *sorted(set(sys.modules) & {SLOW_TO_LOAD!r}), flush=True)\n"
        "os._exit = tell\n"
        "try:\n    main()\nexcept SystemExit:\n    tell()\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=HANGS.total_seconds()
    )
    assert "baton" in said.stdout.lower()
    assert said.stdout.splitlines()[-1] == "loaded:", said.stderr


async def test_nothing_heavy_is_imported_for_help() -> None:
    heavy = ("temporalio", "anthropic", "pydantic_settings", "pygit2", "rich")
    code = f"import sys, interfaces.cli.main; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
