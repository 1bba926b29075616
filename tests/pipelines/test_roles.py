"""Roles are held to their scope by the engine, whichever tool they use."""

import json
from pathlib import Path

from baton.records.run import RunStatus
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


async def test_what_falls_outside_a_scope_is_put_back_and_said(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session(
            "backend",
            "t1",
            [
                [
                    bash(
                        "echo mine > src/new.txt; echo bad > web/index.html; echo evil > tests/base.expect; rm check.sh"
                    )
                ],
                [write("web/index.html", "refused\n")],
                [made()],
            ],
        ),
        session(
            "tester",
            "t1",
            [[bash("echo src/new.txt mine >> tests/new.expect; echo oops >> src/orders.txt")], [tested()]],
        ),
        session("reviewer", "t1", [[bash("echo graffiti > src/new.txt; touch web/x")], [reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        bodies = {(r.role, r.turn): json.dumps(r.body) for r in stage.standin.requests}

    assert document.status is RunStatus.DONE, document
    changed = git(stage.repo, "diff", "--name-only", "main", str(document.branch)).splitlines()
    assert changed == ["src/new.txt", "tests/new.expect"]
    assert git(stage.repo, "show", f"{document.branch}:src/new.txt") == "mine"
    for path in ("web/index.html", "tests/base.expect", "check.sh"):
        assert path in bodies[("backend", 2)]
    assert "frontend" in bodies[("backend", 3)]
    assert "src/orders.txt" in bodies[("tester", 2)]
    assert '"is_error": true' in bodies[("reviewer", 2)]


async def test_conflicting_tasks_are_resolved_by_their_maker(staged) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("a"), task("b")),
        session("backend", "a", [[write("src/orders.txt", "list orders by date\n")], [made()]]),
        session("tester", "a", [[tested()]]),
        session("reviewer", "a", [[reviewed()]]),
        # b waits until a is integrated, so that it is b that meets the conflict.
        session("backend", "b", [[bash("sleep 4")], [write("src/orders.txt", "list orders by price\n")], [made()]]),
        session("tester", "b", [[tested()]]),
        session("reviewer", "b", [[reviewed()]]),
        session(
            "backend",
            "b",
            [[bash("cat src/orders.txt")], [write("src/orders.txt", "list orders by date and price\n")], [made()]],
            round_number=2,
        ),
        session("tester", "b", [[tested()]], round_number=2),
        session("reviewer", "b", [[reviewed()]], round_number=2),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        seen = next(
            r.body for r in stage.standin.requests if (r.task, r.role, r.round, r.turn) == ("b", "backend", 2, 2)
        )
        brief = next(
            r.body for r in stage.standin.requests if (r.task, r.role, r.round, r.turn) == ("b", "backend", 2, 1)
        )
    assert document.status is RunStatus.DONE, document
    assert "<<<<<<<" in json.dumps(seen)
    assert "src/orders.txt" in json.dumps(brief)
    assert git(stage.repo, "show", f"{document.branch}:src/orders.txt") == "list orders by date and price"
    assert document.decisions == []


async def test_tasks_that_only_fail_together_are_repaired(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    (repo / "check.sh").write_text(
        "if [ -e src/a.txt ] && [ -e src/b.txt ] && [ ! -e src/bridge.txt ]; then echo no bridge; exit 1; fi\n"
    )
    git(repo, "commit", "-qam", "Tasks need a bridge")
    script = scenario(
        plan(task("a"), task("b")),
        simple_task("a", bash("sleep 2; echo a > src/a.txt")),
        simple_task("b", bash("sleep 2; echo b > src/b.txt")),
        simple_task("merge-repair", write("src/bridge.txt", "bridge\n")),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        brief = next(r.body for r in stage.standin.requests if (r.task, r.role) == ("merge-repair", "backend"))
    assert document.status is RunStatus.DONE, document
    assert "no bridge" in json.dumps(brief)
    assert document.gate is not None
    assert document.gate.exit_code == 0
    assert git(stage.repo, "show", f"{document.branch}:src/bridge.txt") == "bridge"
