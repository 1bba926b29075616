"""The command `decide`: answer an open decision of a run."""

from baton.errors import UsageError
from baton.naming import is_run_queue
from baton.records.run import Decide
from baton.settings.core import Settings
from baton.text.untrusted import whole
from interfaces.cli.arguments import check_run_id, load_settings, mask_keys
from interfaces.cli.runs.runtime import attended, serving
from interfaces.cli.runs.snapshot import describe_readable, is_closed
from interfaces.cli.terminal.output import line, message, one_line, print_json, program
from interfaces.cli.terminal.prompt import who
from interfaces.cli.terminal.runner import execute
from interfaces.cli.views.follow import send_answer


def decide(run: str, decision: str, choice: str, note: str, by: str | None, commit: str, as_json: bool) -> None:
    """Send an answer to an open decision; raises UsageError with the run's reason for refusing it."""
    run = check_run_id(run)
    texts = {"decision_id": decision, "choice": choice, "note": note, "by": by or who(), "commit": commit}
    answer = Decide.model_validate({name: whole(text) for name, text in texts.items()})
    settings = load_settings()
    answer = mask_keys(settings, answer, "the answer", leave=("decision_id", "commit"))
    execute(_decide(settings, run, answer, as_json))


async def _decide(settings: Settings, run: str, answer: Decide, as_json: bool) -> None:
    async with serving(settings, worker=False) as service:
        description = await describe_readable(service.client, run)
        if is_closed(description):
            raise UsageError(f"The run {run} has ended: there is nothing to decide any more.")
        async with attended(service, description.task_queue) as attendance:
            decision = await send_answer(service, run, answer)
    if as_json:
        print_json(decision)
    else:
        line(f"{decision.id} {decision.state.value}: {one_line(decision.choice or '')}")
    if attendance.own:
        if service.embedded:
            how = f"`{program()} up` or `{program()} watch {run}`"
        elif is_run_queue(description.task_queue):
            how = f"`{program()} watch {run}` in the home that started it, or a `{program()} worker`"
        else:
            how = f"a `{program()} worker`"
        message(f"No worker is at work: the run goes on with {how}.")
