"""What a run leaves in logs, histories and stores: every line says where it belongs, and nobody's key is in it."""

import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

from baton.records.run import Decide, RunStatus
from standin.script.scenario import Fault, ScriptedStep
from tests.conftest import assert_eventually
from tests.pipelines.conftest import CANARY, Stage
from tests.support.repositories import git
from tests.support.scripts import (
    bash,
    escalate,
    made,
    plan,
    reviewed,
    scenario,
    session,
    simple_task,
    task,
    tested,
)
from tests.support.worker_process import WorkerProcess
from workers.temporal_service import TemporalService
from workflows.pipeline import Pipeline

PASSWORD = "hunter22-of-the-database"

LOOK = "env; cat /proc/1/environ /proc/self/environ; ls -la / /workspace; cat /root/.* /home/*/.* 2>/dev/null; true"
"""A command that prints whatever it can of the place it runs in."""


async def histories(stage: Stage, expected: set[str]) -> dict[str, bytes]:
    """The history of every workflow of the run as it is kept, where payloads can be read: in JSON they are base64."""
    found: dict[str, bytes] = {}

    async def all_there() -> bool:
        # The list is made a moment after the workflows.
        found.clear()
        async for execution in stage.client.list_workflows(f"RootWorkflowId = '{stage.run}'"):
            handle = stage.client.get_workflow_handle(execution.id, run_id=execution.run_id)
            events = b"".join(event.SerializeToString() for event in (await handle.fetch_history()).events)
            found[execution.id] = found.get(execution.id, b"") + events
        return found.keys() >= expected

    await assert_eventually(all_there, every=timedelta(milliseconds=500))
    return found


def lines(log: str) -> list[dict[str, Any]]:
    """The lines of a JSON log; what the command says for people besides is left out."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


async def test_every_log_line_says_where_it_belongs_and_no_key_is_left_anywhere(  # type: ignore[no-untyped-def]
    staged, repo: Path, service: TemporalService, tmp_path: Path
) -> None:
    (repo / "check.sh").write_text(f"echo the gate looks; {LOOK}\n")
    git(repo, "commit", "-qam", "Tests that look around")
    question = f"Is postgres://app:{PASSWORD}@db/orders the right database?"
    script = scenario(
        plan(task("t1"), task("t2", role="frontend", depends_on=["t1"]), faults=[Fault(status=529)]),
        session("backend", "t1", [[bash(LOOK)], [escalate(question, "yes", "no")], [made()]]),
        session("tester", "t1", [[bash(LOOK)], [tested()]]),
        session("reviewer", "t1", [ScriptedStep(calls=[bash(LOOK)]), [reviewed()]]),
        session("frontend", "t2", [[bash(LOOK)], [made()]]),
        simple_task("t2")[1:],
    )
    log = tmp_path / "worker.log"
    async with staged(script, worker=False, log="json", log_level="debug") as stage:
        worker = WorkerProcess(stage.settings, service.address, log)
        worker.start()
        try:
            handle = await stage.start()
            await stage.until_waiting(handle)
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="yes", by="ada"))
            document = await stage.outcome(handle)
            assert document.status is RunStatus.DONE, document
            makers = ("t1/1-backend", "t2/1-frontend")
            checks = (f"{name}/1-{role}" for name in ("t1", "t2") for role in ("tester", "reviewer"))
            children = {f"{stage.run}/{name}" for name in ("plan/1-orchestrator", "t1", "t2", *makers, *checks)}
            told = await histories(stage, {stage.run, *children})
        finally:
            worker.stop()
        store = await stage.store()
        asked = json.dumps([r.body for r in stage.standin.requests])
        looks = {r.role for r in stage.standin.requests if "HOME=" in json.dumps(r.body)}

    said = log.read_text()
    found = lines(said)
    about = [line for line in found if line.get("run") == stage.run]

    def of(event: str) -> list[dict[str, Any]]:
        return [line for line in about if line["event"].startswith(event) and line["level"] != "debug"]

    # One line a turn, gate, hand-off, decision and error, each in its place.
    turns = [(line["task"], line["round"], line["role"], line["turn"]) for line in of("turn")]
    assert turns == [
        ("plan", "1", "orchestrator", "1"),
        *(("t1", "1", "backend", str(turn)) for turn in (1, 2, 3)),
        *(("t1", "1", role, str(turn)) for role in ("tester", "reviewer") for turn in (1, 2)),
        *(("t2", "1", "frontend", str(turn)) for turn in (1, 2)),
        *(("t2", "1", role, "1") for role in ("tester", "reviewer")),
    ]
    handed = ["orchestrator", "backend", "tester", "reviewer", "frontend", "tester", "reviewer"]
    assert [line["role"] for line in of("hand-off")] == handed
    assert [(line.get("task"), line["exit_code"]) for line in of("gate")] == [("t1", 0), ("t2", 0), ("gate", 0)]
    (error,) = of("error")
    assert (error["level"], error["task"], error["role"]) == ("error", "t1", "backend")
    assert error["record"]["context"]["operation"] == "escalate"
    assert [line["event"].partition(":")[0] for line in of("decision")] == [
        "decision D1 opened",
        "decision D1 answered",
    ]
    # The SDK's own line about the attempt that failed has it, too.
    (failed,) = of("Completing activity as failed")
    place = {"task": "plan", "role": "orchestrator", "turn": "1", "activity": "take_turn", "attempt": "1"}
    assert place.items() <= failed.items()
    assert "529" in failed["exception"]
    # Whatever is said in the workflows of the run names it.
    assert all("run" in line for line in found if line["logger"] in ("temporalio.workflow", "temporalio.activity"))

    for secret in (CANARY, PASSWORD):
        assert secret not in said
        assert not [name for name, history in told.items() if secret.encode() in history]
    # The search can find what is there: the same question with the password masked, in whose history it belongs.
    assert b"@db/orders the right database?" in told[f"{stage.run}/t1/1-backend"]
    assert looks == {"backend", "frontend", "tester", "reviewer"}
    assert CANARY not in asked
    assert CANARY not in document.model_dump_json()
    # The whole home: stores (every object, unpacked), workspaces, gates, logs.
    grep = subprocess.run(["grep", "-rla", CANARY, str(stage.settings.home)], capture_output=True, text=True)
    assert grep.stdout == ""
    for bare in store.path.parent.glob("*.git"):
        objects = subprocess.run(
            ["git", "--git-dir", str(bare), "cat-file", "--batch-all-objects", "--batch", "--buffer"],
            capture_output=True,
            check=True,
        )
        assert CANARY.encode() not in objects.stdout
        assert b"the gate looks" in objects.stdout
