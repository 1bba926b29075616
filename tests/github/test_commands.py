"""Commands in comments: who is heard, what answers, and where a refusal says why."""

from temporalio.client import WorkflowExecutionStatus

from baton.contracts import RunStatus
from tests.github.emulator import BOT
from tests.github.world import World
from tests.pipelines.repositories import git
from tests.pipelines.scripts import escalate, made, plan, reviewed, scenario, session, simple_task, task, tested, write


async def answers(w: World, comment: int) -> list[str]:
    """Our reactions to a comment."""
    path = f"/repos/{w.full_name}/issues/comments/{comment}"
    return [content for place, login, content in w.hub.reactions if place == path and login == BOT]


async def until_answered(w: World, comment: int, reaction: str) -> None:
    async def there() -> bool:
        return reaction in await answers(w, comment)

    await w.until(there, lambda: f"{reaction} on {comment}: {w.hub.reactions}")


async def test_a_decision_is_asked_answered_and_refused_on_the_issue(world) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[escalate("Which database, @eve? See #12.", "use postgres", "sqlite")], [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with world(script) as w:
        # By a comment instead of the label; what follows the command is part of the request.
        number = await w.issue("Keep orders", "In a database.", label=None)
        first = await w.comment(number, "/baton run Mind the migrations.")
        said = await w.until_says(number, "Decision D1")
        await until_answered(w, first, "eyes")
        asked = str(w.standin.requests[0].body)
        assert "In a database." in asked
        assert "Mind the migrations." in asked
        # The question is shown, with the line that answers it; foreign text in it reaches nobody and links nothing.
        assert '/baton decide D1 "use postgres"' in said
        for text in ("- `use postgres`", "- `sqlite`", "- `retry`", "- `skip`", "- `abort`", "@ada: Which database"):
            assert text in said, text
        assert "@eve" not in said
        assert "#12" not in said

        # Not heard: somebody without permission, a command in a quote, another word, an edited comment.
        strangers = [
            await w.comment(number, "/baton decide D1 sqlite", who="eve"),
            await w.comment(number, "> /baton stop"),
            await w.comment(number, "/batonize everything"),
        ]
        edited = await w.comment(number, "Let us see.")
        await w.api("PATCH", f"/issues/comments/{edited}", {"body": "/baton stop"})

        # Refused with a reason: no such choice, no such decision, no command, a second run.
        refused = {
            await w.comment(number, "/baton decide D1 mysql"): "has no choice",
            await w.comment(number, "/baton decide D9 sqlite"): "There is no decision",
        }
        for comment, why in refused.items():
            await until_answered(w, comment, "confused")
            await w.until_says(number, "Not done", why)
        for text, why in {"/baton dance": "is no command", "/baton run": "A run is at work"}.items():
            await w.comment(number, text)
            await w.until_says(number, why)

        answer = await w.comment(number, '/baton decide D1 "use postgres" we run it already')
        await until_answered(w, answer, "eyes")
        said = await w.until_says(number, "D1: `use postgres`, by @<!-- -->ada: we run it already", "pull request")
        assert "#### Decision D1" not in said
        await w.until_status(number, "waiting")
        for comment in [*strangers, edited]:
            assert await answers(w, comment) == []
        # A branch of ours is open, so a message asks for nothing that could not be done: but no decision is open.
        await w.comment(number, "/baton retry")
        await w.until_says(number, "No decision is open")
        handled = [entry.outcome for entry in await w.handled()]
        assert handled.count("answered") == 1
        assert handled.count("refused") == 3  # eve, and two decisions

        # Stopped: work is kept, the draft stays as it is, the comment says who.
        (pull,) = await w.pulls()
        stop = await w.comment(number, "/baton stop", who="ben")
        assert await w.until_closed(number) is WorkflowExecutionStatus.CANCELED
        await until_answered(w, stop, "eyes")
        said = await w.until_says(number, "**Baton** was stopped", "stopped by @<!-- -->ben")
        assert (await w.pulls()) == [pull]
        assert (await w.document(number)).status is RunStatus.STOPPED
        late = await w.comment(number, "/baton status")
        await until_answered(w, late, "confused")


async def test_a_second_run_of_an_issue_has_a_branch_and_a_comment_of_its_own(world) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("t1")), simple_task("t1", write("src/pages.txt", "pages\n")))
    async with world(script) as w:
        number = await w.issue("Add pages")
        await w.until_status(number, "waiting")
        # The label once more, and while the run is open: nothing happens.
        await w.api("DELETE", f"/issues/{number}/labels/baton")
        assert await w.until_closed(number) is WorkflowExecutionStatus.CANCELED
        assert "lost its label" in await w.until_says(number, "was stopped")
        await w.api("POST", f"/issues/{number}/labels", {"labels": ["baton"]})
        await w.until_status(number, "waiting", attempt=2)
        assert await w.runs() == [w.run_id(number), w.run_id(number, 2)]
        assert w.run_id(number, 2) == f"{w.run_id(number)}.2"
        branches = git(w.bare, "for-each-ref", "--format=%(refname:short)", "refs/heads/baton").splitlines()
        assert branches == [f"baton/issue-{number}-add-pages", f"baton/issue-{number}-add-pages-2"]
        assert len(await w.comments(number)) == 2
        # A review of the first run's pull request is none of the second one's business.
        first = next(pull for pull in await w.pulls() if pull["head"]["ref"] == branches[0])
        await w.review(first["number"], "REQUEST_CHANGES", "Make it blue.")
        # The issue is closed by hand: the run ends.
        await w.api("PATCH", f"/issues/{number}", {"state": "closed"})
        assert await w.until_closed(number, attempt=2) is WorkflowExecutionStatus.FAILED
        document = await w.document(number, attempt=2)
        assert document.status is RunStatus.STOPPED
        assert "the issue was closed by @ada" in document.notes[-1]
        assert [entry.id for entry in document.tasks] == ["t1"]
