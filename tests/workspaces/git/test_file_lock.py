"""Who has a lock is said rightly, and no descriptor stays open where a log or a lock cannot be had."""

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from activities.budget.ledger import Ledger
from baton.errors import BatonError
from system.file_lock import LockHeld, hold_lock
from tests.workspaces.conftest import Lab
from workspaces.checkpoints.workspace import hold_workspace
from workspaces.maintenance import stale_files
from workspaces.sandbox.command import SandboxCommand
from workspaces.sandbox.sandbox import Sandbox, SandboxStatus

HOLD = """
import sys
from pathlib import Path
from workspaces.maintenance import stale_files as leftovers
with leftovers.hold_if_free(Path(sys.argv[1])) as free:
    print(free, flush=True)
    sys.stdin.readline()
"""


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_whoever_looks_at_a_workspace_is_named_while_it_holds_it(lab: Lab) -> None:
    """`gc` and `doctor --store` hold a workspace, too: the one before them must not be named, and killed."""
    directory = lab.home / "workspaces" / lab.lane.run / lab.lane.task
    async with hold_workspace(lab.store, lab.lane):
        pass
    looker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, str(directory)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert looker.stdout is not None
    assert await looker.stdout.readline() == b"True\n"
    with pytest.raises(BatonError, match=f"held for 0.1 s by process {looker.pid}:"):
        async with hold_workspace(lab.store, lab.lane, timedelta(seconds=0.1)):
            pytest.fail("two held it")
    await looker.communicate(b"\n")
    with stale_files.hold_if_free(directory) as free:
        assert free


async def test_the_kernel_names_the_holder_where_the_file_names_another(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    async with hold_lock(lock):
        lock.write_text("1")
        with pytest.raises(LockHeld, match=f"process {os.getpid()}$"):
            async with hold_lock(lock, timedelta(seconds=0.01)):
                pytest.fail("two held it")


async def test_a_workspace_that_is_not_there_is_not_made_by_a_look(tmp_path: Path) -> None:
    with stale_files.hold_if_free(tmp_path / "gone") as free:
        assert not free
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("isolated", [True, False])
async def test_a_log_that_cannot_be_opened_leaves_no_descriptor_open(
    machine_sandbox: Sandbox, tmp_path: Path, isolated: bool
) -> None:
    sandbox = machine_sandbox if isolated else Sandbox(SandboxStatus("none", ""))
    (tmp_path / "file").touch()
    (tmp_path / "work").mkdir()
    command = SandboxCommand(argv="true", workspace=tmp_path / "work")
    await sandbox.run_command(command, log=tmp_path / "log")
    before = descriptors()
    for log in (tmp_path / "file/log", tmp_path / "work"):
        for _ in range(3):
            with pytest.raises(OSError, match=r"\[Errno"):
                await sandbox.run_command(command, log=log)
    assert descriptors() <= before


async def test_a_program_that_cannot_be_started_leaves_no_descriptor_open(tmp_path: Path) -> None:
    sandbox = Sandbox(SandboxStatus("none", ""))
    before = descriptors()
    for _ in range(3):
        with pytest.raises(OSError, match=r"\[Errno"):
            await sandbox.run_command(SandboxCommand(argv="true", workspace=tmp_path / "gone"), log=tmp_path / "log")
    assert descriptors() <= before


async def test_a_ledger_that_cannot_be_opened_leaves_no_descriptor_open(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    counted = []
    for _ in range(4):
        ledger.path.write_bytes(b"no database at all" * 100)
        with pytest.raises(BatonError, match="was damaged"):
            await ledger.has_read("stores")
        counted.append(descriptors())
    assert counted == counted[:1] * 4
