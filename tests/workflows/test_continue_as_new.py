"""A run whose pull request is reviewed for months continues as new while it waits, and loses nothing by that."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from baton import identifiers
from baton.records.issue import (
    EventPayload,
    GitHubIssue,
    GitHubSignal,
    PullRequestEvent,
    Repository,
    ReviewEvent,
    Sender,
)
from baton.records.run import Decide, Guide, RunDocument, RunLimits, RunRequest, RunStatus, TaskState
from tests.support.history_size import read_history_size
from tests.workflows.scripted import Script
from workers.embedded.server import find_temporal
from workers.search_attributes import ensure_search_attributes
from workflows.pipeline import Pipeline
from workflows.registry import WORKFLOWS
from workflows.state.visibility import STATUS

SUGGEST_AFTER = 300
"""Events after which the server of these tests suggests to continue as new."""

BOUND = 2 * SUGGEST_AFTER
"""A round that has begun goes on to its end."""

REPOSITORY = Repository(owner="ada", name="shop", clone_url="https://github.example.org/ada/shop.git")
ADA = Sender(login="ada", id=1)
BRANCH = "baton/issue-7-pages"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def script() -> AsyncIterator[Script]:
    """A worker that answers every step from a script, and a server that soon suggests to continue as new."""
    extra = ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={SUGGEST_AFTER}"]
    extra += ["--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000"]
    async with await WorkflowEnvironment.start_local(
        data_converter=pydantic_data_converter,
        dev_server_existing_path=str(find_temporal()),
        dev_server_extra_args=extra,
    ) as env:
        await ensure_search_attributes(env.client)
        script = Script(env.client, asks=False, limits=RunLimits(rounds=10, wall_clock_seconds=86_400))
        queues = (identifiers.TASK_QUEUE, identifiers.GITHUB_QUEUE, identifiers.GITHUB_READS)
        workers = [
            Worker(env.client, task_queue=queue, workflows=WORKFLOWS, activities=[script.step]) for queue in queues
        ]
        async with workers[0], workers[1], workers[2]:
            yield script


class Run:
    """One run on its issue, and what people do there."""

    def __init__(self, script: Script, run: str) -> None:
        self.script = script
        self.run = run
        self.deliveries = 0
        self.handle: WorkflowHandle[Pipeline, RunDocument] = script.client.get_workflow_handle_for(Pipeline.run, run)

    async def start(self) -> None:
        issue = GitHubIssue(repository=REPOSITORY, number=7, title="Add pages", requester=ADA, branch=BRANCH)
        request = RunRequest(task="Add pages", repo=REPOSITORY.clone_url, github=issue)
        await self.script.client.start_workflow(Pipeline.run, request, id=self.run, task_queue=identifiers.TASK_QUEUE)

    async def tell(self, matter: EventPayload, *, delivery: str = "") -> str:
        self.deliveries += 1
        delivery = delivery or f"delivery-{self.deliveries}"
        await self.handle.signal("github", GitHubSignal(delivery=delivery, sender=ADA, matter=matter))
        return delivery

    async def review(self, text: str, *, delivery: str = "") -> str:
        review = ReviewEvent(pull=8, branch=BRANCH, state="changes_requested", body=text, id=1)
        return await self.tell(review, delivery=delivery)

    async def until_answered(self, rounds: int) -> RunDocument:
        """Wait until this many rounds have been published, and the run waits again; decisions are answered by retry."""
        async with asyncio.timeout(300):
            while True:
                document = await self.handle.query(Pipeline.state)
                assert not document.status.is_final, document
                for decision in document.decisions:
                    if decision.state == "open":
                        answer = Decide(decision_id=decision.id, choice="retry", by="ada")
                        await self.handle.execute_update(Pipeline.submit_decision, answer)
                waits = document.status is RunStatus.WAITING and "run" in document.waiting_for
                if waits and self.script.opened[self.run] == rounds:
                    return document
                await asyncio.sleep(0.02)

    async def executions(self) -> int:
        size = await read_history_size(self.script.client, self.run)
        return size.executions["Pipeline"]


async def check_reviews(script: Script, run_id: str, rounds: int) -> None:
    """Have that many reviews answered, merge, and check what the run remembers and how long its histories are."""
    run = Run(script, run_id)
    await run.start()
    before = await run.until_answered(0)
    first = ""
    for number in range(1, rounds + 1):
        delivery = await run.review(f"Review {number}")
        first = first or delivery
        document = await run.until_answered(number)
    assert await run.executions() > 2
    # What was taken in by the first execution is known to the last one.
    await run.review("Review 1", delivery=first)
    await run.handle.signal(Pipeline.guide, Guide(text="One thing more."))
    document = await run.until_answered(rounds + 1)
    assert document.started_at == before.started_at
    assert document.branch == BRANCH
    assert [decision.id for decision in document.decisions] == [f"D{n}" for n in range(1, len(document.decisions) + 1)]
    assert len(document.decisions) == rounds // 30
    assert all(task.state is TaskState.DONE for task in document.tasks)
    assert document.tasks[0].id == "t1"
    assert document.tasks[-1].id == f"follow-up-{rounds + 1}"
    assert len(document.tasks) <= min(2 + rounds + 1, 100)
    asked = script.feedback[run_id]
    assert asked == [*(f"Review {number}" for number in range(1, rounds + 1)), "One thing more."]
    await run.tell(PullRequestEvent(branch=BRANCH, outcome="merged"))
    async with asyncio.timeout(300):
        document = await run.handle.result()
    assert document.status is RunStatus.DONE
    size = await read_history_size(script.client, run_id)
    assert size.longest < BOUND, size
    assert size.largest < 1_000_000, size
    described = await run.handle.describe()
    assert described.status is WorkflowExecutionStatus.COMPLETED
    assert described.typed_search_attributes[STATUS] == "done"


async def test_reviews_are_answered_by_one_execution_after_the_other(script: Script, run_id: str) -> None:
    await check_reviews(script, run_id, 12)


@pytest.mark.soak
async def test_five_hundred_reviews_leave_short_histories(script: Script, run_id: str) -> None:
    await check_reviews(script, run_id, 500)
