"""A disk that is full under a run: it stops with a question, room is made, and it goes on with nothing lost."""

import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from baton.records.run import Decide, RunDocument, RunStatus
from tests.conftest import assert_eventually
from tests.faults.conftest import Scenes
from tests.faults.scene import script
from workflows.pipeline import Pipeline


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB, where one may be mounted."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here: it takes root")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


class Ballast:
    """A file that takes up all the room there is."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"

    def fill(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        file.write(os.urandom(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # noqa: PT017 - nothing else may end the filling

    def drop(self) -> None:
        self._path.unlink()


async def test_the_disk_is_full_in_a_tool(scenes: Scenes, disk: Path) -> None:
    """When an answer arrives: see `tests/pipelines/failures/test_poor_places.py`."""
    ballast = Ballast(disk)
    async with scenes("run", script(pause=2.0), BATON_HOME=str(disk / "home"), BATON_DISK_FLOOR_GB="0") as scene:
        handle = await scene.start_run()
        await scene.worker()
        await assert_eventually(lambda: any(scene.home.glob("workspaces/*/*/work/src/started")))
        ballast.fill()

        async def waiting() -> bool:
            return (await handle.query(Pipeline.state)).status is RunStatus.WAITING

        await assert_eventually(waiting)
        stuck: RunDocument = await handle.query(Pipeline.state)
        (decision,) = stuck.decisions
        assert "disk is full" in decision.question, decision
        asked = scene.asked()
        await asyncio.sleep(1)
        assert scene.asked() == asked, "a run that cannot keep an answer must not ask for one"

        ballast.drop()
        await handle.signal(Pipeline.decide, Decide(decision_id=decision.id, choice="retry"))
        document = await scene.wait_for_document(handle)
        assert document.status is RunStatus.DONE, (document, scene.log())
        assert await scene.called_again() == []
        assert not scene.repeated_requests()
        assert len(document.errors) == 1


async def test_room_is_made_in_time(scenes: Scenes, disk: Path) -> None:
    """Within the two retries nobody needs to be asked."""
    ballast = Ballast(disk)
    async with scenes("run", script(pause=1.0), BATON_HOME=str(disk / "home"), BATON_DISK_FLOOR_GB="0") as scene:
        handle = await scene.start_run()
        await scene.worker()
        await assert_eventually(lambda: any(scene.home.glob("workspaces/*/*/work/src/started")))
        ballast.fill()
        session = scene.client.get_workflow_handle(f"{scene.run}/t1/1-backend")

        async def failed_once() -> bool:
            pending = (await session.describe()).raw_description.pending_activities
            return any(one.attempt > 1 for one in pending)

        await assert_eventually(failed_once)
        ballast.drop()
        document = await scene.wait_for_document(handle)
        assert document.status is RunStatus.DONE, (document, scene.log())
        assert not document.decisions
        # An answer that came while there was no room is asked for again, and nothing else.
        assert set(scene.repeated_requests().values()) <= {2}
        assert len(scene.repeated_requests()) <= 1
