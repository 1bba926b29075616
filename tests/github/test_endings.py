"""What ends a run besides its merge, the next run of its issue, and ids that are taken by another repository's run."""

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus

from baton.records.run import Guide, RunRequest, RunStatus
from baton.steps.github import DeliveryOutcome
from standin.script.scenario import Fault, ScriptedStep
from tests.conftest import assert_eventually
from tests.support.repositories import git
from tests.support.scripts import made, plan, scenario, session, simple_task, task, write
from workflows.pipeline import Pipeline


async def test_a_run_without_its_label_stops_and_the_next_one_is_merged_in_the_middle_of_a_round(world) -> None:  # type: ignore[no-untyped-def]
    """The second run has a branch and a comment of its own. What is there when it is merged is what they wanted."""
    slow = ScriptedStep(calls=[made()], faults=[Fault(delay=20.0)])
    script = scenario(
        plan(task("t1")),
        simple_task("t1", write("src/pages.txt", "page size 20\n")),
        session("backend", "follow-up", [slow]),
    )
    async with world(script) as w:
        number = await w.issue("Add pages")
        await w.until_status(number, "waiting")
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
        pulls = {pull["head"]["ref"]: pull["number"] for pull in await w.pulls()}
        # A review of the first run's pull request is none of the second one's business.
        await w.review(pulls[branches[0]], "REQUEST_CHANGES", "Make it blue.")
        head = w.head(branches[1])

        # By the command line: nobody is at work, so it asks for a round.
        await w.run(number, 2).signal(Pipeline.guide, Guide(text="Make it 30."))
        await assert_eventually(lambda: "follow-up" in {r.task for r in w.standin.requests})
        await w.merge(pulls[branches[1]])
        assert await w.until_closed(number, attempt=2) is WorkflowExecutionStatus.COMPLETED
        document = await w.document(number, attempt=2)
        assert document.status is RunStatus.DONE
        assert [(entry.id, entry.state.value) for entry in document.tasks] == [("t1", "done"), ("follow-up", "skipped")]
        said = (await w.comments(number))[-1]["body"]
        assert "**Baton** is done" in said
        assert "round 1 for message of the command line" in said
        assert [check["conclusion"] for check in await w.checks(head)] == ["success"]


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
        (handled,) = [entry for entry in await w.handled() if isinstance(entry, DeliveryOutcome)]
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
        async with w.unheard("issues.labeled", "issues.unlabeled"):
            mistaken = await w.issue("By mistake")
            issue = await w.api("GET", f"/issues/{mistaken}")
            await w.api("DELETE", f"/issues/{mistaken}/labels/baton")
        said = await w.deliver("issues", {"action": "labeled", "issue": issue, "label": {"name": "baton"}})
        delivery = w.client.get_workflow_handle(said.json()["workflow"], result_type=DeliveryOutcome)
        handled = await delivery.result()
        assert (handled.outcome, handled.reason) == ("refused", "the label was taken away before the run could start")
        assert await w.runs() == [w.run_id(number)]
        # Nor does a stranger's label start one.
        issue["labels"] = [{"name": "baton"}]
        sender = {"login": "eve", "id": 3, "type": "User"}
        asked = {"action": "labeled", "issue": issue, "label": {"name": "baton"}, "sender": sender}
        said = await w.deliver("issues", asked)
        handled = await w.client.get_workflow_handle(said.json()["workflow"], result_type=DeliveryOutcome).result()
        assert (handled.outcome, handled.reason) == ("refused", f"eve may not write to {w.full_name}")

        events = [event async for event in other.fetch_history_events()]
        assert len(events) == 2  # started, and its first task is scheduled
        # The App is taken off the other account: that run is told, and asked to end.
        account = {"login": "Another", "id": 9, "type": "Organization"}
        gone = {"action": "deleted", "installation": {"id": 101, "account": account}}
        said = await w.deliver("installation", gone)
        handled = await w.client.get_workflow_handle(said.json()["workflow"], result_type=DeliveryOutcome).result()
        assert (handled.outcome, handled.reason) == ("stopped", w.run_id(number))
        events = [event async for event in other.fetch_history_events()]
        kinds = [event.event_type for event in events[2:]]
        assert kinds == [
            EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
            EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED,
        ]
        await other.terminate()
