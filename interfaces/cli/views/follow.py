"""Follow a run until it ends, or until it waits for a person only."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.exceptions import FailureError
from temporalio.service import RPCError, RPCStatusCode

from baton.errors import BatonError, ExitCode, TemporalUnreachable, UsageError
from baton.policies import QUERY_TIMEOUT
from baton.records.run import Decide, Decision, DecisionState, RunDocument, RunStatus
from interfaces.cli.runs.snapshot import RunSnapshot, take_snapshot
from interfaces.cli.terminal.output import one_line, write_message
from interfaces.cli.terminal.prompt import in_foreground
from interfaces.cli.views.live_view import RunView
from interfaces.cli.views.progress_lines import reminder_lines
from workers.temporal_service import TemporalService

EVERY = 0.5
"""Seconds between two queries, which leave no events in the history."""

MAX_STILL = timedelta(seconds=10)
"""Time that a waiting run has to save its state."""

POLL_STILL = timedelta(milliseconds=100)

PATIENCE = timedelta(seconds=60)
"""Time without an answer from the service or a worker until that is an error."""

FAILING = 3
"""Attempts of one workflow task after which its failure is not a passing one."""

Asker = Callable[[Decision], Awaitable[Decide | None]]
"""A function that asks a person; None leaves the question open."""


async def follow_run(
    service: TemporalService, run: str, view: RunView, ask: Asker | None, every: float = EVERY
) -> RunDocument:
    """Show the run until it has ended, and return its document.

    `ask` gets each open decision. If it leaves one open, if there is no `ask`, or if the command is in the background,
    the function returns as soon as the run waits only for a person. A decision with a deadline and a default does not
    end it: the run goes on by itself then.
    """
    left_open: set[str] = set()
    with view:
        while True:
            now = await _read_patiently(service, run)
            view.show_snapshot(now)
            document = now.document
            if now.closed:
                return document
            unasked = [found for found in list_open_decisions(document) if found.id not in left_open]
            if ask is not None and unasked and in_foreground():
                view.clear_screen()
                if not await _ask_person(service, run, unasked[0], ask):
                    left_open.add(unasked[0].id)
            elif document.status is RunStatus.WAITING and not _goes_on_by_itself(document):
                await _until_still(service, run)
                return document
            else:
                await asyncio.sleep(every)


def _goes_on_by_itself(document: RunDocument) -> bool:
    return any(decision.default and decision.deadline for decision in list_open_decisions(document))


async def _until_still(service: TemporalService, run: str) -> None:
    """Wait until a waiting run has saved its state.json: this process stops its worker then."""
    deadline = asyncio.get_running_loop().time() + MAX_STILL.total_seconds()
    while asyncio.get_running_loop().time() < deadline:
        described = await service.client.get_workflow_handle(run).describe()
        if not described.raw_description.pending_activities:
            return
        await asyncio.sleep(POLL_STILL.total_seconds())


async def _ask_person(service: TemporalService, run: str, decision: Decision, ask: Asker) -> bool:
    """Ask, unless the decision is answered elsewhere first; returns whether the decision is settled."""
    asking = asyncio.ensure_future(ask(decision))
    before: RunDocument | None = None
    try:
        while not asking.done():
            await asyncio.wait({asking}, timeout=1.0)
            document = (await _read_patiently(service, run)).document
            for line in reminder_lines(before, document):
                write_message(f"\n{line}", always=True)
            before = document
            if not asking.done() and decision.id not in {found.id for found in list_open_decisions(document)}:
                write_message(f"\nDecision {decision.id} was settled elsewhere.")
                return True
    finally:
        asking.cancel()
    answer = asking.result()
    return answer is not None and await submit_answer(service, run, answer)


async def submit_answer(service: TemporalService, run: str, answer: Decide) -> bool:
    """Send an answer; return False, and write the reason, if the run refuses it."""
    try:
        await send_answer(service, run, answer)
    except UsageError as refused:
        write_message(str(refused), always=True)
        return False
    return True


async def send_answer(service: TemporalService, run: str, answer: Decide) -> Decision:
    """Send an answer and wait until the run accepts it; raises UsageError with the run's reason for refusing."""
    handle = service.client.get_workflow_handle(run)
    try:
        decision: Decision = await handle.execute_update("submit_decision", answer, result_type=Decision)
    except WorkflowUpdateFailedError as error:
        # The message alone: the cause's own `str` begins with the name of a class.
        cause = error.cause
        raise UsageError(cause.message if isinstance(cause, FailureError) else str(cause)) from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise UsageError(f"The run {run} has ended: there is nothing to decide any more.") from error
        raise
    return decision


def list_open_decisions(document: RunDocument) -> list[Decision]:
    """Return the decisions that wait for an answer."""
    return [decision for decision in document.decisions if decision.state is DecisionState.OPEN]


def exit_code_of(document: RunDocument) -> ExitCode:
    """Return the exit code for the state of a run."""
    if document.status is RunStatus.DONE:
        return ExitCode.DONE
    if document.status is RunStatus.FAILED and document.base_commit is None and _is_callers_mistake(document):
        return ExitCode.USAGE
    return ExitCode.FAILED if document.status.is_final else ExitCode.WAITING


def _is_callers_mistake(document: RunDocument) -> bool:
    """Whether a run failed by a mistake of its caller: an invalid repository, base or file."""
    kinds = {"UsageError"}
    found = [UsageError]
    while found:
        below = found.pop().__subclasses__()
        found += below
        kinds |= {kind.__name__ for kind in below}
    return bool(document.errors) and document.errors[-1].context.get("error_type") in kinds


async def _read_patiently(service: TemporalService, run: str) -> RunSnapshot:
    """Read the run, and retry while a server restarts or a worker starts."""
    passing = (
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.FAILED_PRECONDITION,
        RPCStatusCode.RESOURCE_EXHAUSTED,
    )
    deadline = asyncio.get_running_loop().time() + PATIENCE.total_seconds()
    while True:
        try:
            return await take_snapshot(service, run)
        except (RPCError, WorkflowQueryFailedError) as error:
            if isinstance(error, RPCError) and error.status not in passing:
                raise
            failure = await _workflow_failure(service, run)
            if failure is not None:
                raise BatonError(
                    f"The workflow of the run {run} cannot go on with this version of Baton: {failure}. Its work is"
                    " kept; with a worker of a version that can, it goes on by itself."
                ) from error
            if asyncio.get_running_loop().time() > deadline:
                if not isinstance(error, RPCError):
                    raise
                raise TemporalUnreachable(
                    f"The run {run} has not answered for {PATIENCE.total_seconds():.0f} s ({error}); it is not lost. Is"
                    f" a worker at work? `baton watch {run}` tries again."
                ) from error
            await asyncio.sleep(EVERY)


async def _workflow_failure(service: TemporalService, run: str) -> str | None:
    """Return the reason why the workflow's code fails repeatedly; None if it does not. Temporal retries without end."""
    handle = service.client.get_workflow_handle(run)
    try:
        description = await handle.describe(rpc_timeout=QUERY_TIMEOUT)
        if description.raw_description.pending_workflow_task.attempt < FAILING:
            return None
        reason = None
        async for event in handle.fetch_history_events():
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                reason = event.workflow_task_failed_event_attributes.failure.message
            elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                reason = None
        return one_line(reason, 300) if reason else None
    except RPCError:
        return None
