"""Workers in places that lack something, a sandbox or room on the disk: they fail closed, and lose nothing."""

import collections
import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from baton import identifiers
from baton.records.run import Decide, RunStatus
from baton.settings.core import SandboxMode
from interfaces.cli.views.run_summary import document_lines
from standin.script.scenario import Fault, ScriptedStep
from tests.conftest import assert_eventually
from tests.pipelines.conftest import Stage
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, scenario, session, simple_task, task, write
from tests.support.worker_process import WorkerProcess
from workers.temporal_service import TemporalService
from workflows.pipeline import Pipeline

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
NO_NAMESPACES = [*NAMESPACE, 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
"""A place in which no further user namespace can be made, as in many containers: bubblewrap has nothing to go by."""


def small_disk(home: Path, megabytes: int) -> list[str]:
    """A place in which the home is a disk of its own, so small that it can be filled."""
    home.mkdir(parents=True)
    mount = f"mount -t tmpfs -o size={megabytes}m,mode=700 tmpfs '{home}'"
    return [*NAMESPACE, f'{mount} && exec "$@"', "sh"]


@pytest.fixture
def worker_log(tmp_path: Path) -> Iterator[Path]:
    log = tmp_path / "worker.log"
    yield log
    if log.exists():
        print(log.read_text()[-3_000:])


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that only a command without a sandbox could make."""
    return tmp_path / "outside"


async def test_without_a_sandbox_nothing_runs(  # type: ignore[no-untyped-def]
    staged, service: TemporalService, worker_log: Path, outside: Path
) -> None:
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[bash(f"touch '{outside}'"), write("src/x.txt", "x\n")], [made()]]),
        simple_task("t1")[1:],
    )
    async with staged(script, worker=False) as stage:
        worker = WorkerProcess(stage.settings, service.address, worker_log, within=NO_NAMESPACES)
        worker.start()
        try:
            handle = await stage.start()
            waiting = await stage.until_waiting(handle)
        finally:
            worker.stop()
        # The shell refuses, and so does the gate: it is the engine's own, and asks a person.
        second = next(r.body for r in stage.standin.requests if (r.role, r.turn) == ("backend", 2))
        refused, written = second["messages"][-1]["content"]
        assert refused["is_error"] is True
        assert "No sandbox can be made here" in refused["content"]
        assert not written.get("is_error")
        (decision,) = waiting.decisions
        assert (decision.task_id, decision.error_type) == ("t1", "SandboxUnavailable")
        assert "No sandbox can be made here" in decision.question
        assert "BATON_SANDBOX=none" in decision.question
        assert ".." not in decision.question.replace("/..", "")
        assert [note for note in waiting.notes if "No sandbox can be made here" in note]
        assert not outside.exists()
        # With a sandbox the run goes on from there, and nothing is done again.
        asked = len(stage.standin.requests)
        async with stage.worker():
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
            document = await stage.outcome(handle)
        assert stage.asked()[asked:] == [("t1", "reviewer", 1, 1)]
    assert document.status is RunStatus.DONE, document
    assert git(stage.repo, "show", f"{document.branch}:src/x.txt") == "x"


async def test_doing_without_a_sandbox_is_said_loudly(staged, outside: Path) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[bash(f"touch '{outside}'; pwd")], [made()]]),
        simple_task("t1")[1:],
    )
    async with staged(script, sandbox=SandboxMode.NONE) as stage:
        document = await stage.finish()
        bodies = {(r.role, r.turn): r.body for r in stage.standin.requests}
    assert document.status is RunStatus.DONE, document
    assert document.sandboxed is False
    assert any(line.startswith("sandbox   NONE") for line in document_lines(document))
    assert outside.exists()
    # The agents are told so, in the shell's description and in the evidence that goes to the review.
    (shell,) = [tool for tool in bodies["backend", 1]["tools"] if tool["name"] == "Bash"]
    assert "There is NO sandbox" in shell["description"]
    assert "/workspace" not in json.dumps(bodies["backend", 1])
    assert "NO SANDBOX: the tests ran with the engine's own rights" in json.dumps(bodies["reviewer", 1])


async def test_a_full_disk_loses_nothing(staged, service: TemporalService, worker_log: Path) -> None:  # type: ignore[no-untyped-def]
    slow = ScriptedStep(calls=[write("src/two.txt", "two\n")], faults=[Fault(delay=2.0)])
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/one.txt", "one\n")], slow, [made()]]),
        simple_task("t1")[1:],
    )
    async with staged(script, worker=False, disk_floor_gb=0.0) as stage:
        place = small_disk(stage.settings.home, 24)
        worker = WorkerProcess(stage.settings, service.address, worker_log, within=place)
        worker.start()
        try:
            handle = await stage.start()
            await assert_eventually(lambda: ("t1", "backend", 1, 2) in stage.asked())
            filler = Path(f"/proc/{worker.pid}/root{stage.settings.home}/filler")
            fill(filler)
            waiting = await stage.until_waiting(handle)
            (decision,) = waiting.decisions
            assert decision.error_type == "DiskFull"
            assert "ree some space, and the run goes on" in decision.question
            # The answer that found no room is paid for a second time; no further call is made before there is room.
            asked = collections.Counter(stage.asked())
            assert asked == {("plan", "orchestrator", 1, 1): 1, ("t1", "backend", 1, 1): 1, ("t1", "backend", 1, 2): 1}
            filler.unlink()
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
            document = await stage.outcome(handle)
            state = run_file(worker, stage, "state.json")
        finally:
            worker.stop()
    assert document.status is RunStatus.DONE, document
    assert git(stage.repo, "show", f"{document.branch}:src/one.txt") == "one"
    assert git(stage.repo, "show", f"{document.branch}:src/two.txt") == "two"
    assert collections.Counter(stage.asked())[("t1", "backend", 1, 2)] == 2
    assert max(collections.Counter(stage.asked()).values()) == 2
    assert json.loads(state)["status"] == "done"


def fill(path: Path) -> None:
    """Write until there is no room for another byte."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def run_file(worker: WorkerProcess, stage: Stage, name: str) -> str:
    """One of the run's own files, read by git where the worker is."""
    store = stage.settings.home / "stores" / identifiers.repo_key(str(stage.repo)) / "store.git"
    look = f"git --git-dir '{store}' show refs/baton/{stage.run}/run/head:{name}"
    within = ["nsenter", "--target", str(worker.pid), "--user", "--mount", "--preserve-credentials"]
    done = subprocess.run([*within, "sh", "-c", look], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
