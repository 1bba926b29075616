"""Every command explains itself by a help text and an example that is valid, and loads little for it.

Its declaration and the function that does the work agree in every parameter.
"""

import inspect
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_args, get_type_hints

import pytest
import typer

from baton.records.run import Fallback, RunRequest, RunStatus
from interfaces.cli.choices import DefaultAnswer, Status
from interfaces.cli.main import app
from tests.cli.conftest import Cli
from tests.conftest import HANGS

SLOW_TO_LOAD = {"anthropic", "git", "httpx2", "pydantic", "pygit2", "rich.live", "structlog", "temporalio", "uvicorn"}
SLOW_TO_COMPLETE = SLOW_TO_LOAD - {"pydantic"}
"""typer reads values by pydantic."""

EXPECTED = {
    *("demo", "up", "run", "list", "show", "watch", "log", "diff", "decide", "guide", "stop", "worker", "doctor"),
    *("webhook", "standin", "agents list", "agents show", "agents check", "codec-server", "gc", "worker status"),
    *("store check", "store repair", "store gc", "config"),
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
def test_a_declaration_and_its_function_agree(name: str) -> None:
    declared = commands()[name].callback.declared
    module, function = commands()[name].callback.target
    does = getattr(import_module(f"interfaces.cli.commands.{module}"), function)
    typed, taken = get_type_hints(declared), get_type_hints(does)
    if taken.pop("maximums", None):  # of `run`, which gives them to the request under their names
        assert {name.removeprefix("max_") for name in typed.keys() - taken.keys()} < RunRequest.model_fields.keys()
        typed = {name: kind for name, kind in typed.items() if name in taken}
    assert typed == taken
    assert inspect.signature(declared).parameters.keys() >= typed.keys() - {"return"}


def test_the_choices_of_options_are_those_of_the_records() -> None:
    assert [choice.value for choice in Status] == [status.value for status in RunStatus]
    assert tuple(choice.value for choice in DefaultAnswer) == get_args(Fallback)


async def test_the_commands_are_listed_in_panels(cli: Cli) -> None:
    out = (await cli("--help")).out
    panels = ["Runs:", "Services:", "Maintenance:", "Development:"]
    places = [out.index(f"\n{panel}\n") for panel in panels]
    assert places == sorted(places)
    assert out.index("\n  run ") in range(places[0], places[1])
    assert out.index("\n  worker ") in range(places[1], places[2])
    assert out.index("\n  config ") in range(places[2], places[3])
    assert out.index("\n  demo ") > places[3]
    assert "\n  gc " not in out, "the older spelling of `store gc` is not listed"


async def test_choices_are_shown_and_completed(cli: Cli) -> None:
    shown = (await cli("run", "--help")).out
    assert "--sandbox <auto|bwrap|none>" in shown
    assert "--decision-default <retry|skip|abort>" in shown
    assert complete(cli, "list --status w") == ["working", "waiting"]


async def test_command_names_and_options_are_completed(cli: Cli) -> None:
    assert complete(cli, "s") == ["show", "stop", "standin", "store"]
    assert complete(cli, "run --max-usd-per-") == ["--max-usd-per-task", "--max-usd-per-session", "--max-usd-per-day"]
    assert complete(cli, "run --us") == []


async def test_run_ids_are_completed_from_the_stores_and_nothing_is_started(cli: Cli) -> None:
    loose = cli.home / "stores/shop-0123456789/store.git/refs/baton"
    for run in ("shop-add-a1", "shop-add-b2", "till-c3"):
        (loose / run / "run").mkdir(parents=True)
        (loose / run / "run/head").write_text("0" * 40 + "\n")
    (loose / "shop-broken").mkdir()
    packed = cli.home / "stores/till-0123456789/store.git"
    packed.mkdir(parents=True)
    (packed / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{'1' * 40} refs/baton/shop-packed/run/head\n{'1' * 40} refs/baton/x/t1/head\n"
    )
    assert sorted(complete(cli, "show shop-")) == ["shop-add-a1", "shop-add-b2", "shop-packed"]
    assert complete(cli, "stop till") == ["till-c3"]
    assert complete(cli, "diff till-c3 --against shop-p") == ["shop-packed"]
    assert sorted(path.name for path in cli.home.iterdir()) == ["stores"]
    cli.env["BATON_HOME"] = "/proc/self/mem"
    assert complete(cli, "show ") == []


def complete(cli: Cli, words: str) -> list[str]:
    """Return the completions that bash is given for the last word of `baton <words>`."""
    given = ["baton", *words.split(" ")]
    env = {**cli.env, "_BATON_COMPLETE": "complete_bash"}
    env |= {"COMP_WORDS": " ".join(given), "COMP_CWORD": str(len(given) - 1)}
    program = (
        "import sys\nfrom interfaces.cli.main import app\n"
        "try:\n    app([], prog_name='baton')\n"
        f"finally:\n    assert not set(sys.modules) & {SLOW_TO_COMPLETE!r}, sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=120)
    assert done.stderr == ""
    return done.stdout.split()


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
