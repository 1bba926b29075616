"""Runs started by any Temporal client, with input that is none: they fail at once, in words, and touch nothing."""

from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from baton import identifiers
from baton.records.run import RunStatus
from tests.support.scripts import plan, scenario, task
from workflows.state.visibility import REPO

GOOD = {"task": "Add a feature", "repo": "REPO"}

BAD: list[tuple[list[Any], str]] = [
    ([], "one JSON object"),
    ([None], "dictionary"),
    (["Add a feature"], "dictionary"),
    ([{"task": "Add a feature"}], "repo: Field required"),
    ([{**GOOD, "task": ""}], "task"),
    ([{**GOOD, "task": "x" * 60_001}], "task"),
    ([{**GOOD, "turns": 0}], "turns: Input should be greater than or equal to 1"),
    ([{**GOOD, "parallel": 1_000}], "parallel"),
    ([{**GOOD, "usd": "lots"}], "usd"),
    ([GOOD, GOOD], "one JSON object"),
]


@pytest.mark.parametrize(("given", "words"), BAD)
async def test_input_that_is_no_request(staged, given: list[Any], words: str) -> None:  # type: ignore[no-untyped-def]
    async with staged(scenario(plan(task("t1")))) as stage:
        arguments = [
            {**one, "repo": str(stage.repo)} if one is not GOOD and isinstance(one, dict) and "repo" in one else one
            for one in given
        ]
        handle = await stage.client.start_workflow(
            "Pipeline", args=arguments, id=stage.run, task_queue=identifiers.TASK_QUEUE
        )
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        document = await handle.query("state")
        assert stage.standin.requests == []
        assert not (stage.settings.home / "stores").exists()
    assert words in str(failure.value.cause)
    assert len(str(failure.value.cause)) < 600
    assert document["status"] == "failed"
    assert document["notes"][-1] in str(failure.value.cause)


@pytest.mark.parametrize("user", ["ada:s3cret-canary", "s3cret-canary"])
async def test_a_url_with_credentials_is_refused_and_not_spread(staged, user: str) -> None:  # type: ignore[no-untyped-def]
    """What its caller wrote stands in the start event, and nothing else of the history has it."""
    where = f"https://{user}@git.example.org/shop.git"
    async with staged(scenario(plan(task("t1")))) as stage:
        handle = await stage.client.start_workflow(
            "Pipeline", {"task": "x", "repo": where}, id=stage.run, task_queue=identifiers.TASK_QUEUE
        )
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        document = await handle.query("state")
        described = await handle.describe()
        history = await handle.fetch_history()
        assert not (stage.settings.home / "stores").exists()
    assert "with credentials in it: leave them out" in str(failure.value.cause)
    assert document["status"] == "failed"
    assert document["repo"] == "https://git.example.org/shop.git"
    assert described.typed_search_attributes[REPO] == "https://git.example.org/shop.git"
    later = "".join(str(event) for event in history.events[1:])
    assert "s3cret-canary" not in f"{failure.value.cause}{document}{described.typed_search_attributes}{later}"


@pytest.mark.parametrize("run", ["../../escape", "a/b", "two words", "x" * 121, "caf\u00e9", "-rf", "ends.lock"])
async def test_a_workflow_id_that_can_be_no_run(staged, run: str, run_id: str) -> None:  # type: ignore[no-untyped-def]
    async with staged(scenario(plan(task("t1")))) as stage:
        handle = await stage.client.start_workflow(
            "Pipeline", {"task": "x", "repo": str(stage.repo)}, id=run, task_queue=identifiers.TASK_QUEUE
        )
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        assert not (stage.settings.home / "stores").exists()
    assert "cannot be the id of a run" in str(failure.value.cause)


async def test_a_run_that_no_disk_has_room_for(staged) -> None:  # type: ignore[no-untyped-def]
    """The worker that should begin it refuses; nothing is fetched."""
    async with staged(scenario(), disk_floor_gb=1_000_000.0) as stage:
        document = await stage.finish()
    assert document.status is RunStatus.FAILED
    assert "No run is begun: " in document.notes[-1]
    assert document.base_commit is None
