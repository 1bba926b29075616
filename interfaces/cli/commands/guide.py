"""The command `guide`: send a message to the agents of a run."""

from pydantic import ValidationError

from baton.errors import UsageError
from baton.records.run import Guide
from baton.settings.core import Settings
from baton.text.untrusted import replace_surrogates
from interfaces.cli.arguments import check_run_id, load_settings, mask_keys
from interfaces.cli.runs.current_document import read_current_document
from interfaces.cli.runs.runtime import use_service
from interfaces.cli.runs.snapshot import describe_readable, is_closed
from interfaces.cli.terminal.output import print_json, write_message
from interfaces.cli.terminal.runner import run_body


def guide(run: str, text: str, task: str | None, as_json: bool) -> None:
    """Send a message to the agents at work; raises UsageError if it is empty or too long, or the task is unknown."""
    run = check_run_id(run)
    try:
        words = Guide(text=replace_surrogates(text).strip(), task_id=task)
    except ValidationError as error:
        raise UsageError("The message must have between 1 and 20000 characters.") from error
    settings = load_settings()
    run_body(_send_message(settings, run, mask_keys(settings, words, "the message", leave=("task_id",)), as_json))


async def _send_message(settings: Settings, run: str, words: Guide, as_json: bool) -> None:
    async with use_service(settings, worker=False) as service:
        if is_closed(await describe_readable(service.client, run)):
            raise UsageError(f"The run {run} has ended: there is nobody to guide any more.")
        if words.task_id is not None:
            known = [task.id for task in (await read_current_document(settings, service, run)).tasks]
            if words.task_id not in known:
                has = f"it has: {', '.join(known)}" if known else "its plan is not made yet"
                raise UsageError(f"The run {run} has no task {words.task_id[:60]!r}; {has}.")
        await service.client.get_workflow_handle(run).signal("guide", words)
    if as_json:
        print_json({"run": run, "task_id": words.task_id, "text": words.text})
    else:
        write_message("Sent; the agents read it at their next turn.")
