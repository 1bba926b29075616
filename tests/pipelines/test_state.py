"""`state.json` and `decisions.json` say at the end what the workflow says, with the fields of the contract."""

import asyncio
import json
import re
from typing import Any

import pytest

from baton import identifiers
from baton.records.run import Decide, RunDocument, RunStatus
from tests.conftest import HANGS
from tests.pipelines.conftest import Stage
from tests.support.scripts import escalate, made, plan, scenario, session, simple_task, task, write
from workflows.pipeline import Pipeline

RUN = ["run", "status", "repo", "base_commit", "branch", "head_commit", "cost_usd", "turns"]
RUN += ["tasks", "decisions", "gate", "errors", "web_ui"]
TASK = ["id", "title", "role", "state", "rounds", "cost_usd", "commit"]
DECISION = ["id", "task_id", "question", "choices", "state", "choice", "note", "by", "commit"]
GATE = ["commit", "command", "exit_code", "log_digest", "binds"]
ERROR = ["timestamp", "agent", "task", "error", "context", "recovery_attempted", "resolution"]
"""The fields that everything outside relies on, others may be there, too, except in errors and gate."""


async def kept(stage: Stage, name: str) -> Any:
    """One of the run's own files, as it stands in the store."""
    store = await stage.store()
    data = await store.read_file(str(await store.read_head(identifiers.run_ref(stage.run))), name)
    assert data is not None
    return json.loads(data)


def check_fields(document: dict[str, Any]) -> None:
    """The document has the fields of the contract, with values of the right kinds."""
    assert set(RUN) <= document.keys()
    for found in document["tasks"]:
        assert set(TASK) <= found.keys()
        assert found["state"] in ("pending", "working", "waiting", "done", "skipped", "failed", "stopped")
    for found in document["decisions"]:
        assert set(DECISION) <= found.keys()
        assert found["state"] in ("open", "answered", "withdrawn")
    if document["gate"] is not None:
        assert document["gate"].keys() == set(GATE)
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", document["gate"]["log_digest"])
    for error in document["errors"]:
        assert error.keys() == set(ERROR)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", error["timestamp"])
        assert all(isinstance(value, str) for value in error["context"].values())
    for commit in (document["base_commit"], document["head_commit"]):
        assert commit is None or re.fullmatch("[0-9a-f]{40}", commit)


@pytest.mark.parametrize(
    ("choice", "status"),
    [("this", RunStatus.DONE), ("skip", RunStatus.FAILED), ("abort", RunStatus.STOPPED)],
)
async def test_the_store_and_the_queries_agree(staged, choice: str, status: RunStatus) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1"), task("t2", depends_on=["t1"])),
        session("backend", "t1", [[escalate("Which?", "this", "that")], [write("src/x.txt", "x\n")], [made()]]),
        simple_task("t1")[1:],
        simple_task("t2"),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle)
        waiting = await kept_with(stage, status="waiting")
        check_fields(waiting)
        assert [found["state"] for found in waiting["decisions"]] == ["open"]
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice=choice, by="ada"))
        document = await stage.outcome(handle)
        decisions = await handle.query("decisions")
        raw = await handle.query("state")
        short = await handle.query("status")
        state, saved = await kept(stage, "state.json"), await kept(stage, "decisions.json")

    assert document.status is status, document
    assert isinstance(decisions, list)
    assert state == raw == document.model_dump(mode="json")
    assert saved == decisions == raw["decisions"]
    check_fields(state)
    # As it is printed, in the order of the contract.
    assert list(raw)[: len(RUN)] == RUN
    assert RunDocument.model_validate(state) == document
    assert state["ended_at"]
    assert short == {
        "run": stage.run,
        "status": status.value,
        "pending_decisions": [],
        "reminders": {},
        "cost_usd": state["cost_usd"],
        "turns": state["turns"],
        "tasks": {found["id"]: found["state"] for found in state["tasks"]},
        "branch": state["branch"],
        "head_commit": state["head_commit"],
    }
    assert state["cost_usd"] == pytest.approx(stage.standin.cost_usd)
    assert state["turns"] == len(stage.standin.requests)
    assert all(found["state"] in ("done", "skipped", "stopped") for found in state["tasks"])


async def kept_with(stage: Stage, **wanted: str) -> Any:
    """`state.json` once it says this: it is written a moment after the workflow knows."""
    async with asyncio.timeout(HANGS.total_seconds()):
        while True:
            state = await kept(stage, "state.json")
            if all(state[name] == value for name, value in wanted.items()):
                return state
            await asyncio.sleep(0.05)
