"""The deliveries of GitHub's webhook: find the run of an issue in Temporal, start it, signal it, or stop it."""

import contextlib
from collections.abc import Sequence

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.runtime.step import step
from activities.runtime.stores import Stores
from baton import identifiers
from baton.errors import ConfigurationError
from baton.logs import get_logger
from baton.records.issue import CommentCommand, EventPayload, GitHubSignal, Repository, StopRequested
from baton.records.run import Decide, Decision, RunRequest
from baton.steps.github import DeliverInput, DeliveryResult, FindRunInput, FoundRun, StoppedRuns, StopRunsInput
from baton.text.markdown import escape_markdown
from baton.text.request_details import request_details

_log = get_logger(__name__)

PIPELINE = "Pipeline"
_KEY = "github"
"""Name of the memo with the issue of a run, and of the signal that carries a notice."""
_MAX_RUNS = 500


class DeliveryActivities:
    """The activities `find_run`, `deliver` and `stop_runs_of`."""

    def __init__(self, client: Client, stores: Stores, task_queue: str) -> None:
        self._client = client
        self._stores = stores
        self._task_queue = task_queue

    @step("find_run")
    async def find_run(self, wanted: FindRunInput) -> FoundRun:
        """Return the open run of an issue, or the id of its next run. The id of an ended run is never used again."""
        repository, last = wanted.repository, ""
        for attempt in range(1, _MAX_RUNS):
            run = identifiers.github_run_id(repository.owner, repository.name, wanted.number, attempt)
            found = await self._describe_run(run)
            if found is None:
                if not await self._store_has_run(repository, run, make=wanted.to_start):
                    return FoundRun(run=run, attempt=attempt, last=last)
            elif found.workflow_type != PIPELINE or await _issue_of(found) != _issue_key(wanted):
                whose = await _issue_of(found) or "somebody else"
                return FoundRun(run=run, taken=f"The id {run} belongs to a run of {whose}, so no run can start here.")
            elif found.status is WorkflowExecutionStatus.RUNNING:
                return FoundRun(run=run, attempt=attempt, open=True, last=last)
            last = run
        return FoundRun(run=last, taken=f"The issue has had {_MAX_RUNS} runs; that is enough.")

    @step("deliver")
    async def deliver(self, deliver: DeliverInput) -> DeliveryResult:
        """Signal a run, and start it if it is to be started. Idempotent, since a run handles each delivery once."""
        matter = deliver.matter
        notice = GitHubSignal(delivery=deliver.delivery, sender=deliver.sender, matter=matter)
        try:
            if deliver.start is not None:
                await self._start_run(deliver.run, deliver.start, notice)
                return DeliveryResult()
            handle = self._client.get_workflow_handle(deliver.run)
            if isinstance(matter, CommentCommand) and matter.command.name == "decide":
                refusal = await self._submit_decision(deliver, matter)
                if refusal:
                    # A refused update leaves no trace in the run; by the signal the run shows the reason.
                    await handle.signal(_KEY, notice.model_copy(update={"refused": refusal}))
                return DeliveryResult(refused=refusal)
            await handle.signal(_KEY, notice)
            if ends_run(matter):
                await handle.cancel()
        except WorkflowAlreadyStartedError:
            return DeliveryResult(gone=True)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return DeliveryResult(gone=True)
        return DeliveryResult()

    @step("stop_runs_of")
    async def stop_runs_of(self, removal: StopRunsInput) -> StoppedRuns:
        """Stop the open runs of repositories from which the App was removed."""
        names = [name.lower() for name in removal.repositories]
        query = f"WorkflowType = '{PIPELINE}' AND ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH 'gh-'"
        stopped = []
        async for found in self._client.list_workflows(query):
            try:
                name = str((await found.memo()).get(_KEY, "")).partition("#")[0]
            except ConfigurationError as error:  # The other runs are stopped all the same.
                _log.error("a run cannot be read", run=found.id, reason=str(error))
                continue
            if name and _is_removed(name, names):
                matter = StopRequested(number=1, reason="removed")
                notice = GitHubSignal(delivery=removal.delivery, sender=removal.sender, matter=matter)
                # Its latest execution: a run that waits may have continued as new since the list was made.
                handle = self._client.get_workflow_handle(found.id)
                with contextlib.suppress(RPCError):  # it has ended by itself
                    await handle.signal(_KEY, notice)
                    await handle.cancel()
                    stopped.append(found.id)
        return StoppedRuns(runs=stopped)

    async def _start_run(self, run: str, request: RunRequest, notice: GitHubSignal) -> None:
        assert request.github is not None
        await self._client.start_workflow(
            PIPELINE,
            request,
            id=run,
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            memo={
                "repo": request.repo,
                "task": request.task[:200],
                "base": request.base or "",
                "branch": request.github.branch,
                _KEY: request.github.key,
            },
            # The title is a stranger's, and the Web UI renders Markdown.
            static_summary=f"#{request.github.number}: {escape_markdown(request.github.title[:160])}",
            static_details=request_details(request),
            start_signal=_KEY,
            start_signal_args=[notice],
        )

    async def _submit_decision(self, deliver: DeliverInput, matter: CommentCommand) -> str:
        """Answer a decision; return the reason if it is refused, else empty. The same delivery answers once."""
        command = matter.command
        answer = Decide(
            decision_id=command.decision_id,
            choice=command.choice,
            note=command.text,
            by=f"@{deliver.sender.login}",
        )
        handle = self._client.get_workflow_handle(deliver.run)
        try:
            await handle.execute_update("submit_decision", answer, id=deliver.delivery, result_type=Decision)
        except WorkflowUpdateFailedError as refused:
            cause = refused.cause
            return cause.message if isinstance(cause, ApplicationError) else str(cause)
        return ""

    async def _describe_run(self, run: str) -> WorkflowExecutionDescription | None:
        try:
            return await self._client.get_workflow_handle(run).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _store_has_run(self, repository: Repository, run: str, *, make: bool) -> bool:
        """Whether the store has a run that Temporal has forgotten, whose lanes a new run must not continue.

        A repository without runs has no store. `make` creates one, since a run is about to start.
        """
        if not (make or self._stores.has_store(repository.clone_url)):
            return False
        store = await self._stores.open_store(repository.clone_url)
        await store.catch_up(run)
        return await store.read_head(identifiers.run_ref(run)) is not None


def ends_run(matter: EventPayload) -> bool:
    """Whether a matter ends the run at once. On a closed issue the run decides, since a merge closes it, too."""
    if isinstance(matter, StopRequested):
        return matter.reason != "closed"
    return isinstance(matter, CommentCommand) and matter.command.name == "stop"


async def _issue_of(found: WorkflowExecutionDescription) -> str:
    try:
        return str(await found.memo_value(_KEY, default=""))
    except ConfigurationError:
        return "an issue that cannot be read, for its key is not among BATON_ENCRYPTION_KEYS"


def _issue_key(wanted: FindRunInput) -> str:
    return f"{wanted.repository.full_name}#{wanted.number}".lower()


def _is_removed(name: str, removed: Sequence[str]) -> bool:
    return name in removed or f"{name.partition('/')[0]}/*" in removed
