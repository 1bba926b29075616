"""What people push to the branch of a run stays: it is taken in, merged, resolved or asked about, never overwritten."""

from pathlib import Path

from temporalio.client import WorkflowExecutionStatus

from baton.records.run import RunStatus
from standin.script.scenario import Fault, ScriptedStep
from tests.conftest import assert_eventually
from tests.support.github.emulator import OWNER
from tests.support.github.world import World
from tests.support.repositories import git
from tests.support.scripts import made, plan, reviewed, scenario, session, simple_task, task, tested, write


def round_of(task_id: str, text: str) -> list[ScriptedStep]:
    """A round that takes long enough for somebody to push meanwhile."""
    return [
        *session("backend", task_id, [[write("src/pages.txt", text)], [made()]]),
        *session("tester", task_id, [[tested()]]),
        *session("reviewer", task_id, [ScriptedStep(calls=[reviewed()], faults=[Fault(delay=1.5)])]),
    ]


def push(clone: Path, name: str, text: str, *options: str) -> str:
    """A person's commit on top of the branch as it is; the commit."""
    git(clone, "fetch", "-q")
    git(clone, "reset", "-q", "--hard", "@{upstream}")
    (clone / name).write_text(text)
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", f"Change {name}")
    git(clone, "push", "-q", *options)
    return git(clone, "rev-parse", "HEAD")


async def tell(w: World, branch: str, commit: str) -> None:
    said = await w.deliver("push", {"ref": f"refs/heads/{branch}", "after": commit, "deleted": False})
    assert said.status_code == 202, said.text


async def until_asked(w: World, task_id: str, role: str) -> None:
    await assert_eventually(lambda: (task_id, role) in {(r.task, r.role) for r in w.standin.requests})


async def test_commits_of_others_stay(world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        simple_task("t1", write("src/pages.txt", "page size 20\n")),
        round_of("follow-up", "page size 30\n"),
        round_of("follow-up-2", "page size 40\n"),
        simple_task("merge", write("src/pages.txt", "page size 45\n")),
        session("backend", "follow-up-3", [ScriptedStep(calls=[made()], faults=[Fault(delay=20.0)])]),
    )
    async with world(script) as w:
        number = await w.issue("Add pages")
        pull = await w.until_pull()
        await w.until_status(number, "waiting")
        branch = pull["head"]["ref"]
        person = w.clone(tmp_path / "clone", branch)

        # While the run waits: taken in. That our own push is told to us, too, changes nothing.
        await tell(w, branch, w.head(branch))
        first = push(person, "NOTES.md", "by hand\n")
        await tell(w, branch, first)
        await w.until_says(number, "took in 1 commit of others", first[:12])

        # While a round is at work, in another file: merged, tested, and pushed on top of theirs.
        await w.review(pull["number"], "REQUEST_CHANGES", "Make it 30.", who="ben")
        await until_asked(w, "follow-up", "tester")
        second = push(person, "README.md", "# Our shop\n")
        await w.until_says(number, "round 1", second[:12], "waits for a review")
        assert git(w.bare, "show", f"{branch}:src/pages.txt") == "page size 30"
        assert git(w.bare, "show", f"{branch}:README.md") == "# Our shop"
        assert git(w.bare, "show", f"{branch}:NOTES.md") == "by hand"

        # In the same file: the conflict is work, on top of theirs.
        await w.review(pull["number"], "REQUEST_CHANGES", "Make it 40.", who="ben")
        await until_asked(w, "follow-up-2", "tester")
        third = push(person, "src/pages.txt", "page size 50\n")
        await w.until_says(number, "round 2", third[:12], "**merge**", "waits for a review")
        assert git(w.bare, "show", f"{branch}:src/pages.txt") == "page size 45"
        asked = str(next(r.body for r in w.standin.requests if r.task == "merge"))
        assert "src/pages.txt" in asked
        assert "conflict" in asked
        log = git(w.bare, "log", "--format=%H", branch).splitlines()
        assert {first, second, third} <= set(log)
        document = await w.document(number)
        assert document.head_commit == log[0]
        assert [check["conclusion"] for check in await w.checks(log[0])] == ["success"]

        # Rewritten: nobody but a person says whose word counts.
        git(person, "fetch", "-q")
        git(person, "reset", "-q", "--hard", "origin/main")
        (person / "src" / "pages.txt").write_text("page size 60\n")
        git(person, "add", "-A")
        git(person, "commit", "-qm", "From scratch")
        git(person, "push", "-q", "--force", "origin", f"HEAD:{branch}")
        rewritten = git(person, "rev-parse", "HEAD")
        await tell(w, branch, rewritten)
        said = await w.until_says(number, "Decision D1", "was rewritten by somebody")
        assert '/baton decide D1 "take theirs"' in said
        await w.comment(number, '/baton decide D1 "take theirs"')
        await w.until_says(number, "goes on from what others made of it", "waits for a review")
        assert w.head(branch) == rewritten

        # The App loses the repository in the middle of a round: the run stops, and branch and draft stay as they are.
        await w.review(pull["number"], "REQUEST_CHANGES", "Make it 70.")
        await until_asked(w, "follow-up-3", "backend")
        assert [check["status"] for check in await w.checks(rewritten)] == ["in_progress"]
        account = {"login": OWNER, "id": 3, "type": "User"}
        removed = [{"id": 1, "full_name": w.full_name, "name": w.name, "private": False}]
        said = await w.deliver(
            "installation_repositories",
            {
                "action": "removed",
                "installation": {"id": 100, "account": account},
                "repositories_removed": removed,
            },
        )
        assert said.status_code == 202, said.text
        assert await w.until_closed(number) is WorkflowExecutionStatus.CANCELED
        document = await w.document(number)
        assert document.status is RunStatus.STOPPED
        assert "the App was removed from" in document.notes[-1]
        assert "was stopped" in await w.says(number)
        assert [check["conclusion"] for check in await w.checks(rewritten)] == ["cancelled"]
        assert [left["draft"] for left in await w.pulls("open")] == [True]
        assert w.head(branch) == rewritten
