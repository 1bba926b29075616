"""Commands in comments: who is heard, what answers, and where a refusal says why."""

import asyncio
from datetime import UTC, datetime

from pydantic import SecretStr
from temporalio.client import WorkflowExecutionStatus

from activities.github.comment_marker import MARKER
from baton import identifiers
from baton.records.run import RunStatus
from baton.steps.github import DeliveryOutcome
from standin.script.scenario import Fault, ScriptedStep
from tests.support.github.emulator import BOT, OWNER, token_of
from tests.support.github.world import World
from tests.support.repositories import CONFIG, git
from tests.support.scripts import escalate, made, plan, reviewed, scenario, session, task, tested, write
from workspaces.store.store import Store


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
    remind = {"baton.toml": f"{CONFIG}\n[decisions]\nremind = 2\n"}
    async with world(script, files=remind) as w:
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
        assert "Not done" not in said
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

        # A message waits for the agent that goes on; the other two bring the comment up to date.
        for text in ("/baton guide Mind the time zones.", "/baton status", "/baton help"):
            await until_answered(w, await w.comment(number, text), "eyes")

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

        # Nobody answers: the comment is edited, and names who asked for the run.
        said = await w.until_says(number, "This is reminder ")
        assert "@ada: Which database" in said

        answer = await w.comment(number, '/baton decide D1 "use postgres" we run it already')
        await until_answered(w, answer, "eyes")
        said = await w.until_says(
            number, "D1: `use postgres`, by @<!-- -->ada: we run it already", "waits for a review"
        )
        assert "#### Decision D1" not in said
        told = [str(r.body) for r in w.standin.requests if "Mind the time zones." in str(r.body)]
        assert told
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


async def test_many_deliveries_of_a_label_are_one_run_and_a_token_does_without_an_app(world) -> None:  # type: ignore[no-untyped-def]
    """Each with an id of its own, all at once: what makes them one is the id of the run."""
    first = ScriptedStep(calls=[write("src/pages.txt", "pages\n")], faults=[Fault(status=400)])
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [first, [made()]]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    token = {"github_app_id": None, "github_private_key": None, "github_token": SecretStr(token_of(OWNER))}
    async with world(script, **token, github_coauthor=False, web_ui="https://temporal.example.org") as w:
        await w.hook_by_hand()
        minted = len(w.hub.minted)
        async with w.unheard("issues.labeled"):
            number = await w.issue("Add pages")
        # A run of the issue is in the store, and Temporal has forgotten it: the next one does not go on in its lanes.
        store = await Store.open(w.settings.home, w.clone_url)
        forgotten, at = identifiers.run_ref(w.run_id(number)), datetime.now(UTC)
        await store.commit_files(forgotten, expected=None, files={"request.json": b"{}"}, message="old", at=at)
        run = w.run_id(number, 2)
        issue = await w.api("GET", f"/issues/{number}")
        payload = {"action": "labeled", "issue": issue, "label": {"name": "Baton"}}
        said = await asyncio.gather(*(w.deliver("issues", payload) for _ in range(20)))
        assert {answer.status_code for answer in said} == {202}
        found: list[str] = []

        async def says(text: str) -> None:
            async def there() -> bool:
                nonlocal found
                found = [comment["body"] for comment in await w.api("GET", f"/issues/{number}/comments")]
                return any(text in body for body in found)

            await w.until(there, lambda: f"{text} in {found}")

        await says("Decision D1")
        for answer in said:
            handled = await w.client.get_workflow_handle(
                answer.json()["workflow"], result_type=DeliveryOutcome
            ).result()
            assert (handled.outcome in ("started", "told"), handled.run) == (True, run), handled
        assert await w.runs() == [run]
        # A token's comments are its person's: the marker tells them from what the person says.
        assert len(found) == 1
        await w.comment(number, "/baton retry")
        await says("D1: `retry`, by @<!-- -->ada")

        # The rest is as with an App, but for a commit status in the place of the check run.
        pull = await w.until_pull()
        await w.until_status(number, "waiting", attempt=2)
        branch = f"baton/issue-{number}-add-pages-2"
        assert (pull["draft"], pull["user"]["login"], pull["head"]["ref"]) == (True, OWNER, branch)
        statuses = [(status["context"], status["state"]) for status in w.hub.statuses[w.head(branch)]]
        assert statuses == [("Baton", "success")]
        assert "Co-authored-by" not in git(w.bare, "log", "-1", "--format=%B", branch)
        assert f"[The run {run}](https://temporal.example.org/" in pull["body"].replace("\\", "")

        # The issue is closed by hand: the run ends, and the draft stays as it is.
        await w.api("PATCH", f"/issues/{number}", {"state": "closed"})
        assert await w.until_closed(number, attempt=2) is WorkflowExecutionStatus.FAILED
        document = await w.document(number, attempt=2)
        assert document.status is RunStatus.STOPPED
        assert "the issue was closed by @ada" in document.notes[-1]
        await says("**Baton** was stopped")
        assert [left["draft"] for left in await w.pulls("open")] == [True]
        assert len([body for body in found if body.startswith(MARKER)]) == 1
        assert len(w.hub.minted) == minted
