"""What a run leaves in the histories of its workflows, measured in events and bytes; no wall-clock time."""

from pathlib import Path
from typing import Any

import pytest

from baton.records.run import Decide, RunStatus
from interfaces.cli.commands.demo import TASK
from interfaces.cli.runs.sample_repository import make_repository
from standin.script.scenario_file import shipped_scenario
from tests.conftest import HANGS
from tests.support.history_size import read_history_size
from workflows.pipeline import Pipeline


async def test_the_demos_run_takes_few_events_a_turn(
    staged: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 20 events and 5 kB a turn over all workflows of the run."""
    # A slow machine must not add saves.
    monkeypatch.setattr("workflows.state.state_file.SAVE_EVERY", HANGS)
    monkeypatch.setattr("workflows.task.TOLD_GATE", HANGS)
    repository = tmp_path / "orders"
    make_repository(repository)
    async with staged(shipped_scenario("demo")) as stage:
        stage.repo = repository
        handle = await stage.start(task=TASK, scripted_model=True)
        document = await stage.until_waiting(handle, decision="D1")
        choice = document.decisions[0].choices[0]
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice=choice, by="baton demo"))
        assert (await stage.outcome(handle)).status is RunStatus.DONE
        size = await read_history_size(stage.client, stage.run)
        print(size)
        assert size.events_a_turn <= 20, size
        assert size.bytes_a_turn <= 5_000, size
