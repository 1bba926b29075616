"""Odd places to run a command in: streams that are closed, full or know few letters; a home that is read-only."""

import asyncio
import json
import signal
import subprocess
import sys

import pytest

from tests.cli.conftest import BATON, Cli, finish
from tests.conftest import HANGS

KEYS = {"BATON_ENCRYPTION_KEYS": "k1:" + "A" * 43 + "=", "BATON_CODEC_TOKEN": "a-token-of-some-length"}


def shell(cli: Cli, script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which `baton` is the command."""
    words = f'baton() {{ "{BATON}" "$@"; }}; {script}'
    return subprocess.run(
        ["bash", "-c", words], capture_output=True, text=True, env={**cli.env, **env}, timeout=HANGS.total_seconds()
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
async def test_a_stream_that_knows_few_letters_gets_escapes(cli: Cli, encoding: str) -> None:
    # Descriptions that are cut end with an ellipsis.
    listed = shell(cli, "baton agents list", PYTHONIOENCODING=encoding)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "\\u2026" in listed.stdout
    shown = shell(cli, "baton agents list --json", PYTHONIOENCODING=encoding)
    assert json.loads(shown.stdout)[0]["name"] == "orchestrator"


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("baton agents list >&-", 0, ""),
        ("baton agents list --json >&-", 0, ""),
        ("baton agents show cook 2>&-", 2, ""),
        ("baton agents list > /dev/full", 1, "baton: No space left on device.\n"),
    ],
)
async def test_streams_that_lead_nowhere(cli: Cli, script: str, code: int, said: str) -> None:
    done = shell(cli, script)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
async def test_a_home_that_is_read_only(cli: Cli) -> None:
    """Root may write everywhere but on a file system that is mounted read-only."""
    cli.home.mkdir()
    inside = f'mount --bind "{cli.home}" "{cli.home}" && mount -o remount,ro,bind "{cli.home}" && '
    for command in ("gc", "up"):
        script = f'{inside} exec "{BATON}" {command}'
        done = await finish(await cli.start("-rm", "sh", "-c", script, program=["unshare"]))
        if "unshare" in done.err or "mount:" in done.err:
            pytest.skip("no user namespaces here")
        assert (done.code, done.out) == (1, ""), command
        assert done.err.startswith("baton: ")
        assert done.err.endswith("Read-only file system.\n")
        assert done.err.count("\n") == 1
    # A command that only reads needs no more.
    done = await finish(await cli.start("-rm", "sh", "-c", f'{inside} exec "{BATON}" list --json', program=["unshare"]))
    assert (done.code, done.out) == (0, "[]\n")


@pytest.mark.parametrize(
    ("command", "known"),
    [(["standin", "--scenario", "demo"], {"url"}), (["codec-server", "--port", "0"], {"url", "web_uis"})],
)
async def test_what_serves_says_where_and_ends_as_interrupted(cli: Cli, command: list[str], known: set[str]) -> None:
    cli.env |= KEYS
    process = await cli.start(*command, "--json")
    assert process.stdout is not None
    async with asyncio.timeout(HANGS.total_seconds()):
        said = json.loads(await process.stdout.readuntil(b"\n}\n"))
    assert said.keys() == known
    assert said["url"].startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    ended = await finish(process)
    assert (ended.code, ended.out) == (130, "")
    assert "Traceback" not in ended.err
