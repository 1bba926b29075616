"""The command `list`: the runs there are, from the server, or from the stores where no server runs."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from baton.errors import ConfigurationError, UsageError, WorkspaceError
from baton.identifiers import workflow_id_of
from baton.records.run import DecisionState, RunDocument, RunStatus
from baton.settings.core import Settings
from interfaces.cli.arguments import load_settings
from interfaces.cli.choices import Status
from interfaces.cli.runs.current_document import connect_for_reading, report_offline
from interfaces.cli.runs.runtime import use_service
from interfaces.cli.runs.stored_run import OpenStores, find_document, open_stores, report_damage
from interfaces.cli.runs.web_ui_links import make_links
from interfaces.cli.terminal.output import format_usd, one_line, print_json, write_line, write_message
from interfaces.cli.terminal.runner import run_body
from workers.temporal_service import TemporalService
from workflows.state.visibility import COST_USD, PENDING_DECISIONS, REPO, STATUS
from workspaces.git.inventory import StoreEntry, list_stores
from workspaces.maintenance import gc

_COSTLY_USD = 5.0
"""USD from which on a run is in the list of costly runs, where no cap is set."""


def list_runs(status: Status | None, web: bool, limit: int, as_json: bool) -> None:
    """Print the runs, the newest first, or the links to lists of them in the Web UI."""
    settings = load_settings()
    wanted = None if status is None else status.value
    run_body(_print_links(settings, as_json) if web else _print_runs(settings, wanted, limit, as_json))


async def _print_runs(settings: Settings, status: str | None, limit: int, as_json: bool) -> None:
    async with connect_for_reading(settings) as service:
        if service is None:
            rows = (await _stored_rows(settings, status))[:limit]
        else:
            rows = await _served_rows(settings, service, status, limit)
            report_damage(list_stores(settings.home))
    for row in rows:
        if row["unreadable"]:
            write_message(f"Of the run {row['run']} not all can be read: {row['unreadable']}", always=True)
    if as_json:
        print_json(rows)
        return
    if not rows:
        write_message("No runs yet." if status is None else f"No runs are {status}.")
    for row in rows:
        pending = f", {row['pending_decisions']} to decide" if row["pending_decisions"] else ""
        write_line(
            f"{row['run']}  {row['status']}{pending}  {format_usd(row['cost_usd'])}  {row['started_at'] or ''}"
            f"  {one_line(row['task'], 60)}"
        )


async def _print_links(settings: Settings, as_json: bool) -> None:
    async with use_service(settings, worker=False) as service:
        found = make_links(service, settings.usd_per_run or _COSTLY_USD, datetime.now(UTC))
    if not found:
        raise UsageError("The address of the Web UI is not known: set BATON_WEB_UI.")
    if as_json:
        print_json([asdict(link) for link in found])
        return
    for link in found:
        write_line(f"{link.name:<22} {link.url}")


async def _served_rows(
    settings: Settings, service: TemporalService, status: str | None, limit: int
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    shelf = OpenStores(settings.home)
    # The status is compared here: a workflow that was ended from outside could not write its own.
    # A run that has continued as new is listed once, by its latest execution.
    runs = "WorkflowType = 'Pipeline' AND ExecutionStatus != 'ContinuedAsNew'"
    async for found in service.client.list_workflows(runs):
        if status is None or read_status(found) == status:
            rows.append(await run_row(settings, service, found, shelf))
        if len(rows) == limit:
            break
    return rows


async def _stored_rows(settings: Settings, status: str | None) -> list[dict[str, Any]]:
    """Return the rows of all runs that the stores have, the newest first."""
    if not settings.home.exists():
        settings.require_home()
    damaged: list[StoreEntry] = []
    rows = []
    async for store in open_stores(settings.home, damaged):
        for key in gc.list_runs(store):
            run = workflow_id_of(key)
            try:
                document, fault = await find_document(store, run), None
            except WorkspaceError as error:
                document, fault = None, str(error)
            if document is not None or fault is not None:
                rows.append(_stored_row(run, store.repo, document, fault))
    report_damage(damaged)
    if rows or damaged or (settings.home / "server").exists():
        report_offline(settings)
    rows.sort(key=lambda row: str(row["started_at"] or ""), reverse=True)
    return [row for row in rows if status in (None, row["status"])]


def read_status(found: WorkflowExecution) -> str:
    """Return the status of a run by the list alone; a run that was ended from outside could not write its own."""
    status = str(_read_attribute(found, STATUS, RunStatus.PLANNING.value))
    if found.status is WorkflowExecutionStatus.RUNNING or status in ("done", "failed", "stopped"):
        return status
    stopped = found.status in (WorkflowExecutionStatus.CANCELED, WorkflowExecutionStatus.TERMINATED)
    return "stopped" if stopped else "failed"


def _read_attribute(found: WorkflowExecution, key: SearchAttributeKey[Any], missing: Any) -> Any:
    value = found.typed_search_attributes.get(key)
    return missing if value is None else value


async def run_row(
    settings: Settings, service: TemporalService, found: WorkflowExecution, shelf: OpenStores | None = None
) -> dict[str, Any]:
    """Return the first fields of a run's document: from the list, and from this home's store if it has the run."""
    unreadable = []
    try:
        memo = await found.memo()
    except ConfigurationError as error:  # the run's encryption key is not here: the rest is shown
        memo = {}
        unreadable.append(str(error))
    repo = str(_read_attribute(found, REPO, memo.get("repo", "")))
    try:
        kept = await (shelf or OpenStores(settings.home)).read_document(repo, found.id)
    except WorkspaceError as error:  # the run's store is damaged: the server's part is shown
        kept = None
        unreadable.append(str(error))
    return {
        **_row_of(found.id, repo, kept),
        "status": read_status(found),
        "cost_usd": _read_attribute(found, COST_USD, 0.0),
        "pending_decisions": _read_attribute(found, PENDING_DECISIONS, 0),
        "pull_request": memo.get("pull_request"),
        "started_at": _format_moment((kept and kept.started_at) or found.start_time),
        "ended_at": _format_moment(found.close_time),
        "task": memo.get("task", ""),
        "web_ui": service.run_link(found.id),
        "unreadable": " ".join(unreadable) or None,
    }


def _stored_row(run: str, repo: str, document: RunDocument | None, fault: str | None) -> dict[str, Any]:
    pending = [one for one in document.decisions if one.state is DecisionState.OPEN] if document else []
    return {
        **_row_of(run, repo, document),
        "cost_usd": document.cost_usd if document else 0.0,
        "pending_decisions": len(pending),
        "pull_request": document.pull_request if document else None,
        "started_at": _format_moment(document.started_at) if document else None,
        "ended_at": _format_moment(document.ended_at) if document else None,
        "task": document.task[:200] if document else "",
        "web_ui": None,
        "unreadable": fault,
    }


def _row_of(run: str, repo: str, document: RunDocument | None) -> dict[str, Any]:
    """Return the fields of a row that a document has, in their order."""
    return {
        "run": run,
        "status": document.status.value if document else "unknown",
        "repo": repo,
        "base_commit": document.base_commit if document else None,
        "branch": document.branch if document else None,
        "head_commit": document.head_commit if document else None,
        "cost_usd": 0.0,
        "turns": document.turns if document else None,
    }


def _format_moment(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else None
