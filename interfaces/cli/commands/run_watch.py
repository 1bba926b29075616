"""The commands `run` and `watch`: start a run, work on it in this process, see it to its end."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from baton.errors import UsageError
from baton.tracing import span
from interfaces.cli import options
from interfaces.cli.runs.start import choose_queue, interrupted, see_through, start_run
from interfaces.cli.terminal.output import line, message, print_json, program
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from baton.records.run import Guide, RunDocument, RunRequest
    from baton.settings.core import Settings
    from workers.temporal_service import TemporalService


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(cls=options.TextCommand, epilog='Example: baton run "Add pagination to GET /orders" --repo . --usd 5')(
        run
    )
    app.command(epilog="Example: baton watch shop-add-pagination-x7k2")(watch)


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What to change; `-` reads stdin, `@FILE` a file.")],
    repo: Annotated[str, typer.Option(metavar="PATH_OR_URL", help="The git repository to change.")] = ".",
    base: Annotated[str | None, typer.Option(metavar="REF", help="Branch, tag or commit to start from.")] = None,
    usd: Annotated[
        float | None, typer.Option(metavar="USD", min=0.0, help="Most that the run's model calls may cost, in USD.")
    ] = None,
    usd_per_task: Annotated[float | None, typer.Option(metavar="USD", min=0.0, help="The same for one task.")] = None,
    usd_per_session: Annotated[
        float | None, typer.Option(metavar="USD", min=0.0, help="The same for one session.")
    ] = None,
    turns: Annotated[int | None, typer.Option(metavar="N", min=1, help="Most turns of one session.")] = None,
    turns_per_task: Annotated[int | None, typer.Option(metavar="N", min=1, help="Most turns of one task.")] = None,
    turns_per_run: Annotated[int | None, typer.Option(metavar="N", min=1, help="Most turns of the run.")] = None,
    usd_per_day: Annotated[
        float | None,
        typer.Option(metavar="USD", min=0.0, help="Most USD of a UTC day, over all runs of this BATON_HOME."),
    ] = None,
    turns_per_day: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Most turns of a UTC day, over all runs.")
    ] = None,
    wall_clock: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest that the run may work: 90s, 30m, 2h.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(metavar="N", min=1, max=10, help="Most rounds of a task.")] = None,
    parallel: Annotated[int | None, typer.Option(metavar="N", min=1, max=32, help="Tasks at work at once.")] = None,
    model: options.Models = None,
    sandbox: options.Sandbox = None,
    unanswered: Annotated[
        str | None,
        typer.Option(metavar="CHOICE", help="What an unanswered decision becomes: retry, skip or abort."),
    ] = None,
    answer_within: Annotated[
        float | None, typer.Option(metavar="HOURS", min=0.0, help="After so many hours (with --unanswered).")
    ] = None,
    no_publish: options.NoPublish = False,
    detach: options.Detach = False,
    run_id: options.RunId = None,
    as_json: options.Json = False,
) -> None:
    """Make a change to a repository.

    Agents plan, work, test and review, and the result is published as a branch.
    Shows progress and waits for the end.
    Exit code: 0 done, 1 failed or stopped, 3 waiting for a decision.
    """
    settings = options.settings(sandbox=sandbox)
    if (unanswered is None) != (answer_within is None):
        raise UsageError("--unanswered and --answer-within go together: what is chosen, and after how many hours.")
    request = _request(
        task,
        repo,
        base=base,
        usd=usd,
        usd_per_task=usd_per_task,
        usd_per_session=usd_per_session,
        turns=turns,
        turns_per_task=turns_per_task,
        turns_per_run=turns_per_run,
        usd_per_day=usd_per_day,
        turns_per_day=turns_per_day,
        wall_clock_seconds=_seconds(wall_clock),
        rounds=rounds,
        parallel=parallel,
        models=options.models(model or []),
        decision_default=unanswered,
        decision_deadline_seconds=None if answer_within is None else answer_within * 3_600,
        publish=not no_publish,
        run=run_id,
        settings=settings,
    )
    options.check_models(settings, request.models, settings_too=not detach)
    started: list[str] = []
    if detach:
        execute(detach_run(settings, request, as_json, started), farewell=lambda: interrupted(started))
    options.require_model_access(settings)
    execute(run_to_end(settings, request, as_json, started), farewell=lambda: interrupted(started))


def watch(run: options.Run, as_json: options.Json = False) -> None:
    """Follow a run until its end.

    Brings a server and a worker where they are needed, and asks open decisions in a terminal.
    At a configured server it works on runs that were started in this home, and only follows others.
    Exit code: 0 done, 1 failed or stopped, 3 waiting for a decision.
    """
    run = options.check_run_id(run)
    execute(_watch(options.settings(), run, as_json), farewell=lambda: f"Interrupted. The run {run} keeps its work.")


def _request(
    task: str, repo: str, *, base: str | None, run: str | None, settings: "Settings", **options_given: object
) -> "RunRequest":
    """Everything that can be said without a server, checked; raises UsageError."""
    from baton.naming import new_run_id
    from baton.records.run import Fallback
    from baton.text.key_masking import masked_names, told
    from interfaces.cli.runs.repo_argument import resolve_repository
    from interfaces.cli.terminal.prompt import who

    unanswered = options_given.get("decision_default")
    if unanswered is not None and unanswered not in get_args(Fallback):
        raise UsageError(f"--unanswered {unanswered!r} does not fit: choose one of {', '.join(get_args(Fallback))}.")
    text = settings.masker()(_read_task(task))
    if names := masked_names(text):
        message(f"In the task, {told(names)}")
    if run is not None:
        options.check_new_run_id(run)
    where = resolve_repository(repo, base)
    return options.request(
        {
            "task": text,
            "repo": where,
            "base": base,
            "run": run or new_run_id(where, text, discreet=settings.encryption_keys is not None),
            "started_by": who(),
            **options_given,
        }
    )


def _read_task(task: str) -> str:
    if task == "-":
        text = sys.stdin.buffer.read().decode(errors="replace")
    elif task.startswith("@"):
        try:
            text = Path(task[1:]).expanduser().read_bytes().decode()
        except OSError as error:
            raise UsageError(f"The task file {task[1:]} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"The task file {task[1:]} is not UTF-8 text.") from error
    else:
        text = task
    if not text.strip():
        raise UsageError("The task is empty: say what to change.")
    return text.strip()


def _seconds(text: str | None) -> float | None:
    from baton.budget.caps import amount_in

    if text is None:
        return None
    seconds = amount_in(text, "seconds")
    if seconds is None:
        raise UsageError(f"--wall-clock {text!r} does not fit: write a time such as 90s, 30m or 2h.")
    return seconds


async def run_to_end(
    settings: "Settings", request: "RunRequest", as_json: bool, started: list[str], words: "Guide | None" = None
) -> int:
    """Start a run and see it to its end; `started` gets its id as soon as it is there."""
    from interfaces.cli.runs.command_worker import own_worker
    from interfaces.cli.runs.runtime import require_sandbox, serving, tell_where
    from workspaces.store.disk_space import require_room_to_begin

    await require_sandbox(settings)
    async with (
        serving(settings, worker=False) as service,
        own_worker(service, settings, request.run) as worker,
    ):
        tell_where(service)
        require_room_to_begin(settings)
        message(f"run {request.run}")
        with span("baton run", run=request.run):
            queue = choose_queue(service, request, detached=False)
            start = start_run(service, request, words, queue=queue, host=worker.host)
            await see_through(start, request.run, started)
        return await see_to_end(service, request.run, as_json, leaves=True)


async def see_to_end(service: "TemporalService", run: str, as_json: bool, *, leaves: bool = False) -> int:
    """Follow a run, print its end, and return the exit code.

    `leaves`: the run is served by this command, so where it has not ended, say how it continues.
    """
    from interfaces.cli.runs.command_worker import tell_how_it_continues
    from interfaces.cli.terminal.prompt import ask_in_terminal, can_ask
    from interfaces.cli.views.follow import exit_code, follow
    from interfaces.cli.views.live_view import choose_view

    ask = ask_in_terminal if can_ask(as_json=as_json) else None
    document = await follow(service, run, choose_view(as_json=as_json, asks=ask is not None), ask)
    print_ending(document, as_json)
    if leaves and not document.status.is_final:
        tell_how_it_continues(service, run)
    return exit_code(document)


def print_ending(document: "RunDocument", as_json: bool) -> None:
    """Print the result of a run: its document, or the same for people."""
    from interfaces.cli.views.run_summary import ending

    if as_json:
        print_json(document)
    else:
        for text in ending(document):
            line(text)


async def detach_run(
    settings: "Settings", request: "RunRequest", as_json: bool, started: list[str], words: "Guide | None" = None
) -> None:
    """Start a run, print its id, and leave it to a worker; `started` gets its id as soon as the run exists."""
    from interfaces.cli.runs.runtime import has_worker, serving
    from workers.run_queues import RunOrigin

    async with serving(settings, worker=False) as service:
        with span("baton run", run=request.run):
            queue = choose_queue(service, request, detached=True)
            await see_through(start_run(service, request, words, queue=queue), request.run, started)
        machine = "" if service.embedded else RunOrigin.here(request.repo).machine
        at_work = await has_worker(service, machine=machine)
        link = service.run_link(request.run)
    if as_json:
        print_json({"run": request.run, "web_ui": link})
    else:
        line(request.run)
    if at_work:
        message(f"A worker is at work; follow the run with: {program()} watch {request.run}")
    elif machine:
        message(
            f"No worker of this machine is at work, and the repository is a path on it: start one here with"
            f" `{program()} worker`."
        )
    elif service.embedded:
        message(f"No worker is at work yet: start one with `{program()} up`, or `{program()} watch {request.run}`.")
    else:
        message(
            f"No worker is at work at {service.address} yet: the run waits until one is started there with"
            f" `{program()} worker`."
        )


async def _watch(settings: "Settings", run: str, as_json: bool) -> int:
    from interfaces.cli.commands.list_show import current_document
    from interfaces.cli.runs.command_worker import continuing_worker
    from interfaces.cli.runs.runtime import serving, tell_where
    from interfaces.cli.runs.snapshot import describe_readable, is_closed

    async with serving(settings, worker=False) as service:
        description = await describe_readable(service.client, run)
        if is_closed(description):
            from interfaces.cli.views.follow import exit_code

            document = await current_document(settings, service, run)
            print_ending(document, as_json)
            return exit_code(document)
        tell_where(service)
        if service.embedded:
            options.require_model_access(settings)
        async with continuing_worker(service, settings, description, stopping=False) as works:
            return await see_to_end(service, run, as_json, leaves=works)
