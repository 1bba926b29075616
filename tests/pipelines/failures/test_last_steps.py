"""The last steps of a run: when all the work is done and paid for, what goes wrong is asked, and not thrown away."""

from pathlib import Path

import pytest

from baton.records.run import Decide, RunStatus, TaskState
from tests.support.repositories import git
from tests.support.scripts import plan, scenario, simple_task, task, write
from workflows.pipeline import Pipeline

HOOK = "#!/bin/sh\necho 'frozen until Monday' >&2\nexit 1\n"


@pytest.mark.parametrize("choice", ["retry", "skip", "abort"])
async def test_a_branch_that_cannot_be_published_is_a_decision(staged, repo: Path, choice: str) -> None:  # type: ignore[no-untyped-def]
    hook = repo / ".git/hooks/pre-receive"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    script = scenario(plan(task("t1")), simple_task("t1", write("src/x.txt", "x\n")))
    async with staged(script, target_hooks="run") as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        (decision,) = waiting.decisions
        assert (decision.task_id, decision.commit) == (None, waiting.head_commit)
        assert "frozen until Monday" in decision.question
        assert waiting.errors[-1].error in decision.question
        assert [found.state for found in waiting.tasks] == [TaskState.DONE]
        asked = len(stage.standin.requests)
        hook.unlink()
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice=choice))
        document = await stage.outcome(handle)
        assert len(stage.standin.requests) == asked
        store = await stage.store()
        assert await store.read_file(str(document.head_commit), "src/x.txt") == b"x\n"

    published = git(repo, "branch", "--list", f"baton/{stage.run}").strip()
    assert bool(published) is (choice == "retry")
    assert document.branch == (f"baton/{stage.run}" if published else None)
    assert document.status is (RunStatus.STOPPED if choice == "abort" else RunStatus.DONE)
    assert document.head_commit == waiting.head_commit
    if choice == "skip":
        assert "was not published" in document.notes[-1]


async def test_a_branch_of_somebody_else_is_left_as_it_is(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("t1")), simple_task("t1", write("src/x.txt", "x\n")))
    async with staged(script) as stage:
        git(repo, "branch", f"baton/{stage.run}")
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        assert "somebody else has moved it" in waiting.decisions[0].question
        git(repo, "branch", "-D", f"baton/{stage.run}")
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE
    assert git(repo, "show", f"{document.branch}:src/x.txt") == "x"


async def test_hooks_of_the_target_are_not_run_and_that_is_said(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    hook = repo / ".git/hooks/pre-receive"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    async with staged(scenario(plan(task("t1")), simple_task("t1", write("src/x.txt", "x\n")))) as stage:
        document = await stage.finish()
    assert document.status is RunStatus.DONE
    assert git(repo, "show", f"{document.branch}:src/x.txt") == "x"
    assert [note for note in document.notes if "pre-receive" in note and "BATON_TARGET_HOOKS=run" in note]
