"""A run that is stopped while a step is at its end: the step ends as if nobody had asked, and the run must not."""

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from baton.records.run import RunStatus
from tests.conftest import assert_eventually
from tests.faults.conftest import Scenes
from tests.faults.injection import Moment
from tests.faults.scene import script
from tests.pipelines.conftest import events

STEPS = {
    "while it prepares": (Moment("activities.runtime.stores:Stores.open_store", holds=True, until="go"), 0),
    "while the plan is read": (Moment("activities.run.prepare:write_run_files", nth=2, holds=True, until="go"), 1),
}
"""Steps that do not hear of it in time, and how many model calls were made until then."""


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_that_ends_all_the_same_does_not_hide_that_the_run_was_stopped(scenes: Scenes, step: str) -> None:
    moment, calls = STEPS[step]
    async with scenes("run", script()) as scene:
        handle = await scene.start_run()
        await scene.worker(moment)
        await assert_eventually(lambda: (scene.home / "held").exists())
        await handle.cancel()
        await assert_eventually(lambda: (scene.home / "deaf").exists())
        (scene.home / "go").touch()
        document = await scene.wait_for_document(handle)
        with pytest.raises(WorkflowFailureError) as ended:
            await handle.result()
        assert isinstance(ended.value.cause, CancelledError)
        assert document.status is RunStatus.STOPPED
        assert len(scene.standin.requests) == calls
        assert not await events(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
