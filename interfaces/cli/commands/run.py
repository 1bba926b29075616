"""The command `run`: start a run, work on it in this process, and follow it to its end."""

import sys
from pathlib import Path

from baton.errors import UsageError
from baton.identifiers import new_run_id
from baton.records.run import Guide, RunDocument, RunRequest
from baton.settings.core import SandboxMode, Settings
from baton.text.key_masker import masked_names, masked_notice
from baton.tracing import start_span
from interfaces.cli.arguments import load_settings, read_duration, require_model_access
from interfaces.cli.choices import DefaultAnswer
from interfaces.cli.request_arguments import check_models, check_new_run_id, make_request, parse_models
from interfaces.cli.runs.command_worker import own_worker, tell_how_it_continues
from interfaces.cli.runs.repo_argument import resolve_repository
from interfaces.cli.runs.runtime import has_worker, require_sandbox, use_service, write_address
from interfaces.cli.runs.start import UNSTARTED, choose_queue, complete_start, start_run
from interfaces.cli.terminal.output import print_json, program_name, write_line, write_message
from interfaces.cli.terminal.prompt import ask_in_terminal, can_ask, user_name
from interfaces.cli.terminal.runner import Farewell, run_body
from interfaces.cli.views.follow import exit_code_of, follow_run
from interfaces.cli.views.live_view import choose_view
from interfaces.cli.views.run_summary import ending_lines
from workers.host_id import read_host_id
from workers.run_queues import RunOrigin
from workers.temporal_service import TemporalService
from workspaces.store.disk_space import require_disk_space


def run(
    *,
    task: str,
    repo: str,
    base: str | None,
    model: list[str] | None,
    sandbox: SandboxMode | None,
    decision_default: DefaultAnswer | None,
    decision_deadline: str | None,
    no_publish: bool,
    detach: bool,
    run_id: str | None,
    as_json: bool,
    max_wall_clock: str | None,
    **maximums: float | None,
) -> None:
    """Start a run and follow it; raises UsageError, before a server is started, if an argument is invalid.

    `maximums` are the options `--max-*` of the same names as the fields of the request.
    """
    settings = load_settings(sandbox=sandbox)
    if (decision_default is None) != (decision_deadline is None):
        raise UsageError("--decision-default and --decision-deadline go together: the answer, and when it is taken.")
    working = max_wall_clock and read_duration("--max-wall-clock", max_wall_clock).total_seconds()
    waiting = decision_deadline and read_duration("--decision-deadline", decision_deadline).total_seconds()
    given: dict[str, object] = {
        **{name.removeprefix("max_"): value for name, value in maximums.items()},
        "wall_clock_seconds": working,
        "decision_default": decision_default and decision_default.value,
        "decision_deadline_seconds": waiting,
        "models": parse_models(model),
        "publish": not no_publish,
    }
    request = _make_request(settings, task, repo, base, run_id, given)
    check_models(settings, request.models, settings_too=not detach)
    farewell = Farewell(UNSTARTED)
    if detach:
        run_body(detach_run(settings, request, as_json, farewell), farewell=farewell)
    require_model_access(settings)
    run_body(run_to_end(settings, request, as_json, farewell), farewell=farewell)


def _make_request(
    settings: Settings, task: str, repo: str, base: str | None, run_id: str | None, given: dict[str, object]
) -> RunRequest:
    """Return the request, checked as far as that is possible without a server; raises UsageError."""
    text = settings.make_masker()(_read_task(task))
    if names := masked_names(text):
        write_message(f"In the task, {masked_notice(names)}", always=True)
    if run_id is not None:
        check_new_run_id(run_id)
    where = resolve_repository(repo, base)
    return make_request(
        {
            "task": text,
            "repo": where,
            "base": base,
            "run": run_id or new_run_id(where, text, discreet=settings.encryption_keys is not None),
            "started_by": user_name(),
            **given,
        }
    )


def _read_task(task: str) -> str:
    """Return the text of the task: as given, from stdin (`-`) or from a file (`@FILE`); raises UsageError."""
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


async def run_to_end(
    settings: Settings, request: RunRequest, as_json: bool, farewell: Farewell, words: Guide | None = None
) -> int:
    """Start a run, with a message to its agents, and follow it to its end; returns the exit code."""
    await require_sandbox(settings)
    async with (
        use_service(settings, worker=False) as service,
        own_worker(service, settings, request.run) as host,
    ):
        write_address(service)
        require_disk_space(settings)
        write_message(f"run {request.run}")
        with start_span("baton run", run=request.run):
            queue = choose_queue(service, request, detached=False)
            start = start_run(service, request, words, queue=queue, host=host)
            await complete_start(start, request.run, farewell)
        return await see_to_end(service, request.run, as_json, leaves=True)


async def see_to_end(service: TemporalService, run: str, as_json: bool, *, leaves: bool = False) -> int:
    """Follow a run, print how it ended, and return the exit code.

    `leaves`: the run is served by this command, so where it has not ended, say how it continues.
    """
    ask = ask_in_terminal if can_ask(as_json=as_json) else None
    document = await follow_run(service, run, choose_view(as_json=as_json, asks=ask is not None), ask)
    print_ending(document, as_json)
    if leaves and not document.status.is_final:
        tell_how_it_continues(service, run)
    return exit_code_of(document)


def print_ending(document: RunDocument, as_json: bool) -> None:
    """Print the result of a run: its document as JSON, or a summary for people."""
    if as_json:
        print_json(document)
    else:
        for text in ending_lines(document):
            write_line(text)


async def detach_run(
    settings: Settings, request: RunRequest, as_json: bool, farewell: Farewell, words: Guide | None = None
) -> None:
    """Start a run, print its id, and leave the work to the workers of the server."""
    async with use_service(settings, worker=False) as service:
        with start_span("baton run", run=request.run):
            queue = choose_queue(service, request, detached=True)
            home = read_host_id(settings.home) if settings.home.is_dir() else ""
            await complete_start(start_run(service, request, words, queue=queue, home=home), request.run, farewell)
        machine = "" if service.embedded else RunOrigin.from_here(request.repo).machine
        at_work = await has_worker(service, machine=machine)
        link = service.run_link(request.run)
    if as_json:
        print_json({"run": request.run, "web_ui": link})
    else:
        write_line(request.run)
    if at_work:
        write_message(f"A worker is at work; follow the run with: {program_name()} watch {request.run}")
    elif machine:
        write_message(
            f"No worker of this machine is at work, and the repository is a path on it: start one here with"
            f" `{program_name()} worker`."
        )
    elif service.embedded:
        write_message(
            f"No worker is at work yet: start one with `{program_name()} up`, or `{program_name()} watch"
            f" {request.run}`."
        )
    else:
        write_message(
            f"No worker is at work at {service.address} yet: the run waits until one is started there with"
            f" `{program_name()} worker`."
        )
