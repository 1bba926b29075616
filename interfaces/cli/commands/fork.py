"""The command `fork`: a new run that goes on from another one, from its plan, a session or a single turn."""

from pydantic import ValidationError

from baton.errors import UsageError
from baton.identifiers import new_run_id
from baton.records.run import Fork, Guide, RunRequest
from baton.settings.core import SandboxMode, Settings
from baton.text.untrusted import replace_surrogates
from interfaces.cli.arguments import check_run_id, load_settings, mask_keys, require_model_access
from interfaces.cli.commands.run import detach_run, run_to_end
from interfaces.cli.request_arguments import check_models, check_new_run_id, make_request, parse_models
from interfaces.cli.runs.start import UNSTARTED
from interfaces.cli.runs.stored_run import find_run
from interfaces.cli.terminal.output import program_name, write_message
from interfaces.cli.terminal.prompt import user_name
from interfaces.cli.terminal.runner import Farewell, run_body
from workspaces.checkpoints.fork_points import resolve_fork


def fork(
    *,
    run: str,
    task: str | None,
    session: str | None,
    turn: int | None,
    model: list[str] | None,
    guide: str | None,
    max_usd: float | None,
    no_publish: bool,
    detach: bool,
    run_id: str | None,
    sandbox: SandboxMode | None,
    as_json: bool,
) -> None:
    """Start a run from a point of another one; raises UsageError if that point does not exist."""
    settings = load_settings(sandbox=sandbox)
    if (session or turn) and not task:
        raise UsageError("--session and --turn name a point in a task: name the task with --task.")
    models = parse_models(model)
    check_models(settings, models, settings_too=not detach)
    new_id = None if run_id is None else check_new_run_id(run_id)
    changes: dict[str, object] = {"usd": max_usd, "publish": not no_publish, "run": new_id}
    point = {"run": check_run_id(run), "task": task or "", "session": session or "", "turn": turn or 0}
    farewell = Farewell(UNSTARTED)
    run_body(_start_fork(settings, point, models, changes, guide, detach, as_json, farewell), farewell=farewell)


async def _start_fork(
    settings: Settings,
    point: dict[str, object],
    models: dict[str, str],
    changes: dict[str, object],
    guide: str | None,
    detach: bool,
    as_json: bool,
    farewell: Farewell,
) -> int | None:
    request = await _make_request(settings, point, models, changes)
    words = _make_guidance(settings, guide) if guide else None
    if detach:
        await detach_run(settings, request, as_json, farewell, words)
        return None
    require_model_access(settings)
    code = await run_to_end(settings, request, as_json, farewell, words)
    write_message(f"Compare: {program_name()} diff {request.run} --against {point['run']}")
    return code


async def _make_request(
    settings: Settings, point: dict[str, object], models: dict[str, str], changes: dict[str, object]
) -> RunRequest:
    """Return the new run's request: that of the old run, from its base commit, with the changes."""
    archive = await find_run(settings.home, str(point["run"]))
    fork, _ = await resolve_fork(archive.store, Fork.model_validate(point))
    role = fork.session.partition("-")[2]
    if fork.turn and role in models:
        raise UsageError(
            f"A session keeps its model to its end: to give the {role} another one, fork from the session's start"
            " (without --turn)."
        )
    old = await archive.read_request()
    kept = RunRequest.model_validate(old)
    request = make_request(
        {
            **kept.model_dump(),
            "base": old["base_commit"],
            "fork": fork,
            "github": None,  # the issue and its pull request stay with the run that has them
            "run": new_run_id(kept.repo, kept.task, discreet=settings.encryption_keys is not None),
            "models": {**kept.models, **models},
            "started_by": user_name(),
            **{name: value for name, value in changes.items() if value is not None},
        }
    )
    # The models of the old run are checked, too: one may have lost its price since.
    check_models(settings, request.models, settings_too=False)
    return request


def _make_guidance(settings: Settings, text: str) -> Guide:
    """Return the message to the agents, with keys masked; raises UsageError if it is too long."""
    try:
        return mask_keys(settings, Guide(text=replace_surrogates(text).strip(), task_id=None), "the message")
    except ValidationError as error:
        raise UsageError("The guidance must have between 1 and 20000 characters.") from error
