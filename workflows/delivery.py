"""The workflow `Delivery`: one webhook request, from who may ask for it to the run that it concerns.

GitHub does not deliver again by itself, so this is durable: what GitHub or a missing credential keeps from being done
is done later. Nothing that strangers send makes it fail.
"""

from datetime import datetime
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.github.deliveries import DeliveryActivities, ends_run
    from activities.github.reads import GitHubReadActivities
    from activities.github.writes import GitHubWriteActivities
    from baton import identifiers
    from baton.policies import UNREACHABLE_WAITS
    from baton.records.issue import (
        DELIVERY_WORKFLOW,
        CheckEvent,
        CommentCommand,
        Delivery,
        GitHubIssue,
        PullRequestEvent,
        RepositoriesRemoved,
        ReviewEvent,
        RunRequested,
        StopRequested,
        issue_of_branch,
    )
    from baton.records.run import RunRequest
    from baton.replayed_figures import MAX_DELIVERY_TIME
    from baton.steps.github import (
        CheckPermissionInput,
        DeliverInput,
        DeliveryOutcome,
        EarlierComments,
        FindRunInput,
        FoundRun,
        Reaction,
        ReactionInput,
        ReadCommentsInput,
        ReadPullInput,
        StopRunsInput,
    )
    from baton.text.truncation import cut_text
    from workflows.calls.github_queues import GitHubQueues
    from workflows.calls.handler_input import InvalidInput, parse_input
    from workflows.calls.workspace_host import StepFailed

_TASK_LIMIT = 60_000
_MAX_LOOKS = 5
"""How often a run may end, or be started by another delivery, between the search for it and the signal."""


@workflow.defn(name=DELIVERY_WORKFLOW)
class DeliveryWorkflow:
    """permission -> reaction -> find the run -> start, tell or stop it."""

    def __init__(self) -> None:
        self._outward = GitHubQueues(workflow.set_current_details, self._await_credential)
        self._denials = 0

    @workflow.run
    async def run(self, *given: Any) -> DeliveryOutcome:
        """Carry a delivery (`Delivery`) out and return its outcome."""
        try:
            delivery = parse_input(Delivery, given)
        except InvalidInput as fault:
            return DeliveryOutcome(outcome="ignored", reason=str(fault))
        try:
            return await self._handle_delivery(delivery)
        except StepFailed as failure:
            return DeliveryOutcome(outcome="failed", reason=str(failure))

    async def _handle_delivery(self, delivery: Delivery) -> DeliveryOutcome:
        matter = delivery.matter
        if isinstance(matter, RepositoriesRemoved):
            stopped = await self._outward.call_temporal(
                DeliveryActivities.stop_runs_of,
                StopRunsInput(repositories=matter.repositories, sender=delivery.sender, delivery=delivery.id),
                summary="stop the runs of what was removed",
            )
            return DeliveryOutcome(outcome="stopped", reason=cut_text(", ".join(stopped.runs), 1_000))
        if _needs_permission(delivery):
            permission = await self._outward.call_read(
                GitHubReadActivities.check_permission,
                CheckPermissionInput(repository=delivery.repository, sender=delivery.sender),
                summary=f"may {delivery.sender.login} ask?",
            )
            if not permission.allowed:
                # Without a word: an answer would be noise, and would tell strangers who may.
                return DeliveryOutcome(outcome="refused", reason=permission.reason)
        number = await self._find_issue(delivery)
        if number is None:
            await self._add_reaction(delivery, "confused")
            return DeliveryOutcome(outcome="ignored", reason="it concerns no branch of ours")
        if isinstance(matter, RunRequested):
            return await self._start_run(delivery, matter)
        return await self._signal_run(delivery, number)

    async def _start_run(self, delivery: Delivery, matter: RunRequested) -> DeliveryOutcome:
        await self._add_reaction(delivery, "eyes")
        found = await self._find_run(delivery, matter.number)
        for _ in range(_MAX_LOOKS):
            if found.taken:
                return await self._refuse_delivery(delivery, found.run, found.taken)
            request: RunRequest | None = None
            if not found.open:
                earlier = await self._read_earlier_comments(delivery, matter)
                if earlier.withdrawn:
                    return await self._refuse_delivery(delivery, found.last, earlier.withdrawn)
                request = _make_request(delivery, matter, found, earlier)
            told = await self._outward.call_temporal(
                DeliveryActivities.deliver,
                DeliverInput(
                    run=found.run,
                    delivery=delivery.id,
                    sender=delivery.sender,
                    matter=_without_body(matter),
                    start=request,
                ),
                summary=f"{'tell' if found.open else 'start'} {found.run}",
            )
            if not told.gone:
                return DeliveryOutcome(outcome="told" if found.open else "started", run=found.run)
            found = await self._find_run(delivery, matter.number)
        return DeliveryOutcome(outcome="failed", run=found.run, reason="its runs kept ending")

    async def _signal_run(self, delivery: Delivery, number: int) -> DeliveryOutcome:
        matter = delivery.matter
        found = await self._find_run(delivery, number)
        if found.taken:
            return await self._refuse_delivery(delivery, found.run, found.taken)
        if not found.open:
            return await self._refuse_delivery(delivery, found.last, "no run is at work on the issue")
        told = await self._outward.call_temporal(
            DeliveryActivities.deliver,
            DeliverInput(run=found.run, delivery=delivery.id, sender=delivery.sender, matter=matter),
            summary=f"tell {found.run}",
        )
        refused = told.refused or ("the run has ended meanwhile" if told.gone else "")
        if refused:
            return await self._refuse_delivery(delivery, found.run, refused)
        await self._add_reaction(delivery, "eyes")
        if isinstance(matter, CommentCommand) and matter.command.name == "decide":
            return DeliveryOutcome(outcome="answered", run=found.run)
        return DeliveryOutcome(outcome="stopped" if ends_run(matter) else "told", run=found.run)

    async def _find_issue(self, delivery: Delivery) -> int | None:
        """Return the issue that a delivery is about; that of a pull request is known by its branch."""
        match delivery.matter:
            case CommentCommand(on_pull=True, number=number):
                pull = await self._outward.call_read(
                    GitHubReadActivities.read_pull,
                    ReadPullInput(repository=delivery.repository, number=number),
                    summary=f"which branch is pull request {number} of?",
                )
                return issue_of_branch(pull.branch)
            case RunRequested(number=number) | CommentCommand(number=number) | StopRequested(number=number):
                return number
            case ReviewEvent(branch=branch) | CheckEvent(branch=branch) | PullRequestEvent(branch=branch):
                return issue_of_branch(branch)
        return None

    async def _find_run(self, delivery: Delivery, number: int) -> FoundRun:
        return await self._outward.call_temporal(
            DeliveryActivities.find_run,
            FindRunInput(
                repository=delivery.repository, number=number, to_start=isinstance(delivery.matter, RunRequested)
            ),
            summary=f"find the run of issue {number}",
        )

    async def _read_earlier_comments(self, delivery: Delivery, matter: RunRequested) -> EarlierComments:
        return await self._outward.call_read(
            GitHubReadActivities.read_comments,
            ReadCommentsInput(
                repository=delivery.repository,
                number=matter.number,
                before=workflow.info().workflow_start_time,
                label=matter.label,
                closed=matter.closed,
            ),
            summary="what was said before",
        )

    async def _refuse_delivery(self, delivery: Delivery, run: str, reason: str) -> DeliveryOutcome:
        await self._add_reaction(delivery, "confused")
        asked = isinstance(delivery.matter, RunRequested | CommentCommand)
        return DeliveryOutcome(outcome="refused" if asked else "ignored", run=run, reason=reason)

    async def _add_reaction(self, delivery: Delivery, content: Reaction) -> None:
        """Answer the sender by a reaction. A reaction that could not be added is only logged."""
        matter = delivery.matter
        if not isinstance(matter, RunRequested | CommentCommand):
            return
        reaction = ReactionInput(
            repository=delivery.repository, number=matter.number, comment=matter.comment, content=content
        )
        try:
            await self._outward.call_write(GitHubWriteActivities.react, reaction, summary=f"react with {content}")
        except StepFailed as failure:
            workflow.logger.warning("no reaction: %s", failure)

    async def _await_credential(self, failure: StepFailed, _began: datetime) -> None:
        """Wait for a credential that is accepted, as long as GitHub itself could deliver again."""
        started = workflow.info().workflow_start_time
        if workflow.now() - started > MAX_DELIVERY_TIME:
            raise failure
        wait = UNREACHABLE_WAITS[min(self._denials, len(UNREACHABLE_WAITS) - 1)]
        self._denials += 1
        workflow.set_current_details(str(failure))
        await workflow.sleep(wait, summary="a credential that GitHub accepts")


def _needs_permission(delivery: Delivery) -> bool:
    """Whether a delivery needs permission to write to the repository.

    What GitHub itself has let them do (to close an issue, to merge, to push) is a fact, and needs no leave of ours.
    """
    matter = delivery.matter
    return isinstance(matter, RunRequested | CommentCommand | ReviewEvent) or (
        isinstance(matter, CheckEvent) and matter.outcome == "rerequested"
    )


def _make_request(delivery: Delivery, matter: RunRequested, found: FoundRun, earlier: EarlierComments) -> RunRequest:
    """Return the request of a run as the issue is now: later edits do not change the run."""
    sender = delivery.sender
    issue = GitHubIssue(
        repository=delivery.repository,
        number=matter.number,
        title=matter.title,
        url=matter.url,
        requester=sender,
        branch=identifiers.github_branch(matter.number, matter.title, found.attempt),
    )
    parts = [matter.title or f"Issue {matter.number}", matter.body, matter.text, earlier.text]
    return RunRequest(
        task=cut_text("\n\n".join(part for part in parts if part), _TASK_LIMIT),
        repo=delivery.repository.clone_url,
        run=found.run,
        started_by=f"@{sender.login}",
        github=issue,
    )


def _without_body(matter: RunRequested) -> RunRequested:
    """Return the payload without the issue's text, which is in the request."""
    return matter.model_copy(update={"body": ""})
