"""Killed at any moment: the store is sound, the lane is at a whole checkpoint, and the next attempt goes on from it."""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import HANGS
from tests.workspaces.conftest import AT, Lab, contents
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.workspace import Workspace, hold_workspace
from workspaces.delivery.merge import project_commit
from workspaces.git.run import call_git
from workspaces.store.store import Store

WORKER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from baton.settings.core import SandboxMode
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store
from workspaces.checkpoints.workspace import Workspace, hold_workspace

async def main(home, repo):
    sandbox = await Sandbox.open_sandbox(SandboxMode.AUTO)
    store, lane = await Store.open(Path(home), repo), Lane("run-1", "task-1")
    checkpoints = Checkpoints(store)
    print("ready", flush=True)
    while True:
        async with hold_workspace(store, lane):
            head = await checkpoints.read_head(lane)
            number = len(await checkpoints.list_history(lane))
            workspace = await Workspace.open_at(store, lane, head, sandbox=sandbox)
            workspace.mark_dirty()
            for name in range(30):
                (workspace.path / f"file{name}").write_text(f"{number}\\n" * 50)
            snapshot = await workspace.take_snapshot(None if number % 2 else [f"file{name}" for name in range(30)])
            head = await checkpoints.record_checkpoint(
                lane, expected=head, files={f"transcript/{number:05}.json": b"{}"}, workspace=snapshot,
                summary=str(number), at=datetime.fromtimestamp(number, UTC),
            )
            workspace.mark_clean(head)
            print(number, head, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def kill_after(lab: Lab, seconds: float) -> list[str]:
    """Run a worker, kill it, and give the checkpoints that it said it had made."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WORKER,
        str(lab.home),
        str(lab.project.path),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        start_new_session=True,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    await asyncio.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    said = (await process.stdout.read()).decode().split("\n")
    await process.wait()
    return [line.split()[1] for line in said if len(line.split()) == 2]


async def test_killed_at_any_moment(lab: Lab) -> None:
    chance = random.Random(7)
    said: list[str] = []
    rounds = 0
    while rounds < 6 or (len(said) < 4 and rounds < 20):
        rounds += 1
        said += await kill_after(lab, chance.uniform(0.01, 0.3 * 1.15**rounds))  # longer on a busy machine
        store = await Store.open(lab.home, str(lab.project.path))
        await call_git(["fsck", "--full", "--strict", "--no-dangling"], git_dir=store.path)
        history = [info.commit for info in await Checkpoints(store).list_history(lab.lane)]
        assert set(said) <= set(history), "what was reported is there"
        async with asyncio.timeout(HANGS.total_seconds()), hold_workspace(store, lab.lane):
            head = history[-1]
            workspace = await Workspace.open_at(store, lab.lane, head, sandbox=lab.sandbox)
            number = len(history) - 1
            written = {name: entry for name, entry in contents(workspace.path).items() if name.startswith("file")}
            expected = ("file", 0o644, f"{number}\n".encode() * 50)
            assert written == ({f"file{name}": expected for name in range(30)} if number else {})
            assert (await workspace.take_snapshot(None)).changed == []
    assert len(said) > 3, "the worker came far enough for this to mean something"


@pytest.mark.parametrize("moment", ["before the ref", "after the ref"])
async def test_a_retry_after_a_commit_whose_answer_was_lost(lab: Lab, moment: str) -> None:
    """The commit was made; whether the ref moved or not, the retry ends at the same id."""
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "README.md").write_text("new\n")
    began = lab.checkpoint
    first = await lab.record(workspace, await workspace.take_snapshot(None))
    if moment == "before the ref":
        await call_git(["update-ref", lab.lane.ref, began], git_dir=lab.store.path)
    lab.checkpoint = began
    again = await lab.workspace()
    again.mark_dirty()
    assert (again.path / "README.md").read_text() == "hello\n"
    (again.path / "README.md").write_text("new\n")
    assert await lab.record(again, await again.take_snapshot(None)) == first
    made = await project_commit(lab.store, Lane("run-1", "task-1"), first, parent=lab.base, message="m", at=AT)
    assert await lab.store.read_file(made, "README.md") == b"new\n"
