"""An issue becomes a merged pull request, as people see it on GitHub."""

from temporalio.client import WorkflowExecutionStatus

from baton.contracts import RunStatus
from standin.scenario import Scenario
from tests.github.emulator import BOT
from tests.pipelines.repositories import git
from tests.pipelines.scripts import made, plan, reviewed, scenario, session, simple_task, task, tested, write


def script() -> Scenario:
    return scenario(
        plan(task("t1")),
        simple_task("t1", write("src/pages.txt", "page size 20\n")),
        session("backend", "follow-up", [[write("src/pages.txt", "page size 50\n")], [made()]]),
        session("tester", "follow-up", [[tested()]]),
        session("reviewer", "follow-up", [[reviewed()]]),
    )


async def test_from_the_label_to_the_merge(world) -> None:  # type: ignore[no-untyped-def]
    async with world(script()) as w:
        number = await w.issue("Add pages", "Orders come in pages.")
        pull = await w.until_pull()
        await w.until_status(number, "waiting")
        assert pull["draft"]
        assert pull["user"]["login"] == BOT
        assert pull["head"]["ref"] == f"baton/issue-{number}-add-pages"
        assert f"Closes #{number}" in pull["body"]
        first = w.head(pull["head"]["ref"])
        said = await w.until_says(number, "waits for a review, or the merge")
        print(said)
        print(pull["body"])
        await w.review(pull["number"], "REQUEST_CHANGES", "Twenty is too few; make it 50.", who="ben")
        await w.until_says(number, "round 1 for")
        await w.until_status(number, "waiting")
        second = w.head(pull["head"]["ref"])
        assert git(w.bare, "rev-parse", f"{second}~1") == first
        await w.merge(pull["number"])
        assert await w.until_closed(number) is WorkflowExecutionStatus.COMPLETED
        document = await w.document(number)
        print(await w.says(number))
        print(await w.handled())
    assert document.status is RunStatus.DONE
