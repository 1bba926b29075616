"""The runs whose histories are recorded: together they go through every way of the workflows that a replay can show."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from unittest.mock import patch

from baton.records.run import Decide, Fork, Guide, RunDocument, RunStatus, TaskState
from standin.script.scenario import Fault, Scenario, ScriptedCall, ScriptedStep
from tests.conftest import HANGS
from tests.faults.injection import Moment, arm
from tests.pipelines.conftest import Stage
from tests.support.github.world import World
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
    write,
)
from workflows.calls.cancellation import CancellationGuard
from workflows.pipeline import Pipeline

REPORT = {"test": "pages", "message": "no page size"}


@dataclass(frozen=True)
class Recorded:
    """A run to record: what the model says, and what people do."""

    name: str
    script: Scenario
    play: Callable[[Stage], Awaitable[None]]
    workflows: int
    """So many executions it has, the pipeline's own among them."""
    request: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedOnGitHub:
    """A run for an issue to record: pipeline, tasks and sessions, and the deliveries that it came from."""

    name: str
    script: Scenario
    play: Callable[[World], Awaitable[None]]
    workflows: int


async def to_the_end(stage: Stage) -> None:
    """Nobody does anything."""
    document = await stage.finish()
    assert document.status is RunStatus.DONE, document


async def with_answers(stage: Stage) -> None:
    """Messages good and bad, an answer by signal and one by update."""
    handle = await stage.start()
    await stage.until_waiting(handle, decision="D1")
    await handle.signal("decide", args=[])
    await handle.signal("decide", {"decision_id": "D9", "choice": "this"})
    await handle.signal(Pipeline.guide, Guide(text="Keep the old name."))
    await handle.signal(Pipeline.guide, Guide(text="Nobody is there.", task_id="t9"))
    await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="this", note="for now", by="ada"))
    await stage.until_waiting(handle, decision="D2")
    await handle.execute_update(Pipeline.submit_decision, Decide(decision_id="D2", choice="retry", by="ben"))
    document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document


async def stopped(stage: Stage) -> None:
    """A person stops the run while one task is at work and another one waits for an answer."""
    handle = await stage.start()
    async with asyncio.timeout(HANGS.total_seconds()):
        while not (await handle.query(Pipeline.state)).decisions or ("t1", "backend", 1, 1) not in stage.asked():
            await asyncio.sleep(0.05)
    await handle.cancel()
    document = await stage.outcome(handle)
    assert document.status is RunStatus.STOPPED


async def stopped_late(stage: Stage) -> None:
    """A person stops the run while the plan is read, and that step does not hear of it before it is done."""
    document = await _stop_at_the_end_of_a_step(stage)
    assert document.status is RunStatus.STOPPED, document


async def went_on(stage: Stage) -> None:
    """The same, as it was before such a stop counted: the run goes on to its end."""
    # The workflow code of then, as far as it differs: only that leaves a history without the patch's marker.
    with patch.object(CancellationGuard, "check", lambda _: None):
        document = await _stop_at_the_end_of_a_step(stage)
    assert document.status is RunStatus.DONE, document


async def _stop_at_the_end_of_a_step(stage: Stage) -> RunDocument:
    home = stage.settings.home
    arm(Moment("activities.run.prepare:write_run_files", nth=2, holds=True, until="go"), home)
    handle = await stage.start()
    await _until((home / "held").exists)
    await handle.cancel()
    await _until((home / "deaf").exists)
    (home / "go").touch()
    return await stage.outcome(handle)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANGS.total_seconds()):
        while not condition():
            await asyncio.sleep(0.01)


async def aborted(stage: Stage) -> None:
    """A person ends the run by a decision while another task is at work."""
    handle = await stage.start()
    async with asyncio.timeout(HANGS.total_seconds()):
        while not (await handle.query(Pipeline.state)).decisions or ("t1", "backend", 1, 1) not in stage.asked():
            await asyncio.sleep(0.05)
    await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="abort"))
    document = await stage.outcome(handle)
    assert document.status is RunStatus.STOPPED


async def with_a_default(stage: Stage) -> None:
    """Nobody answers, and a default was given: the task that asks is skipped."""
    document = await stage.finish(decision_default="skip", decision_deadline_seconds=2.0)
    assert document.status is RunStatus.DONE, document
    assert [decision.by for decision in document.decisions] == ["deadline"]
    assert [task.state for task in document.tasks] == [TaskState.DONE, TaskState.DONE, TaskState.SKIPPED]


async def raised(stage: Stage) -> None:
    """A person lets the run work for longer once its backend hangs, and then gives it more turns."""
    handle = await stage.start(wall_clock_seconds=8, turns_per_run=3)
    first = await stage.until_waiting(handle, decision="D1")
    assert first.decisions[0].error_type == "wall_clock"
    await handle.execute_update(Pipeline.submit_decision, Decide(decision_id="D1", choice="raise", note="1h"))
    second = await stage.until_waiting(handle, decision="D2")
    assert second.decisions[1].error_type == "budget"
    await handle.signal(Pipeline.decide, Decide(decision_id="D2", choice="raise", note="20"))
    document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document


async def forked(stage: Stage) -> None:
    """A run from the middle of another one, whose tasks fail their tests together."""
    (stage.repo / "check.sh").write_text("[ ! -e src/a.txt ] || [ ! -e web/b.txt ] || [ -e web/bridge.txt ]\n")
    git(stage.repo, "commit", "-qam", "Tasks need a bridge")
    origin = replace(stage, run=f"{stage.run}-origin")
    assert (await origin.finish()).status is RunStatus.DONE
    document = await stage.finish(fork=Fork(run=origin.run, task="b", session="1-frontend", turn=1))
    assert document.status is RunStatus.DONE, document
    assert [task.id for task in document.tasks] == ["a", "b", "merge-repair"]


_TWO_AT_ONCE = scenario(
    plan(task("t1"), task("t2")),
    session("backend", "t1", [ScriptedStep(calls=[made()], faults=[Fault(stall_after=1)])]),
    session("backend", "t2", [[escalate("Which?", "this", "that")]]),
)


def _unclear(question: str) -> ScriptedCall:
    """A question that the orchestrator may answer."""
    call = escalate(question, "date", "price", error_type="unclear")
    return ScriptedCall("escalate", {**call.input, "architectural": False})


def _guide(text: str) -> ScriptedCall:
    """The orchestrator's answer to a report."""
    return ScriptedCall("hand_off", {"action": "guide", "guidance": text, "reason": "The task says so."})


RUNS = [
    Recorded(
        "two-tasks",
        scenario(
            plan(task("t1"), task("t2", role="frontend", depends_on=["t1"])),
            session("backend", "t1", [[write("src/pages.txt", "page size 2\n")], [made()]]),
            session(
                "tester", "t1", [[write("tests/pages.expect", "src/pages.txt size 20\n")], [tested("fail", [REPORT])]]
            ),
            session("backend", "t1", [[write("src/pages.txt", "page size 20\n")], [made()]], round_number=2),
            session("tester", "t1", [[tested()]], round_number=2),
            session("reviewer", "t1", [[reviewed("It is not bounded.")]], round_number=2),
            session("backend", "t1", [[write("src/pages.txt", "page size 20 of 100\n")], [made()]], round_number=3),
            session("tester", "t1", [[tested()]], round_number=3),
            session("reviewer", "t1", [[reviewed()]], round_number=3),
            simple_task("t2", write("web/pages.html", "pages\n"), role="frontend"),
        ),
        to_the_end,
        workflows=15,
    ),
    Recorded(
        "answers",
        scenario(
            plan(task("t1")),
            session(
                "backend",
                "t1",
                [[escalate("Which?", "this", "that")], ScriptedStep(calls=[made()], faults=[Fault(status=400)])],
            ),
            simple_task("t1")[1:],
        ),
        with_answers,
        # Task and backend go on in an execution of their own after each answer.
        workflows=10,
    ),
    Recorded(
        "faults",
        scenario(
            plan(task("t1"), faults=[Fault(status=529), Fault(reset_before_response=True)]),
            session(
                "backend",
                "t1",
                [ScriptedStep(calls=[bash("echo x > web/x.txt")], faults=[Fault(usage_limit=2)]), [made()]],
            ),
            simple_task("t1")[1:],
        ),
        to_the_end,
        workflows=6,
    ),
    Recorded("stopped", _TWO_AT_ONCE, stopped, workflows=6),
    Recorded("aborted", _TWO_AT_ONCE, aborted, workflows=6),
    Recorded("stopped-late", scenario(plan(task("t1"))), stopped_late, workflows=2),
    Recorded("went-on", scenario(plan(task("t1")), simple_task("t1")), went_on, workflows=6),
    Recorded(
        "many-turns",
        scenario(
            plan(task("t1")),
            session("backend", "t1", [*([bash(f"echo {number} >> src/log.txt")] for number in range(9)), [made()]]),
            simple_task("t1")[1:],
        ),
        to_the_end,
        # Its backend goes on as new after every five turns.
        workflows=7,
    ),
    Recorded(
        "together",
        scenario(
            plan(task("a"), task("b"), task("c")),
            simple_task("a", write("src/orders.txt", "list orders by date\n")),
            # b is guided, and meets the conflict: a is integrated by then.
            session(
                "backend",
                "b",
                [
                    [_unclear("By what?")],
                    [bash("sleep 6"), write("src/orders.txt", "list orders by price\n")],
                    [made()],
                ],
            ),
            session("orchestrator", "plan", [[_guide("By price.")]], round_number=2),
            simple_task("b")[1:],
            simple_task("b", write("src/orders.txt", "list orders by date and price\n"), round_number=2),
            session("backend", "c", [[escalate("Which?", "this", "that")]]),
        ),
        with_a_default,
        workflows=18,
    ),
    Recorded(
        "raised",
        scenario(
            plan(task("t1")),
            session(
                "backend",
                "t1",
                [[write("src/t1.txt", "one\n")], ScriptedStep(calls=[made()], faults=[Fault(delay=300)])],
            ),
            simple_task("t1")[1:],
        ),
        raised,
        workflows=10,
    ),
    Recorded(
        "forked",
        scenario(
            plan(task("a"), task("b", role="frontend")),
            simple_task("a", write("src/a.txt", "a\n")),
            simple_task("b", write("web/b.txt", "b\n"), role="frontend"),
            simple_task("merge-repair", write("web/bridge.txt", "bridge\n"), role="frontend"),
        ),
        forked,
        workflows=13,
    ),
]

_AGAIN = ("two-tasks", "answers", "stopped", "together", "raised", "forked")
RUNS += [replace(run, name=f"{run.name}-merged") for run in RUNS if run.name in _AGAIN]
"""The same runs with the patches that came since: merged signals, spaced saves, new starts, guided forks."""


async def to_the_merge(w: World) -> None:
    """A label, a question, somebody else's commit, a review, and the merge; strangers and mistakes between."""
    number = await w.issue("Add pages", "Orders come in pages.")
    await w.until_says(number, "Decision D1")
    await w.comment(number, "/baton decide D1 that", who="eve")
    await w.comment(number, "/baton decide D1 nothing")
    await w.comment(number, "/baton decide D1 this")
    pull = await w.until_pull()
    await w.until_status(number, "waiting")
    branch = pull["head"]["ref"]
    await w.deliver("push", {"ref": f"refs/heads/{branch}", "after": w.commit(branch, "NOTES.md"), "deleted": False})
    await w.until_says(number, "took in 1 commit of others")
    await w.review(pull["number"], "REQUEST_CHANGES", "Make it 50.", who="ben")
    await w.until_says(number, "round 1 for", "waits for a review")
    await w.merge(pull["number"])
    await w.until_closed(number)
    assert (await w.document(number)).status is RunStatus.DONE


REVIEWED_ONCE = scenario(
    plan(task("t1")),
    session("backend", "t1", [[escalate("Which?", "this", "that")], [made()]]),
    simple_task("t1")[1:],
    simple_task("follow-up", write("src/pages.txt", "page size 50\n")),
)
"""A run with one question and one review that asks for a change."""

ON_GITHUB = [
    RecordedOnGitHub(
        "issue",
        REVIEWED_ONCE,
        to_the_merge,
        # The run, two tasks and seven sessions, one of each begun anew after the answer; and seven deliveries.
        workflows=19,
    ),
    RecordedOnGitHub(
        "issue-renewed",
        REVIEWED_ONCE,
        to_the_merge,
        # As above; the run continues as new wherever it waits for a review.
        workflows=22,
    ),
]
