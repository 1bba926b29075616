"""The workflow `Delivery`: one webhook request, from who may ask for it to the run that it concerns.

GitHub does not deliver again by itself, so this is durable: what GitHub or a missing credential keeps from being done
is done later. Nothing that strangers send makes it fail.
"""

from datetime import datetime
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.github.deliveries import DeliveringActivities, ends
    from activities.github.reads import ReadingActivities
    from activities.github.writes import WritingActivities
    from baton import naming
    from baton.policies import AWAY_WAITS
    from baton.records.issue import (
        DELIVERY_WORKFLOW,
        Check,
        Delivery,
        GitHubIssue,
        Pull,
        Removed,
        Review,
        Said,
        Start,
        Stop,
        issue_of_branch,
    )
    from baton.records.run import RunRequest
    from baton.replayed_figures import DELIVERY_LIMIT
    from baton.steps.github import (
        Deliver,
        Earlier,
        EarlierInput,
        FindRun,
        FoundRun,
        Handled,
        PullNumber,
        React,
        Reaction,
        Removal,
        WhoAsks,
    )
    from baton.text.truncation import cut
    from workflows.calls.github_queues import Outward
    from workflows.calls.handler_input import Unreadable, read
    from workflows.calls.workspace_host import StepFailed

_TASK_LIMIT = 60_000
_MAX_LOOKS = 5
"""How often a run may end, or be started by another delivery, between the search for it and the signal."""


@workflow.defn(name=DELIVERY_WORKFLOW)
class DeliveryWorkflow:
    """permission -> reaction -> find the run -> start, tell or stop it."""

    def __init__(self) -> None:
        self._outward = Outward(workflow.set_current_details, self._denied)
        self._denials = 0

    @workflow.run
    async def run(self, *given: Any) -> Handled:
        """Carry a delivery (`Delivery`) out and return its outcome."""
        try:
            delivery = read(Delivery, given)
        except Unreadable as fault:
            return Handled(outcome="ignored", reason=str(fault))
        try:
            return await self._handle(delivery)
        except StepFailed as failure:
            return Handled(outcome="failed", reason=str(failure))

    async def _handle(self, delivery: Delivery) -> Handled:
        matter = delivery.matter
        if isinstance(matter, Removed):
            stopped = await self._outward.inward(
                DeliveringActivities.stop_runs_of,
                Removal(repositories=matter.repositories, sender=delivery.sender, delivery=delivery.id),
                summary="stop the runs of what was removed",
            )
            return Handled(outcome="stopped", reason=cut(", ".join(stopped.runs), 1_000))
        if _asks(delivery):
            permission = await self._outward.read(
                ReadingActivities.check_permission,
                WhoAsks(repository=delivery.repository, sender=delivery.sender),
                summary=f"may {delivery.sender.login} ask?",
            )
            if not permission.allowed:
                # Without a word: an answer would be noise, and would tell strangers who may.
                return Handled(outcome="refused", reason=permission.reason)
        number = await self._issue(delivery)
        if number is None:
            await self._react(delivery, "confused")
            return Handled(outcome="ignored", reason="it concerns no branch of ours")
        if isinstance(matter, Start):
            return await self._start(delivery, matter)
        return await self._tell(delivery, number)

    async def _start(self, delivery: Delivery, matter: Start) -> Handled:
        await self._react(delivery, "eyes")
        found = await self._find(delivery, matter.number)
        for _ in range(_MAX_LOOKS):
            if found.taken:
                return await self._refused(delivery, found.run, found.taken)
            request: RunRequest | None = None
            if not found.open:
                earlier = await self._earlier(delivery, matter)
                if earlier.withdrawn:
                    return await self._refused(delivery, found.last, earlier.withdrawn)
                request = _request(delivery, matter, found, earlier)
            told = await self._outward.inward(
                DeliveringActivities.deliver,
                Deliver(
                    run=found.run, delivery=delivery.id, sender=delivery.sender, matter=_lean(matter), start=request
                ),
                summary=f"{'tell' if found.open else 'start'} {found.run}",
            )
            if not told.gone:
                return Handled(outcome="told" if found.open else "started", run=found.run)
            found = await self._find(delivery, matter.number)
        return Handled(outcome="failed", run=found.run, reason="its runs kept ending")

    async def _tell(self, delivery: Delivery, number: int) -> Handled:
        matter = delivery.matter
        found = await self._find(delivery, number)
        if found.taken:
            return await self._refused(delivery, found.run, found.taken)
        if not found.open:
            return await self._refused(delivery, found.last, "no run is at work on the issue")
        told = await self._outward.inward(
            DeliveringActivities.deliver,
            Deliver(run=found.run, delivery=delivery.id, sender=delivery.sender, matter=matter),
            summary=f"tell {found.run}",
        )
        refused = told.refused or ("the run has ended meanwhile" if told.gone else "")
        if refused:
            return await self._refused(delivery, found.run, refused)
        await self._react(delivery, "eyes")
        if isinstance(matter, Said) and matter.command.name == "decide":
            return Handled(outcome="answered", run=found.run)
        return Handled(outcome="stopped" if ends(matter) else "told", run=found.run)

    async def _issue(self, delivery: Delivery) -> int | None:
        """Return the issue that a delivery is about; that of a pull request is known by its branch."""
        match delivery.matter:
            case Said(on_pull=True, number=number):
                pull = await self._outward.read(
                    ReadingActivities.read_pull,
                    PullNumber(repository=delivery.repository, number=number),
                    summary=f"which branch is pull request {number} of?",
                )
                return issue_of_branch(pull.branch)
            case Start(number=number) | Said(number=number) | Stop(number=number):
                return number
            case Review(branch=branch) | Check(branch=branch) | Pull(branch=branch):
                return issue_of_branch(branch)
        return None

    async def _find(self, delivery: Delivery, number: int) -> FoundRun:
        return await self._outward.inward(
            DeliveringActivities.find_run,
            FindRun(repository=delivery.repository, number=number, to_start=isinstance(delivery.matter, Start)),
            summary=f"find the run of issue {number}",
        )

    async def _earlier(self, delivery: Delivery, matter: Start) -> Earlier:
        return await self._outward.read(
            ReadingActivities.read_comments,
            EarlierInput(
                repository=delivery.repository,
                number=matter.number,
                before=workflow.info().workflow_start_time,
                label=matter.label,
                closed=matter.closed,
            ),
            summary="what was said before",
        )

    async def _refused(self, delivery: Delivery, run: str, reason: str) -> Handled:
        await self._react(delivery, "confused")
        asked = isinstance(delivery.matter, Start | Said)
        return Handled(outcome="refused" if asked else "ignored", run=run, reason=reason)

    async def _react(self, delivery: Delivery, content: Reaction) -> None:
        """Answer the sender by a reaction. A reaction that could not be added is only logged."""
        matter = delivery.matter
        if not isinstance(matter, Start | Said):
            return
        reaction = React(repository=delivery.repository, number=matter.number, comment=matter.comment, content=content)
        try:
            await self._outward.write(WritingActivities.react, reaction, summary=f"react with {content}")
        except StepFailed as failure:
            workflow.logger.warning("no reaction: %s", failure)

    async def _denied(self, failure: StepFailed, _began: datetime) -> None:
        """Wait for a credential that is accepted, as long as GitHub itself could deliver again."""
        started = workflow.info().workflow_start_time
        if workflow.now() - started > DELIVERY_LIMIT:
            raise failure
        wait = AWAY_WAITS[min(self._denials, len(AWAY_WAITS) - 1)]
        self._denials += 1
        workflow.set_current_details(str(failure))
        await workflow.sleep(wait, summary="a credential that GitHub accepts")


def _asks(delivery: Delivery) -> bool:
    """Whether a delivery needs permission to write to the repository.

    What GitHub itself has let them do (to close an issue, to merge, to push) is a fact, and needs no leave of ours.
    """
    matter = delivery.matter
    return isinstance(matter, Start | Said | Review) or (isinstance(matter, Check) and matter.outcome == "rerequested")


def _request(delivery: Delivery, matter: Start, found: FoundRun, earlier: Earlier) -> RunRequest:
    """Return the request of a run as the issue is now: later edits do not change the run."""
    sender = delivery.sender
    issue = GitHubIssue(
        repository=delivery.repository,
        number=matter.number,
        title=matter.title,
        url=matter.url,
        requester=sender,
        branch=naming.github_branch(matter.number, matter.title, found.attempt),
    )
    parts = [matter.title or f"Issue {matter.number}", matter.body, matter.text, earlier.text]
    return RunRequest(
        task=cut("\n\n".join(part for part in parts if part), _TASK_LIMIT),
        repo=delivery.repository.clone_url,
        run=found.run,
        started_by=f"@{sender.login}",
        github=issue,
    )


def _lean(matter: Start) -> Start:
    """Return the payload without the issue's text, which is in the request."""
    return matter.model_copy(update={"body": ""})
