"""The commands `list` and `show`: what runs there are, and where one stands."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from baton.errors import UsageError
from interfaces.cli import options
from interfaces.cli.terminal.output import line, message, one_line, print_json, usd
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from temporalio.client import WorkflowExecution
    from temporalio.common import SearchAttributeKey

    from baton.records.run import RunDocument
    from baton.settings.core import Settings
    from interfaces.cli.runs.stored_run import Shelf
    from workers.temporal_service import TemporalService


_MUCH_USD = 5.0
"""What a run may cost before it is listed as dear, where no cap says otherwise."""


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("list", epilog="Example: baton list --status waiting")(list_runs)
    app.command(epilog="Example: baton show shop-add-pagination-x7k2 --decisions")(show)


def list_runs(
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only runs of this status, for instance waiting.")
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="Print links to lists in the Web UI instead: what waits, failed today, ...")
    ] = False,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Most runs to list, the newest first.")
    ] = 50,
    as_json: options.Json = False,
) -> None:
    """List the runs, the newest first."""
    from baton.records.run import RunStatus

    known = [entry.value for entry in RunStatus]
    if status is not None and status not in known:
        raise UsageError(f"There is no status {status!r}; choose one of: {', '.join(known)}.")
    if web:
        execute(_links(options.settings(), as_json))
    execute(_list(options.settings(), status, limit, as_json))


def show(
    run: options.Run,
    state: Annotated[bool, typer.Option("--state", help="Print state.json, as the store has it.")] = False,
    decisions: Annotated[bool, typer.Option("--decisions", help="Only the decisions.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show where a run stands: tasks, cost, gate, decisions, errors."""
    run = options.check_run_id(run)
    if state and decisions:
        raise UsageError("--state and --decisions exclude each other.")
    execute(_show(options.settings(), run, state, decisions, as_json))


async def _list(settings: "Settings", status: str | None, limit: int, as_json: bool) -> None:
    from interfaces.cli.runs.runtime import serving
    from interfaces.cli.runs.stored_run import Shelf, tell_damage
    from workspaces.git.inventory import stock

    shelf = Shelf(settings.home)
    async with serving(settings, worker=False) as service:
        rows: list[dict[str, Any]] = []
        # The status is compared here, for a workflow that was ended from outside could not write its own.
        # A run that has continued as new is listed once, by its latest execution.
        runs = "WorkflowType = 'Pipeline' AND ExecutionStatus != 'ContinuedAsNew'"
        async for found in service.client.list_workflows(runs):
            if status is None or status_of(found) == status:
                rows.append(await run_row(settings, service, found, shelf))
            if len(rows) == limit:
                break
    tell_damage(stock(settings.home))
    for row in rows:
        if row["unreadable"]:
            message(f"Of the run {row['run']} not all can be read: {row['unreadable']}")
    if as_json:
        print_json(rows)
        return
    if not rows:
        message("No runs yet." if status is None else f"No runs are {status}.")
    for row in rows:
        pending = f", {row['pending_decisions']} to decide" if row["pending_decisions"] else ""
        line(
            f"{row['run']}  {row['status']}{pending}  {usd(row['cost_usd'])}  {row['started_at'] or ''}"
            f"  {one_line(row['task'], 60)}"
        )


async def _links(settings: "Settings", as_json: bool) -> None:
    from dataclasses import asdict
    from datetime import UTC, datetime

    from interfaces.cli.runs.runtime import serving
    from interfaces.cli.runs.web_ui_links import links

    usd = settings.usd_per_run or _MUCH_USD
    async with serving(settings, worker=False) as service:
        found = links(service, usd, datetime.now(UTC))
    if not found:
        raise UsageError("The address of the Web UI is not known: set BATON_WEB_UI.")
    if as_json:
        print_json([asdict(link) for link in found])
        return
    for link in found:
        line(f"{link.name:<22} {link.url}")


def status_of(found: "WorkflowExecution") -> str:
    """The status of a run, by the list alone; one that was ended from outside could not write its own."""
    from temporalio.client import WorkflowExecutionStatus

    from baton.records.run import RunStatus
    from workflows.state.visibility import STATUS

    status = str(_attribute(found, STATUS, RunStatus.PLANNING.value))
    if found.status is WorkflowExecutionStatus.RUNNING or status in ("done", "failed", "stopped"):
        return status
    stopped = found.status in (WorkflowExecutionStatus.CANCELED, WorkflowExecutionStatus.TERMINATED)
    return "stopped" if stopped else "failed"


def _attribute(found: "WorkflowExecution", key: "SearchAttributeKey[Any]", missing: Any) -> Any:
    value = found.typed_search_attributes.get(key)
    return missing if value is None else value


async def run_row(
    settings: "Settings", service: "TemporalService", found: "WorkflowExecution", shelf: "Shelf | None" = None
) -> dict[str, Any]:
    """The first fields of a run's document: from the list itself, and from this home's store where it has the run."""
    from baton.errors import ConfigurationError, WorkspaceError
    from interfaces.cli.runs.stored_run import Shelf
    from workflows.state.visibility import COST_USD, PENDING_DECISIONS, REPO

    unreadable = []
    try:
        memo = await found.memo()
    except ConfigurationError as error:  # the key of this run is not here: what is not encrypted is shown all the same
        memo = {}
        unreadable.append(str(error))
    repo = str(_attribute(found, REPO, memo.get("repo", "")))
    try:
        kept = await (shelf or Shelf(settings.home)).document(repo, found.id)
    except WorkspaceError as error:  # so is what the server knows of a run whose store is damaged
        kept = None
        unreadable.append(str(error))
    return {
        "run": found.id,
        "status": status_of(found),
        "repo": repo,
        "base_commit": kept.base_commit if kept else None,
        "branch": kept.branch if kept else None,
        "head_commit": kept.head_commit if kept else None,
        "cost_usd": _attribute(found, COST_USD, 0.0),
        "turns": kept.turns if kept else None,
        "pending_decisions": _attribute(found, PENDING_DECISIONS, 0),
        "pull_request": memo.get("pull_request"),
        "started_at": f"{(kept and kept.started_at) or found.start_time:%Y-%m-%dT%H:%M:%SZ}",
        "ended_at": f"{found.close_time:%Y-%m-%dT%H:%M:%SZ}" if found.close_time else None,
        "task": memo.get("task", ""),
        "web_ui": service.run_link(found.id),
        "unreadable": " ".join(unreadable) or None,
    }


async def _show(settings: "Settings", run: str, state: bool, decisions: bool, as_json: bool) -> None:
    from interfaces.cli.runs.runtime import serving
    from interfaces.cli.views.run_summary import decision_lines, document_lines

    if state:
        from interfaces.cli.runs.stored_run import find_run

        print_json(await (await find_run(settings.home, run)).document())
        return
    async with serving(settings, worker=False) as service:
        document = await current_document(settings, service, run)
    _warn_of_the_disk(settings)
    if as_json:
        print_json([entry.model_dump(mode="json") for entry in document.decisions] if decisions else document)
        return
    for text in decision_lines(document)[1:] if decisions else document_lines(document):
        line(text)


def _warn_of_the_disk(settings: "Settings") -> None:
    from workspaces.store.disk_space import room

    found = room(settings)
    if found.low or found.too_low:
        message(f"The disk is nearly full: {found.words}")


async def current_document(settings: "Settings", service: "TemporalService", run: str) -> "RunDocument":
    """The run's document: from the run itself while it is open, with a worker of our own where nobody answers.

    The store's copy is as old as the last step of a worker; answers, messages and deadlines come without one. It is
    what there is of a run that the server has forgotten, and of one that this version of Baton cannot read.
    """
    from temporalio.client import WorkflowQueryFailedError
    from temporalio.service import RPCError, RPCStatusCode

    from baton.errors import ConfigurationError, UnknownRun, WorkspaceError
    from interfaces.cli.runs.runtime import attended
    from interfaces.cli.runs.snapshot import describe, is_closed, look
    from interfaces.cli.runs.stored_run import find_run

    try:
        description = await describe(service.client, run)
    except UnknownRun:
        # A server forgets ended runs after a while; the store does not.
        return await (await find_run(settings.home, run)).document()
    try:
        stored = (await (await find_run(settings.home, run)).document()) if is_closed(description) else None
    except UnknownRun:
        stored = None
    except WorkspaceError as error:
        stored = None
        message(str(error))
    if stored is not None and stored.status.is_final:
        return stored.model_copy(update={"web_ui": service.run_link(run)})
    try:
        await description.memo()  # a worker cannot read it either, where this cannot be
        async with attended(service, description.task_queue):
            return (await look(service, run)).document
    except (RPCError, WorkflowQueryFailedError, ConfigurationError) as error:
        if isinstance(error, RPCError) and error.status is RPCStatusCode.UNAVAILABLE:
            raise
        try:
            kept = await (await find_run(settings.home, run)).document()
        except (UnknownRun, WorkspaceError):
            raise error from None
        why = f": {error}" if isinstance(error, ConfigurationError) else "."
        message(f"This is the run's state as it was last saved, for it does not answer{why}")
        return kept.model_copy(update={"web_ui": service.run_link(run)})
