"""A run from the request to the branch, as its user sees it in git."""

import pytest

from baton import identifiers
from baton.records.run import RunStatus, TaskState
from baton.text.markdown import escape_markdown
from tests.support.repositories import git
from tests.support.scripts import (
    bash,
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


async def test_a_change_becomes_a_tested_reviewed_branch(staged) -> None:  # type: ignore[no-untyped-def]
    title = "Add <img src=x> [pages](https://e.example)"
    script = scenario(
        plan({**task("t1"), "title": title}),
        session("backend", "t1", [[write("src/pages.txt", "page size 20\n")], [bash("sh check.sh")], [made()]]),
        session("tester", "t1", [[write("tests/pages.expect", "src/pages.txt page size 20\n")], [tested()]]),
        session("reviewer", "t1", [[bash("git log --oneline | head -1 && cat src/pages.txt")], [reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        child = await stage.client.get_workflow_handle(identifiers.task_workflow_id(stage.run, "t1")).describe()
        # The Web UI renders it as Markdown.
        assert await child.static_summary() == f"t1: {escape_markdown(title)}"
        assert "](https://e" not in escape_markdown(title)

    assert document.status is RunStatus.DONE, document
    assert document.branch == f"baton/{stage.run}"
    assert git(stage.repo, "rev-parse", document.branch) == document.head_commit
    assert git(stage.repo, "show", f"{document.branch}:src/pages.txt") == "page size 20"
    assert git(stage.repo, "rev-parse", f"{document.branch}~1") == git(stage.repo, "rev-parse", "main")
    assert git(stage.repo, "log", "-1", "--format=%s", document.branch) == title
    assert git(stage.repo, "status", "--porcelain") == ""
    assert document.gate is not None
    assert document.gate.commit == document.head_commit
    assert document.gate.exit_code == 0
    assert document.gate.log_digest.startswith("sha256:")
    assert [(t.id, t.state, t.rounds) for t in document.tasks] == [("t1", TaskState.DONE, 1)]
    assert document.turns == len(stage.standin.requests) == 8
    assert document.cost_usd == pytest.approx(stage.standin.cost_usd)
    assert document.tasks[0].cost_usd < document.cost_usd


async def test_a_rejected_review_and_a_red_gate_each_cost_a_round(staged) -> None:  # type: ignore[no-untyped-def]
    expectation = write("tests/pages.expect", "src/pages.txt page size 20\n")
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/pages.txt", "page size 2\n")], [made()]]),
        session("tester", "t1", [[expectation], [tested("fail", [{"test": "pages", "message": "no 20"}])]]),
        session("backend", "t1", [[write("src/pages.txt", "page size 20\n")], [made()]], round_number=2),
        session("tester", "t1", [[tested()]], round_number=2),
        session("reviewer", "t1", [[reviewed("The size is not bounded.")]], round_number=2),
        session("backend", "t1", [[write("src/pages.txt", "page size 20, at most 100\n")], [made()]], round_number=3),
        session("tester", "t1", [[tested()]], round_number=3),
        session("reviewer", "t1", [[reviewed()]], round_number=3),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        second = next(r.body for r in stage.standin.requests if (r.role, r.round, r.turn) == ("backend", 2, 1))
        third = next(r.body for r in stage.standin.requests if (r.role, r.round, r.turn) == ("backend", 3, 1))

    assert document.status is RunStatus.DONE, document
    assert document.tasks[0].rounds == 3
    outcomes = document.tasks[0].outcomes
    assert [(seen.round, seen.tester, seen.reviewer, seen.blocking) for seen in outcomes] == [
        (1, "fail", "", 0),
        (2, "pass", "request_changes", 1),
        (3, "pass", "approve", 0),
    ]
    assert [seen.gate.exit_code for seen in outcomes if seen.gate] == [1, 0, 0]
    assert document.gate is not None
    assert len({seen.gate.commit for seen in outcomes if seen.gate}) == 3
    assert git(stage.repo, "show", f"{document.branch}:src/pages.txt") == "page size 20, at most 100"
    # The maker of the next round is told what was wrong: the gate's log, then the reviewer's finding.
    assert "FAILED  tests/pages.expect" in str(second)
    assert "The size is not bounded." in str(third)
    # A red gate is not reviewed: nobody pays for a review of what fails its tests.
    assert ("t1", "reviewer", 1, 1) not in stage.asked()


async def test_independent_tasks_run_side_by_side_and_dependent_ones_build_on_them(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("a"), task("b", role="frontend"), task("c", depends_on=["a", "b"])),
        simple_task("a", write("src/a.txt", "a\n")),
        simple_task("b", write("web/b.html", "b\n"), role="frontend"),
        simple_task("c", bash("cat src/a.txt web/b.html > src/c.txt")),
    )
    async with staged(script) as stage:
        document = await stage.finish()

    assert document.status is RunStatus.DONE, document
    assert git(stage.repo, "show", f"{document.branch}:src/c.txt") == "a\nb"
    subjects = git(stage.repo, "log", "--format=%s", f"main..{document.branch}").splitlines()
    assert subjects[0] == "Task c"
    assert sorted(subjects) == ["Task a", "Task b", "Task c"]
    order = stage.asked()
    assert order.index(("c", "backend", 1, 1)) > max(
        order.index(("a", "reviewer", 1, 1)), order.index(("b", "reviewer", 1, 1))
    )
