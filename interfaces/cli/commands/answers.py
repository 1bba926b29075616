"""The commands `decide`, `guide` and `stop`: what people say to a run."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from baton.errors import UsageError
from interfaces.cli import options
from interfaces.cli.terminal.output import line, message, one_line, print_json, program
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from baton.records.run import Decide, Guide
    from baton.settings.core import Settings


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        cls=options.TextCommand,
        epilog='Example: baton decide shop-add-pagination-x7k2 D1 url --note "as in the other pages"',
    )(decide)
    app.command(
        cls=options.TextCommand,
        epilog='Example: baton guide shop-add-pagination-x7k2 "Keep the old parameter working" --task t1',
    )(guide)
    app.command(epilog="Example: baton stop shop-add-pagination-x7k2")(stop)


def decide(
    run: options.Run,
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="Its id, for instance D1.")],
    choice: Annotated[str, typer.Argument(metavar="CHOICE", help="One of its choices.")],
    note: Annotated[str, typer.Option(metavar="TEXT", help="A word to the agent about why.")] = "",
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who answers; your user name where not given.")] = None,
    commit: Annotated[
        str, typer.Option(metavar="COMMIT", help="What you looked at: refused where the question is about another one.")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Answer an open decision of a run. An answer that cannot be taken is refused with the reason."""
    from baton.records.run import Decide
    from baton.text.untrusted import whole
    from interfaces.cli.terminal.prompt import who

    run = options.check_run_id(run)
    words = {"decision_id": decision, "choice": choice, "note": note, "by": by or who(), "commit": commit}
    answer = Decide.model_validate({name: whole(word) for name, word in words.items()})
    settings = options.settings()
    answer = options.masked(settings, answer, "the answer", leave=("decision_id", "commit"))
    execute(_decide(settings, run, answer, as_json))


def guide(
    run: options.Run,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the agents should know or do.")],
    task: Annotated[str | None, typer.Option(metavar="TASK", help="Only for the agents of this task.")] = None,
    as_json: options.Json = False,
) -> None:
    """Give a message to the agents at work.

    They take it in at their next turn.
    """
    from pydantic import ValidationError

    from baton.records.run import Guide
    from baton.text.untrusted import whole

    run = options.check_run_id(run)
    try:
        words = Guide(text=whole(text).strip(), task_id=task)
    except ValidationError as error:
        raise UsageError("The message must have between 1 and 20000 characters.") from error
    settings = options.settings()
    execute(_guide(settings, run, options.masked(settings, words, "the message", leave=("task_id",)), as_json))


def stop(run: options.Run, as_json: options.Json = False) -> None:
    """Stop a run.

    Its processes are ended, its work is kept. Waits until it has ended.
    """
    run = options.check_run_id(run)
    told: list[str] = []
    execute(
        _stop(options.settings(), run, as_json, told),
        farewell=lambda: f"The run {run} was told to stop; it ends as soon as a worker is there." if told else None,
    )


async def _decide(settings: "Settings", run: str, answer: "Decide", as_json: bool) -> None:
    from baton.naming import is_run_queue
    from interfaces.cli.runs.runtime import attended, serving
    from interfaces.cli.runs.snapshot import describe_readable, is_closed
    from interfaces.cli.views.follow import send_answer

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


async def _guide(settings: "Settings", run: str, words: "Guide", as_json: bool) -> None:
    from interfaces.cli.commands.list_show import current_document
    from interfaces.cli.runs.runtime import serving
    from interfaces.cli.runs.snapshot import describe_readable, is_closed

    async with serving(settings, worker=False) as service:
        if is_closed(await describe_readable(service.client, run)):
            raise UsageError(f"The run {run} has ended: there is nobody to guide any more.")
        if words.task_id is not None:
            known = [task.id for task in (await current_document(settings, service, run)).tasks]
            if words.task_id not in known:
                has = f"it has: {', '.join(known)}" if known else "its plan is not made yet"
                raise UsageError(f"The run {run} has no task {words.task_id[:60]!r}; {has}.")
        await service.client.get_workflow_handle(run).signal("guide", words)
    if as_json:
        print_json({"run": run, "task_id": words.task_id, "text": words.text})
    else:
        message("Sent; the agents take it in at their next turn.")


async def _stop(settings: "Settings", run: str, as_json: bool, told: list[str]) -> None:
    """Stop a run; `told` gets its id as soon as the run has been told."""
    from contextlib import AsyncExitStack

    from interfaces.cli.commands.list_show import current_document
    from interfaces.cli.runs.command_worker import continuing_worker
    from interfaces.cli.runs.runtime import serving
    from interfaces.cli.runs.snapshot import describe, is_closed

    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(serving(settings, worker=False))
        description = await describe(service.client, run)
        if is_closed(description):
            raise UsageError(f"The run {run} has ended already.")
        await service.client.get_workflow_handle(run).cancel()
        told.append(run)
        # A worker must be there to end the run; told to stop before, it begins no new work.
        await stack.enter_async_context(continuing_worker(service, settings, description, stopping=True))
        while not is_closed(await describe(service.client, run)):  # noqa: ASYNC110 - the run is elsewhere
            await asyncio.sleep(0.2)
        document = await current_document(settings, service, run)
    if as_json:
        print_json(document)
    else:
        line(f"{run} {document.status.value}")
