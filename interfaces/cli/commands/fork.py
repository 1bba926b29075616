"""The command `fork`: a new run that goes on from another one, from its plan, a session or a single turn."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from baton.errors import UsageError
from interfaces.cli import options
from interfaces.cli.runs.start import interrupted
from interfaces.cli.terminal.output import message, program
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from baton.records.run import Guide, RunRequest
    from baton.settings.core import Settings


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        epilog="Example: baton fork shop-add-pagination-x7k2 --task t1 --session 2-backend --model backend=opus"
    )(fork)


def fork(
    run: options.Run,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Go on within this task; without it, all tasks are done anew.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ROUND-ROLE", help="From this session of the task; its first without it.")
    ] = None,
    turn: Annotated[
        int | None,
        typer.Option(
            metavar="TURN", min=1, help="Keep the session up to the answer of this turn; from its start without it."
        ),
    ] = None,
    model: options.Models = None,
    guide: Annotated[str | None, typer.Option(metavar="TEXT", help="What the agents should do differently.")] = None,
    usd: Annotated[
        float | None, typer.Option(metavar="USD", min=0.0, help="Most that the new run may cost, in USD.")
    ] = None,
    no_publish: options.NoPublish = False,
    detach: options.Detach = False,
    run_id: options.RunId = None,
    sandbox: options.Sandbox = None,
    as_json: options.Json = False,
) -> None:
    """Start a run from a point of another one, and compare.

    The new run takes over plan, finished tasks and workspace as they were there, and pays only for what it does itself.
    The old one is left as it is. `baton diff NEW --against OLD` shows what came out differently.
    """
    run = options.check_run_id(run)
    settings = options.settings(sandbox=sandbox)
    if (session or turn) and not task:
        raise UsageError("--session and --turn say where in a task: name it with --task.")
    models = options.models(model or [])
    options.check_models(settings, models, settings_too=not detach)
    words = {"usd": usd, "publish": not no_publish}
    point = {"run": run, "task": task or "", "session": session or "", "turn": turn or 0}
    started: list[str] = []
    execute(
        _fork(settings, point, models, words, guide, run_id, detach, as_json, started),
        farewell=lambda: interrupted(started),
    )


async def _fork(
    settings: "Settings",
    point: dict[str, object],
    models: dict[str, str],
    changes: Mapping[str, object],
    guide: str | None,
    run_id: str | None,
    detach: bool,
    as_json: bool,
    started: list[str],
) -> int | None:
    from interfaces.cli.commands.run_watch import detach_run, run_to_end

    request, words = await _request(settings, point, models, changes, guide, run_id)
    if detach:
        await detach_run(settings, request, as_json, started, words)
        return None
    options.require_model_access(settings)
    code = await run_to_end(settings, request, as_json, started, words)
    message(f"Compare: {program()} diff {request.run} --against {point['run']}")
    return code


async def _request(
    settings: "Settings",
    point: dict[str, object],
    models: dict[str, str],
    changes: Mapping[str, object],
    guide: str | None,
    run_id: str | None,
) -> "tuple[RunRequest, Guide | None]":
    """The new run's request: the old one's, from its base commit, with what is to be different."""
    from pydantic import ValidationError

    from baton.naming import new_run_id
    from baton.records.run import Fork, Guide, RunRequest
    from baton.text.untrusted import whole
    from interfaces.cli.runs.stored_run import find_run
    from interfaces.cli.terminal.prompt import who
    from workspaces.checkpoints.fork_points import resolve_fork

    archive = await find_run(settings.home, str(point["run"]))
    fork, _ = await resolve_fork(archive.store, Fork.model_validate(point))
    role = fork.session.partition("-")[2]
    if fork.turn and role in models:
        raise UsageError(
            f"A session keeps its model to its end: to give the {role} another one, fork from the session's start"
            " (without --turn)."
        )
    old = await archive.request()
    base = old["base_commit"]
    kept = RunRequest.model_validate(old)
    made = new_run_id(kept.repo, kept.task, discreet=settings.encryption_keys is not None)
    request = options.request(
        {
            **kept.model_dump(),
            "base": base,
            "fork": fork,
            "github": None,  # the issue and its pull request stay with the run that has them
            "run": options.check_new_run_id(run_id) if run_id else made,
            "models": {**kept.models, **models},
            "started_by": who(),
            **{name: value for name, value in changes.items() if value is not None},
        }
    )
    # What the old run was given counts here, too, and may have lost its price since.
    options.check_models(settings, request.models, settings_too=False)
    try:
        words = Guide(text=whole(guide).strip(), task_id=None) if guide else None
        return request, options.masked(settings, words, "the message") if words else None
    except ValidationError as error:
        raise UsageError("The guidance must have between 1 and 20000 characters.") from error
