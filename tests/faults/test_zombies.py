"""A worker that is stopped (SIGSTOP), believed dead, and wakes up after its attempt was given to another one."""

import asyncio
import json
import signal
from pathlib import Path

import pytest
from temporalio.client import WorkflowHandle

from baton.identifiers import make_slug
from baton.policies import HEARTBEAT_TIMEOUT
from baton.records.run import RunDocument, RunStatus
from tests.conftest import assert_eventually
from tests.faults.conftest import Scenes
from tests.faults.injection import Moment
from tests.faults.scene import FaultScene, script
from tests.support.forked import BatonProcess
from workflows.pipeline import Pipeline

HOLDING = {
    "in a tool": Moment(
        "workspaces.tools.toolbox:Toolbox.run_tool",
        "during",
        match="Bash",
        until="workspaces/*/*/work/src/started",
        stops=True,
    ),
    "answer here": Moment("activities.turn.take_turn:ask_model", "after", match="'X-Baton-Turn': '2'", stops=True),
    "before the ref": Moment("workspaces.checkpoints.sandboxed_git:adopt_objects", "after", stops=True),
    "in the gate": Moment("activities.task.gate:run_gate", "after", stops=True),
    "moving a ref": Moment("workspaces.store.store:move_ref", match="/t1/head", nth=3, stops=True, busy=True),
    "preparing": Moment("workspaces.store.store:Store.fetch_base", "after", stops=True),
}
"""Where the stopped attempt holds its workspace: its successor waits until it goes on, or is killed."""

FREE = {
    "before the push": Moment("activities.run.publish:push_branch", stops=True),
    "after the push": Moment("activities.run.publish:push_branch", "after", stops=True),
    "saving the state": Moment("activities.run.state_files:write_run_files", match="'done: ", stops=True),
    "state saved": Moment("activities.run.state_files:write_run_files", "after", match="'done: ", stops=True),
    "cleaning up": Moment("activities.run.publish:discard_run", stops=True),
}
"""Where its successor needs nothing that it holds: the run ends without it, and then it wakes up.

The states are the last ones: while tasks are at work, the whole worker stops, and with it a workspace is held.
"""


async def stopped(scene: FaultScene, worker: BatonProcess) -> None:
    """Wait until the worker has been stopped, and for long enough that the server believes it dead."""

    def sleeps() -> bool:
        assert worker.returncode is None, scene.log()
        return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    await assert_eventually(sleeps)
    await asyncio.sleep(HEARTBEAT_TIMEOUT.total_seconds() + 2)


async def ended(scene: FaultScene, name: str, handle: WorkflowHandle[Pipeline, RunDocument]) -> RunDocument:
    """The run's document once it has ended; one that does not end is a failure that says what it did last."""
    try:
        return await scene.wait_for_document(handle)
    except TimeoutError:
        pytest.fail(f"{name}: the run did not end: {await handle.query(Pipeline.status)}\n{scene.log()}")


async def all_is_well(scene: FaultScene, document: RunDocument, tree: str) -> None:
    """The run has ended as an undisturbed one does."""
    assert document.status is RunStatus.DONE, (document, scene.log())
    assert scene.tree(document) == tree
    assert await scene.called_again() == []
    assert json.loads(await scene.read_state() or "{}")["status"] == "done"


@pytest.mark.parametrize("end", ["wakes", "is killed"])
async def test_a_zombie_that_holds_a_workspace(scenes: Scenes, tree: str, end: str) -> None:
    async def one(name: str, moment: Moment) -> None:
        async with scenes(make_slug(name), script(pause=1.0)) as scene:
            handle = await scene.start_run()
            zombie = await scene.worker(moment)
            await stopped(scene, zombie)
            await scene.worker()
            await asyncio.sleep(4)
            zombie.send_signal(signal.SIGCONT if end == "wakes" else signal.SIGKILL)
            document = await ended(scene, name, handle)
            await all_is_well(scene, document, tree)
            repeated = scene.repeated_requests()
            if name == "answer here":
                # The zombie's answer counts when it wakes; when it is killed, its one call is made again.
                assert sum(repeated.values()) == (0 if end == "wakes" else 2), repeated
            else:
                # At most the one call in which the zombie learns that its attempt was given up.
                assert sum(repeated.values()) in (0, 2), (name, repeated)

    # Whoever is killed leaves what a worker killed at that moment leaves (`test_moments`), but for its lock.
    chosen = HOLDING if end == "wakes" else {name: HOLDING[name] for name in ("answer here", "before the ref")}
    await asyncio.gather(*(one(name, moment) for name, moment in chosen.items()))


async def test_a_zombie_that_wakes_up_after_the_run_has_ended(scenes: Scenes, tree: str) -> None:
    async def one(name: str, moment: Moment) -> None:
        async with scenes(make_slug(name), script()) as scene:
            handle = await scene.start_run()
            zombie = await scene.worker(moment)
            await stopped(scene, zombie)
            await scene.worker()
            document = await ended(scene, name, handle)
            await all_is_well(scene, document, tree)
            refs, kept = scene.refs(), await scene.read_state()
            zombie.send_signal(signal.SIGCONT)
            await asyncio.sleep(3)
            assert zombie.returncode is None, scene.log()
            assert scene.refs() == refs, name
            assert await scene.read_state() == kept, name
            assert not scene.repeated_requests(), name

    await asyncio.gather(*(one(name, moment) for name, moment in FREE.items()))
