"""A snapshot of a run: the document by its workflow, with the cost of the sessions at work added."""

import asyncio
from dataclasses import dataclass, field

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from baton import identifiers
from baton.errors import UnknownRun
from baton.policies import QUERY_TIMEOUT
from baton.records.run import ROLES, RunDocument, RunStatus, TaskDocument, TaskState
from baton.steps.session import SessionStatus
from interfaces.cli.runs.pending_activities import RunningStep, read_running_steps
from workers.temporal_service import TemporalService

_ROLE_AT = {"test": "tester", "review": "reviewer"}


@dataclass(frozen=True)
class RunSnapshot:
    """A run at one moment."""

    document: RunDocument
    closed: bool
    """Whether the workflow has ended."""
    sessions: list[SessionStatus] = field(default_factory=list)
    """Sessions at work."""
    steps: dict[str, RunningStep] = field(default_factory=dict)
    """Running steps by the id of their workflow."""


async def describe_run(client: Client, run: str) -> WorkflowExecutionDescription:
    """Return Temporal's description of a run; raises UnknownRun."""
    try:
        description = await client.get_workflow_handle(run).describe(rpc_timeout=QUERY_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        description = None
    if description is None or description.workflow_type != "Pipeline":
        raise UnknownRun(f"There is no run {run} on this Temporal service; `baton list` shows those there are.")
    return description


async def describe_readable(client: Client, run: str) -> WorkflowExecutionDescription:
    """Return the description of a run; raises ConfigurationError if the key that encrypted the run is missing here."""
    description = await describe_run(client, run)
    await description.memo()
    return description


def is_closed(description: WorkflowExecutionDescription) -> bool:
    """Whether the workflow has ended."""
    return description.status is not WorkflowExecutionStatus.RUNNING


async def query_document(service: TemporalService, run: str) -> RunDocument:
    """Return the workflow's answer to the query `state`; a worker must be at work."""
    handle = service.client.get_workflow_handle(run)
    document: RunDocument = await handle.query("state", result_type=RunDocument, rpc_timeout=QUERY_TIMEOUT)
    return document.model_copy(update={"web_ui": service.run_link(run)})


async def take_snapshot(service: TemporalService, run: str) -> RunSnapshot:
    """Take a snapshot of a run, with the cost and turns of the sessions at work."""
    description = await describe_run(service.client, run)
    if is_closed(description):
        return RunSnapshot(await read_final_document(service, description), closed=True)
    document = await query_document(service, run)
    candidates = _sessions_at_work(document)
    found = await asyncio.gather(*(_read_session(service.client, workflow_id) for workflow_id in candidates))
    sessions = [session for session in found if session is not None]
    tasks = [identifiers.task_workflow_id(run, task.id) for task in document.tasks if task.state is TaskState.WORKING]
    steps = await read_running_steps(service.client, [run, *tasks, *candidates])
    return RunSnapshot(_add_sessions(document, sessions), closed=False, sessions=sessions, steps=steps)


async def read_final_document(service: TemporalService, description: WorkflowExecutionDescription) -> RunDocument:
    """Return the document of a workflow that has ended: its result, or its answer to a query if it has no result."""
    if description.status is not WorkflowExecutionStatus.COMPLETED:
        return settle_document(await query_document(service, description.id), description)
    handle = service.client.get_workflow_handle(description.id, result_type=RunDocument)
    document: RunDocument = await handle.result()
    return document.model_copy(update={"web_ui": service.run_link(description.id)})


def settle_document(document: RunDocument, description: WorkflowExecutionDescription) -> RunDocument:
    """Return the document of an ended workflow with a final status; one ended from outside could not set its own."""
    if document.status.is_final or not is_closed(description):
        return document
    stopped = description.status in (WorkflowExecutionStatus.CANCELED, WorkflowExecutionStatus.TERMINATED)
    ending = RunStatus.STOPPED if stopped else RunStatus.FAILED
    how = description.status.name.lower().replace("_", " ") if description.status else "ended"
    note = f"The workflow was {how} from outside; its work is kept in the store."
    return document.model_copy(
        update={"status": ending, "ended_at": description.close_time, "notes": [*document.notes, note]}
    )


def _sessions_at_work(document: RunDocument) -> list[str]:
    """Return the workflow ids of the sessions that should be at work."""
    if document.status is RunStatus.PLANNING:
        return [identifiers.session_workflow_id(document.run, identifiers.PLAN_TASK, 1, ROLES[0])]
    return [
        identifiers.session_workflow_id(document.run, task.id, task.rounds, role)
        for task in document.tasks
        if task.state is TaskState.WORKING and task.rounds and (role := role_at_work(task)) is not None
    ]


def role_at_work(task: TaskDocument) -> str | None:
    """Return the role at work in a task; None while the engine itself works (gate, merge)."""
    if task.stage in ("make", "open"):
        return task.role
    return _ROLE_AT.get(task.stage, task.stage if task.stage in ROLES else None)


async def _read_session(client: Client, workflow_id: str) -> SessionStatus | None:
    """Return the status of a session; None if it has not begun, or is over."""
    handle = client.get_workflow_handle(workflow_id)
    try:
        status: SessionStatus = await handle.query(
            "status",
            result_type=SessionStatus,
            reject_condition=QueryRejectCondition.NOT_OPEN,
            rpc_timeout=QUERY_TIMEOUT,
        )
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
        return None
    return status


def _add_sessions(document: RunDocument, sessions: list[SessionStatus]) -> RunDocument:
    """Add the cost and turns of sessions at work; they report to the run only when they end."""
    if not sessions:
        return document
    by_role, by_model = dict(document.cost_by_role), dict(document.cost_by_model)
    for session in sessions:
        model = document.models.get(session.role, "unknown")
        for costs, name in ((by_role, session.role), (by_model, model)):
            if session.cost_usd:
                costs[name] = round(costs.get(name, 0.0) + session.cost_usd, 8)
    tasks = []
    for task in document.tasks:
        mine = [session for session in sessions if session.task == task.id]
        tasks.append(
            task.model_copy(
                update={
                    "cost_usd": round(task.cost_usd + sum(session.cost_usd for session in mine), 6),
                    "turns": task.turns + sum(session.turns for session in mine),
                }
            )
        )
    return document.model_copy(
        update={
            "tasks": tasks,
            "cost_by_role": by_role,
            "cost_by_model": by_model,
            "cost_usd": round(document.cost_usd + sum(session.cost_usd for session in sessions), 6),
            "turns": document.turns + sum(session.turns for session in sessions),
        }
    )
