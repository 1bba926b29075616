"""A process that a test leaves behind is found, in a sandbox too."""

import asyncio
import contextlib
import subprocess
from pathlib import Path

from baton.settings.core import SandboxMode
from tests.conftest import assert_eventually
from tests.support.strays import find_strays, running_processes
from workspaces.sandbox.sandbox import Sandbox, SandboxCommand


async def test_a_process_in_a_directory_of_its_own_session_is_found(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "3600"], cwd=tmp_path, env={}, start_new_session=True) as process:
        try:
            assert find_strays(tmp_path, running_processes()) == {process.pid: "sleep 3600"}
        finally:
            process.kill()
    assert find_strays(tmp_path, running_processes()) == {}


async def test_a_sandboxed_command_is_found_by_its_workspace(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    sandbox = await Sandbox.open_sandbox(SandboxMode.AUTO)
    command = asyncio.create_task(
        sandbox.run_command(SandboxCommand(argv="touch begun; exec sleep 3600", workspace=work))
    )
    try:
        await assert_eventually(lambda: "sleep 3600" in find_strays(tmp_path, running_processes()).values())
    finally:
        command.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await command
    await assert_eventually(lambda: find_strays(tmp_path, running_processes()) == {})
