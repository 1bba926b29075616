"""Wrong input to each command: one clear sentence on stderr, the right exit code, nothing on stdout, no traceback."""

import asyncio
import os
import socket
import subprocess
from pathlib import Path

import pygit2
import pytest

from baton.settings.core import read_settings
from tests.cli.conftest import Cli, Result, nothing_runs
from tests.conftest import assert_eventually
from workers.embedded.server import use_embedded_server

KEY = "sk-ant-some-key-0000000000"


def refused(result: Result, code: int, *words: str) -> None:
    assert result.code == code, result
    assert result.out == ""
    assert "Traceback" not in result.err
    assert len(result.err.strip().splitlines()) == 1, result.err
    assert result.err.startswith("baton: ")
    for word in words:
        assert word in result.err


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BATON_SANDBOX_BINDS", "/tmp/x"),
        ("BATON_NETWORK_ALLOW", "https://example.org/x"),
        ("BATON_SANDBOX_MEMORY", "lots"),
        ("BATON_TARGET_HOOKS", "yes"),
        ("BATON_MAX_GATE_TIMEOUT", "3d"),
        ("BATON_SUBMODULES", "github.com,ext::sh -c x"),
        ("BATON_DECISION_DEFAULTS", "always"),
    ],
)
async def test_a_setting_that_grants_something_is_refused_where_it_is_no_grant(
    cli: Cli, variable: str, value: str
) -> None:
    cli.env[variable] = value
    refused(await cli("list"), 2, variable)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "- [ ] add pagination", "--repo", "."],
        ["run", "--detach", "- [ ] add pagination"],
        ["run", "--no-publish", "-1 is no valid id"],
        ["run", "-0.5"],
        ["run", "-hide the button"],
        ["guide", "shop-x7k2", "- keep it"],
        ["decide", "shop-x7k2", "D1", "- [x] url"],
    ],
)
async def test_a_text_that_begins_like_an_option_is_told_how_to_be_given(cli: Cli, arguments: list[str]) -> None:
    refused(await cli(*arguments), 2, "`--` before the arguments", "`-` (stdin)", "`@FILE`")


@pytest.mark.server
async def test_a_note_may_begin_with_a_dash_and_a_misspelt_option_is_named(cli: Cli) -> None:
    refused(await cli("decide", "shop-x7k2", "D1", "url", "--note", "- as before"), 2, "no run shop-x7k2")
    misspelt = await cli("run", "x", "--usdd", "5")
    assert (misspelt.code, "No such option: --usdd" in misspelt.err) == (2, True)


async def test_run_without_a_key_names_the_variable_and_the_demo(cli: Cli, repository: Path) -> None:
    refused(await cli("run", "x", "--repo", str(repository)), 2, "ANTHROPIC_API_KEY", "baton demo")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x", "--repo", "/no/such/place"], ["/no/such/place", "does not exist"]),
        (["x", "--repo", "{empty}"], ["no commits"]),
        (["x", "--repo", "{plain}"], ["not a git repository"]),
        (["x", "--repo", "{repository}", "--base", "no-such-branch"], ["no-such-branch", "does not exist"]),
        (["x", "--repo", "{repository}", "--base", "--upload-pack=x"], ["does not exist"]),
        (["x", "--repo", "https://user:hunter2@example.org/a.git"], ["credentials"]),
        (["x", "--repo", "https://ghp_0123456789abcdef@example.org/a.git"], ["credentials"]),
        (["x", "--repo", ""], ["--repo is empty"]),
        (["x", "--repo", "{repository}", "--decision-default", "maybe"], ["'retry', 'skip', 'abort'"]),
        (["  ", "--repo", "{repository}"], ["task is empty"]),
        (["@/no/such/file", "--repo", "{repository}"], ["/no/such/file"]),
        (["x" * 60_001, "--repo", "{repository}"], ["task is invalid"]),
        (["x", "--repo", "{repository}", "--model", "cook=opus"], ["ROLE=MODEL"]),
        (["x", "--repo", "{repository}", "--model", "backend"], ["ROLE=MODEL"]),
        (["x", "--repo", "{repository}", "--model", "backend=claude-next-9"], ["claude-next-9", "BATON_PRICES"]),
        (["x", "--repo", "{repository}", "--model", "backend=gpt-5", "--detach"], ["'gpt-5'", "write an alias"]),
        *[
            (["x", "--repo", "{repository}", option, amount], [f"The {option} is invalid"])
            for option in ("--max-usd", "--max-usd-per-task", "--max-usd-per-session", "--max-usd-per-day")
            for amount in ("inf", "1e9")
        ],
        *[
            (
                ["x", "--repo", "{repository}", "--decision-default", "skip", "--decision-deadline", span],
                ["--decision-deadline", "is invalid"],
            )
            for span in ("inf", "0", "1e9", "9999999d", "soon")
        ],
        *[
            (["x", "--repo", "{repository}", "--max-wall-clock", span], ["--max-wall-clock", "15m"])
            for span in ("inf", "0", "5 usd", "5 turns", "$5", "1e9", "1h30")
        ],
        (["x", "--repo", "{repository}", "--max-wall-clock", "999999h"], ["The --max-wall-clock is invalid"]),
        *[
            (["x", "--repo", "{repository}", option, "9" * 20], [f"The {option} is invalid"])
            for option in ("--max-turns", "--max-turns-per-task", "--max-turns-per-run", "--max-turns-per-day")
        ],
        (["x", "--repo", "{repository}", "--run-id", "../up"], ["not a run id"]),
        (["x", "--repo", "{repository}", "--sandbox", "maybe"], ["--sandbox", "auto"]),
    ],
)
async def test_run_refuses_before_anything_is_started(
    tmp_path: Path, repository: Path, empty_repository: Path, arguments: list[str], words: list[str]
) -> None:
    cli = Cli(tmp_path / "home", ANTHROPIC_API_KEY=KEY)
    (tmp_path / "plain").mkdir()
    places = {"repository": repository, "empty": empty_repository, "plain": tmp_path / "plain"}
    # No other repository above the directory that is none.
    cli.env["GIT_CEILING_DIRECTORIES"] = str(tmp_path)
    given = [argument.format(**places) if "{" in argument else argument for argument in arguments]
    result = await cli("run", *given)
    refused(result, 2, *words)
    assert "hunter2" not in result.err
    assert "ghp_" not in result.err
    assert not (cli.home / "server").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BATON_BACKEND_MODEL", "claude-next-9"),
        ("BATON_TESTER_MODEL", "opsu"),
        ("BATON_MAX_USD", "inf"),
        ("BATON_USD_PER_RUN", "inf"),
        ("BATON_USD_PER_DAY", "nan"),
        ("BATON_USD_PER_TASK", "-1"),
        ("BATON_USD_PER_SESSION", "5,00"),
        ("BATON_TURNS_PER_RUN", "0"),
        ("BATON_TURNS_PER_DAY", "inf"),
        ("BATON_WALL_CLOCK", "3 usd"),
        ("BATON_WALL_CLOCK", "inf"),
        ("BATON_DISK_FLOOR_GB", "nan"),
        ("BATON_DISK_WARN_GB", "inf"),
        ("BATON_GITHUB_QUIET", "nan"),
        ("BATON_GITHUB_WRITES_PER_SECOND", "inf"),
    ],
)
async def test_run_refuses_settings_that_would_hold_nothing_back(
    tmp_path: Path, repository: Path, variable: str, value: str
) -> None:
    cli = Cli(tmp_path / "home", ANTHROPIC_API_KEY=KEY)
    cli.env[variable] = value
    refused(await cli("run", "x", "--repo", str(repository)), 2, variable)
    assert not (cli.home / "server").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["fork", "r", "--model", "backend=claude-next-9"],
        ["run", "x", "--max-usd", "-1"],
        ["run", "x", "--max-usd", "nan"],
        ["run", "x", "--max-usd", "5 turns"],
        ["run", "x", "--max-turns", "0"],
        ["run", "x", "--unanswered", "skip", "--answer-within", "nan"],
        ["fork", "r", "--max-usd", "nan"],
        ["run", "x", "--max-rounds", "11"],
        ["run", "x", "--max-parallel", "many"],
        ["list", "--limit", "0"],
        ["up", "--server-port", "70000"],
        ["no-such-command"],
        ["show"],
        ["decide", "run"],
    ],
)
async def test_arguments_that_do_not_fit_are_usage_errors(cli: Cli, arguments: list[str]) -> None:
    result = await cli(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert "Traceback" not in result.err


COMMANDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("show", "watch", "log", "diff", "stop"), ()),
    "decide": ("D1", "retry"),
    "guide": ("hello",),
}
"""Commands about a run, and what they take besides."""


@pytest.mark.server
async def test_a_run_that_is_not_there(cli: Cli) -> None:
    # One server for all of them; otherwise each would start its own.
    async with use_embedded_server(read_settings(home=cli.home)):
        said = await asyncio.gather(*[cli(name, "no-such-run", *more) for name, more in COMMANDS.items()])
    for result in said:
        refused(result, 2, "no-such-run", "baton list")
    await assert_eventually(lambda: nothing_runs(cli.home))


@pytest.mark.parametrize("command", COMMANDS)
async def test_what_is_no_id_of_a_run(cli: Cli, command: str) -> None:
    refused(await cli(command, "no/../run", *COMMANDS[command]), 2, "not a run id")


async def test_words_without_words(cli: Cli) -> None:
    refused(await cli("guide", "no-such-run", " "), 2, "between 1 and")
    await assert_eventually(lambda: nothing_runs(cli.home))


async def test_older_names_of_options_work_and_the_new_ones_are_named(tmp_path: Path, empty_repository: Path) -> None:
    cli = Cli(tmp_path / "home", ANTHROPIC_API_KEY=KEY)
    older = ["--usd", "5", "--turns=9", "--answer-within", "0.5", "--unanswered", "skip"]
    said = await cli("run", "x", "--repo", str(empty_repository), *older)
    assert said.code == 2
    assert said.err.splitlines()[:-1] == [
        "--usd is called --max-usd now.",
        "--turns is called --max-turns now.",
        "--answer-within is called --decision-deadline now and takes a duration.",
        "--unanswered is called --decision-default now.",
    ]
    assert "no commits" in said.err.splitlines()[-1]
    # A value is never taken for an older name, nor an argument after `--`.
    said = await cli("decide", "shop-x7k2", "D1", "url", "--note", "--usd")
    assert "called" not in said.err
    said = await cli("run", "--repo", str(empty_repository), "--", "--usd")
    assert "called" not in said.err
    # `up --port` was the server's; the other commands that listen have one port.
    cli.env["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
    said = await cli("up", "--port", "7233", "--quiet")
    assert said.err == (
        "baton: TEMPORAL_ADDRESS names the server 127.0.0.1:1: leave out --server-port and --ui-port.\n"
    )
    said = await cli("run", "-v", "--usd", "5", "x", "--repo", str(empty_repository))
    assert said.err.startswith("--usd is called --max-usd now.\n")


async def test_a_status_that_does_not_exist(cli: Cli) -> None:
    refused(await cli("list", "--status", "sleeping"), 2, "sleeping", "waiting")


async def test_a_configured_server_that_does_not_answer_is_never_replaced(cli: Cli) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        cli.env["TEMPORAL_ADDRESS"] = address
        refused(await cli("list"), 4, address, "TEMPORAL_ADDRESS")
    assert not (cli.home / "server").exists()


async def test_a_temporal_address_that_is_a_url(cli: Cli) -> None:
    cli.env["TEMPORAL_ADDRESS"] = "http://user:hunter2@localhost:7233"
    result = await cli("list")
    refused(result, 2, "http://localhost:7233", "host:port")
    assert "hunter2" not in result.err


@pytest.mark.server
async def test_a_url_that_is_no_repository_is_found_out_by_the_run(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home", ANTHROPIC_API_KEY=KEY)
    result = await cli("run", "x", "--repo", "file:///no/such/place", "--run-id", "nowhere")
    assert result.code == 2
    assert result.out.count("/no/such/place does not exist") + result.out.count("/no/such/place cannot be read") == 1
    assert "baton show nowhere" in result.out
    assert "baton diff" not in result.out


async def test_temporal_settings_that_do_not_fit_together(cli: Cli) -> None:
    cli.env["TEMPORAL_API_KEY"] = "secret-key-of-temporal"
    result = await cli("list")
    refused(result, 2, "TEMPORAL_ADDRESS")
    assert "secret-key-of-temporal" not in result.err


async def test_a_broken_profile_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[profile.default\naddress=")
    cli.env["TEMPORAL_CONFIG_FILE"] = str(tmp_path / "broken.toml")
    refused(await cli("list"), 2, "Temporal's configuration")


@pytest.mark.server
async def test_a_port_in_use(cli: Cli) -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        refused(await cli("up", "--server-port", str(port)), 4, f"Port {port} is in use")
    await assert_eventually(lambda: nothing_runs(cli.home))


async def test_ports_make_no_sense_with_a_configured_server(cli: Cli) -> None:
    cli.env["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
    refused(await cli("up", "--server-port", "7233"), 2, "--server-port")


@pytest.mark.server
async def test_code_in_the_working_directory_is_never_ours(cli: Cli, tmp_path: Path) -> None:
    """The directory a command is called in may be a stranger's repository."""
    hostile = tmp_path / "hostile"
    for package in ("workers", "baton", "interfaces", "temporalio", "json"):
        (hostile / package).mkdir(parents=True)
        (hostile / package / "__init__.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    (hostile / "workers" / "keeper.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    result = await cli("list", "--json", cwd=hostile)
    assert (result.code, result.out) == (0, "[]\n")
    assert not (tmp_path / "canary").exists()


async def test_worker_without_any_server(cli: Cli) -> None:
    cli.env["ANTHROPIC_API_KEY"] = KEY
    refused(await cli("worker"), 4, "TEMPORAL_ADDRESS", "baton up")


async def test_a_setting_that_does_not_fit(cli: Cli) -> None:
    cli.env["BATON_MAX_ACTIVITIES"] = "lots"
    refused(await cli("list"), 2, "BATON_MAX_ACTIVITIES")
    cli.env |= {"BATON_MAX_ACTIVITIES": "8", "BATON_CODEC_TOKEN": "guess-me"}
    refused(await cli("list"), 2, "BATON_CODEC_TOKEN", "16 characters")
    cli.env |= {"BATON_CODEC_TOKEN": "", "BATON_WEB_UI": "temporal.example.org"}
    refused(await cli("list"), 2, "BATON_WEB_UI is invalid: it must be an http or https URL")
    cli.env |= {"BATON_WEB_UI": "", "ANTHROPIC_BASE_URL": "gateway:8080"}
    refused(await cli("list"), 2, "ANTHROPIC_BASE_URL is invalid: it must be an http or https URL")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a path that even root cannot write")
async def test_a_home_that_cannot_be_written(cli: Cli) -> None:
    cli.env["BATON_HOME"] = "/proc/baton"
    refused(await cli("gc"), 1, "/proc/baton")


async def test_standin_with_a_broken_scenario(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("steps: [{turn: x}]")
    refused(await cli("standin", "--scenario", str(tmp_path / "broken.yaml")), 2, "broken.yaml")
    refused(await cli("standin", "--scenario", str(tmp_path / "missing.yaml")), 2, "missing.yaml")


async def test_agents(cli: Cli, tmp_path: Path) -> None:
    refused(await cli("agents", "show", "cook"), 2, "cook", "backend")
    refused(await cli("agents", "check", str(tmp_path / "none")), 2, "none")
    files = tmp_path / "agents"
    files.mkdir()
    (files / "good.md").write_text("---\nname: good\ndescription: d\ntools: Read, Fly\n---\nWork.\n")
    (files / "bad.md").write_bytes(b"\xff\xfe\x00")
    result = await cli("agents", "check", str(files))
    assert result.code == 2
    assert "bad.md" in result.out
    assert "UTF-8" in result.out
    assert "Fly" in result.out
    (files / "bad.md").unlink()
    assert (await cli("agents", "check", str(files))).code == 0
    (files / "dear.md").write_text("---\nname: dear\ndescription: d\nmodel: claude-next-9\n---\nWork.\n")
    for more in ((), ("--json",)):
        result = await cli("agents", "check", str(files), *more)
        assert (result.code, "claude-next-9 has no price" in result.out) == (0, True)


@pytest.mark.server
async def test_doctor_names_a_model_without_a_price(cli: Cli) -> None:
    cli.env["BATON_TESTER_MODEL"] = "claude-next-9"
    result = await cli("doctor")
    assert result.code == 1
    assert "fail  prices" in result.out
    assert "BATON_TESTER_MODEL is invalid. The model claude-next-9 has no price" in result.out


async def test_demo_into_a_directory_that_is_not_empty(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").write_text("my only copy")
    refused(await cli("demo", "--keep", str(tmp_path / "kept")), 2, "not an empty directory")
    assert (tmp_path / "kept" / "thesis.txt").read_text() == "my only copy"


async def test_a_base_that_is_a_tree_is_none(tmp_path: Path, repository: Path) -> None:
    cli = Cli(tmp_path / "home", ANTHROPIC_API_KEY=KEY)
    tree = str(pygit2.Repository(str(repository)).revparse_single("HEAD^{tree}").id)
    refused(await cli("run", "x", "--repo", str(repository), "--base", tree), 2, tree)


async def test_a_closed_pipe_is_an_end_and_no_error(cli: Cli) -> None:
    script = f"{cli_path()} agents show backend | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, env=cli.env)
    assert done.returncode == 0
    assert done.stderr == ""


def cli_path() -> str:
    from tests.cli.conftest import BATON

    return str(BATON)
