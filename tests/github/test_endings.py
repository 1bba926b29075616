"""What ends a run besides a merge, and ids that are taken: by another repository, or by a run that was forgotten."""

from datetime import UTC, datetime, timedelta

from temporalio.client import WorkflowExecutionStatus

from baton import naming
from baton.contracts import Guide, RunRequest, RunStatus
from baton.github_steps import Handled
from standin.scenario import Fault, Step
from tests.conftest import assert_eventually
from tests.github.emulator import OWNER
from tests.pipelines.scripts import made, plan, scenario, session, simple_task, task, write
from workflows.pipeline import Pipeline
from workspaces.store import Store


async def test_the_app_loses_the_repository_in_the_middle_of_a_round(world) -> None:  # type: ignore[no-untyped-def]
    slow = Step(calls=[made()], faults=[Fault(delay=20.0)])
    script = scenario(
        plan(task("t1")),
        simple_task("t1", write("src/pages.txt", "page size 20\n")),
        session("backend", "follow-up", [slow]),
    )
    async with world(script) as w:
        # A run of the issue is in the store, and Temporal has forgotten it: the next one does not go on in its lanes.
        store = await Store.open(w.settings.home, w.clone_url)
        forgotten = naming.run_ref(w.run_id(1))
        at = datetime.now(UTC)
        await store.commit_files(forgotten, expected=None, files={"request.json": b"{}"}, message="old", at=at)
        number = await w.issue("Add pages")
        assert number == 1
        pull = await w.until_pull()
        await w.until_status(number, "waiting", attempt=2)
        head = w.head(f"baton/issue-{number}-add-pages-2")

        await w.review(pull["number"], "REQUEST_CHANGES", "Make it 30.")
        await assert_eventually(
            lambda: "follow-up" in {r.task for r in w.standin.requests}, within=timedelta(seconds=60)
        )
        (check,) = await w.checks(head)
        assert check["status"] == "in_progress"
        said = await w.deliver(
            "installation_repositories",
            {
                "action": "removed",
                "installation": {"id": 100, "account": {"login": OWNER, "id": 3, "type": "User"}},
                "repositories_removed": [{"id": 1, "full_name": w.full_name, "name": w.name, "private": False}],
            },
        )
        assert said.status_code == 202, said.text
        assert await w.until_closed(number, attempt=2) is WorkflowExecutionStatus.CANCELED
        document = await w.document(number, attempt=2)
        assert document.status is RunStatus.STOPPED
        assert "the App was removed from" in document.notes[-1]
        assert "was stopped" in await w.says(number)
        (check,) = await w.checks(head)
        assert check["conclusion"] == "cancelled"
        # The draft stays as it is, and so does the branch.
        (left,) = await w.pulls("open")
        assert left["draft"]
        assert w.head(f"baton/issue-{number}-add-pages-2") == head


async def test_the_id_belongs_to_another_repository(world) -> None:  # type: ignore[no-untyped-def]
    """`a-b/c` and `a/b-c` would have the same ids: the second one is refused, and touches nothing of the first."""
    async with world(scenario(plan())) as w:
        number = await w.issue("Add pages", label=None)
        other = await w.client.start_workflow(
            Pipeline.run,
            RunRequest(task="x", repo="/nowhere"),
            id=w.run_id(number),
            task_queue="nobody-polls-this",
            memo={"github": f"another/repository#{number}"},
        )
        comment = await w.comment(number, "/baton run")

        async def confused() -> bool:
            return any(f"/comments/{comment}" in place and said == "confused" for place, _, said in w.hub.reactions)

        await w.until(confused, lambda: "the reaction")
        (handled,) = [entry for entry in await w.handled() if isinstance(entry, Handled)]
        assert handled.outcome == "refused"
        assert "belongs to a run of another/repository" in handled.reason
        # An issue that no run ever was for is closed: nothing is made for its repository here.
        unrelated = await w.issue("Something else", label=None)
        await w.api("PATCH", f"/issues/{unrelated}", {"state": "closed"})

        async def ignored() -> bool:
            return [entry.outcome for entry in await w.handled()] == ["refused", "ignored"]

        await w.until(ignored, lambda: "the closed issue")
        assert not (w.settings.home / "stores").exists()
        # A label that was taken away again before there was a run to stop: none is started.
        with w.unheard():
            mistaken = await w.issue("By mistake")
            issue = await w.api("GET", f"/issues/{mistaken}")
            await w.api("DELETE", f"/issues/{mistaken}/labels/baton")
        said = await w.deliver("issues", {"action": "labeled", "issue": issue, "label": {"name": "baton"}})
        delivery = w.client.get_workflow_handle(said.json()["workflow"], result_type=Handled)
        handled = await delivery.result()
        assert (handled.outcome, handled.reason) == ("refused", "the label was taken away before the run could start")
        assert await w.runs() == [w.run_id(number)]
        events = [event async for event in other.fetch_history_events()]
        assert len(events) == 2  # started, and its first task is scheduled
        await other.terminate()


async def test_the_pull_request_is_merged_in_the_middle_of_a_round(world) -> None:  # type: ignore[no-untyped-def]
    """What is there is what they wanted: the round is broken off, and the run is done."""
    slow = Step(calls=[made()], faults=[Fault(delay=20.0)])
    script = scenario(
        plan(task("t1")),
        simple_task("t1", write("src/pages.txt", "page size 20\n")),
        session("backend", "follow-up", [slow]),
    )
    async with world(script) as w:
        number = await w.issue("Add pages")
        pull = await w.until_pull()
        await w.until_status(number, "waiting")
        head = w.head(pull["head"]["ref"])
        # By the command line: nobody is at work, so it asks for a round.
        await w.run(number).signal(Pipeline.guide, Guide(text="Make it 30."))
        await assert_eventually(
            lambda: "follow-up" in {r.task for r in w.standin.requests}, within=timedelta(seconds=60)
        )
        await w.merge(pull["number"])
        assert await w.until_closed(number) is WorkflowExecutionStatus.COMPLETED
        document = await w.document(number)
        assert document.status is RunStatus.DONE
        assert [(entry.id, entry.state.value) for entry in document.tasks] == [("t1", "done"), ("follow-up", "skipped")]
        said = await w.says(number)
        assert "**Baton** is done" in said
        assert "round 1 for message of the command line" in said
        (check,) = await w.checks(head)
        assert check["conclusion"] == "success"
        assert w.head(pull["head"]["ref"]) == head
