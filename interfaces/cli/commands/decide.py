"""The command `decide`: answer an open decision of a run."""

from baton.errors import UsageError
from baton.identifiers import is_run_queue
from baton.records.run import Decide
from baton.settings.core import Settings
from baton.text.untrusted import replace_surrogates
from interfaces.cli.arguments import check_run_id, load_settings, mask_keys
from interfaces.cli.runs.runtime import answer_queries, use_service
from interfaces.cli.runs.snapshot import describe_readable, is_closed
from interfaces.cli.terminal.output import one_line, print_json, program_name, write_line, write_message
from interfaces.cli.terminal.prompt import user_name
from interfaces.cli.terminal.runner import run_body
from interfaces.cli.views.follow import send_answer


def decide(run: str, decision: str, choice: str, note: str, by: str | None, commit: str, as_json: bool) -> None:
    """Send an answer to an open decision; raises UsageError with the run's reason for refusing it."""
    run = check_run_id(run)
    texts = {"decision_id": decision, "choice": choice, "note": note, "by": by or user_name(), "commit": commit}
    answer = Decide.model_validate({name: replace_surrogates(text) for name, text in texts.items()})
    settings = load_settings()
    answer = mask_keys(settings, answer, "the answer", leave=("decision_id", "commit"))
    run_body(_send_decision(settings, run, answer, as_json))


async def _send_decision(settings: Settings, run: str, answer: Decide, as_json: bool) -> None:
    async with use_service(settings, worker=False) as service:
        description = await describe_readable(service.client, run)
        if is_closed(description):
            raise UsageError(f"The run {run} has ended: there is nothing to decide any more.")
        async with answer_queries(service, description.task_queue) as attendance:
            decision = await send_answer(service, run, answer)
    if as_json:
        print_json(decision)
    else:
        write_line(f"{decision.id} {decision.state.value}: {one_line(decision.choice or '')}")
    if attendance.own:
        if service.embedded:
            how = f"`{program_name()} up` or `{program_name()} watch {run}`"
        elif is_run_queue(description.task_queue):
            how = f"`{program_name()} watch {run}` in the home that started it, or a `{program_name()} worker`"
        else:
            how = f"a `{program_name()} worker`"
        write_message(f"No worker is at work: the run goes on with {how}.")
