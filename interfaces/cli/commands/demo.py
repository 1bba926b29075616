"""The command `demo`: the real pipeline on a sample repository, with a scripted model. No key, no network."""

import asyncio
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interfaces.cli import options
from interfaces.cli.terminal.output import count, line, message, one_line, program, short, usd
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from baton.records.run import Decide, Decision, RunDocument
    from baton.settings.core import Settings
    from standin.server.app import StandIn

TASK = "Add pagination to GET /orders, and show the orders page by page."

_PAUSE = 2.0
"""Seconds for which a decision is shown before the demo answers it."""

_EVERY = 0.2


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog="Example: baton demo --interactive")(demo)


def demo(
    interactive: Annotated[bool, typer.Option("--interactive", help="Answer the decision yourself.")] = False,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An empty or new directory for everything that the demo makes.")
    ] = None,
    sandbox: options.Sandbox = None,
    as_json: options.Json = False,
) -> None:
    """Show one complete run with a scripted model.

    Plan, two tasks, tests red and green, a rejected review, a decision, a branch.

    Server, worker, git, sandbox and tests are the real ones; only the model's answers are scripted, so that no key
    and no network are needed. Takes less than a minute.
    """
    settings = _settings(sandbox)
    execute(_demo(settings, interactive, keep, as_json), farewell=lambda: "The demo was interrupted.")


def _settings(sandbox: str | None) -> "Settings":
    """The settings; a user who has no place for Baton's data sees the demo in a temporary one."""
    from baton.errors import NoHome

    try:
        read = options.settings(sandbox=sandbox)
        read.require_home()
    except NoHome as error:
        message(f"{error} The demo is in a temporary directory.")
        return options.settings(sandbox=sandbox, home=Path(tempfile.mkdtemp(prefix="baton-")))
    return read


async def _demo(settings: "Settings", interactive: bool, keep: Path | None, as_json: bool) -> int:
    from baton.naming import new_run_id
    from baton.records.run import RunRequest
    from baton.settings.core import read_settings
    from interfaces.cli.runs.runtime import require_sandbox, serving, tell_where
    from interfaces.cli.runs.sample_repository import make_place, make_repository
    from interfaces.cli.runs.start import start_run
    from interfaces.cli.terminal.output import print_json
    from interfaces.cli.terminal.prompt import ask_in_terminal, can_ask
    from interfaces.cli.views.follow import exit_code, follow
    from interfaces.cli.views.live_view import choose_view
    from standin.script.scenario_file import shipped_scenario
    from standin.server.server import serve

    await require_sandbox(
        settings,
        " The demo runs only commands of its own script: `baton demo --sandbox none` shows it without isolation.",
    )
    place = make_place(settings.home, keep)
    repository = place / "orders"
    base = make_repository(repository)
    message("The model is scripted in this demo: a local stand-in answers instead of Claude. All else is real.")
    message(f"sample repository {repository}")
    async with serve(shipped_scenario("demo")) as standin:
        # A home of its own: a demo's worker must never touch other runs, nor another worker the demo's.
        own = read_settings(
            home=place / "home",
            sandbox=settings.sandbox,
            base_url=standin.base_url,
            api_key="scripted-model-needs-no-key",
        )
        request = RunRequest(
            task=TASK,
            repo=str(repository),
            run=new_run_id("orders", "add pagination"),
            started_by="baton demo",
            scripted_model=True,
        )
        async with serving(own, embedded_only=True) as service:
            tell_where(service)
            await start_run(service, request)
            ask = ask_in_terminal if interactive and can_ask(as_json=as_json) else _answer_itself
            view = choose_view(as_json=as_json, asks=True)
            document = await follow(service, request.run, view, ask, every=_EVERY)
    if as_json:
        print_json(document)
    else:
        await _summarise(document, own, repository, base, standin)
    return exit_code(document)


async def _answer_itself(decision: "Decision") -> "Decide":
    from baton.records.run import Decide
    from interfaces.cli.terminal.prompt import present

    present(decision)
    message(f"  The demo answers by itself: {one_line(decision.choices[0])}. (--interactive asks you.)")
    await asyncio.sleep(_PAUSE)
    return Decide(decision_id=decision.id, choice=decision.choices[0], note="Answered by the demo.", by="baton demo")


async def _summarise(
    document: "RunDocument", settings: "Settings", repository: Path, base: str, standin: "StandIn"
) -> None:
    from interfaces.cli.runs.sample_repository import commits
    from interfaces.cli.runs.stored_run import find_run
    from interfaces.cli.views.progress_lines import gate_verdict
    from workers.connection import target

    archive = await find_run(settings.home, document.run)
    line()
    line("The change is done." if document.branch else f"The run is {document.status.value}.")
    for task in document.tasks:
        line(
            f"  {task.id}  {task.role}: {one_line(task.title)}: {task.state.value} after {count(task.rounds, 'round')}"
        )
        evidence = await archive.gates(task.id)
        verdicts = ["green" if seen.green else f"red (exit code {seen.exit_code})" for seen in evidence]
        line(f"      tests    {' -> '.join(verdicts) or 'not run'}")
        line(f"      reviews  {' -> '.join(await archive.reviews(task.id)) or 'none'}")
    line(f"tests     {gate_verdict(document.gate)}, on the merged result {short(document.head_commit)}")
    if document.branch:
        line(f"branch    {document.branch} in {repository}")
        for commit in commits(repository, base, document.branch):
            line(f"            {one_line(commit)}")
    for decision in document.decisions:
        line(f"decision  {decision.id} {decision.state.value} by {decision.by}: {one_line(decision.choice or '-')}")
    line(f"cost      {usd(document.cost_usd)} in {document.turns} turns, had Claude answered; the model was scripted")
    prefix = f"BATON_HOME={shlex.quote(str(settings.home))} "
    if target().configured:
        prefix = f"env -u TEMPORAL_ADDRESS {prefix}"
    line("Look further:")
    for command in ("show", "log", "diff"):
        line(f"  {prefix}{program()} {command} {document.run}")
    line(f"  {prefix}{program()} up    # until Ctrl-C, then the Web UI is at")
    line(f"      {document.web_ui}")
    line(f"  git -C {shlex.quote(str(repository))} log -p main..{document.branch or ''}")
    line("On your own repository, with ANTHROPIC_API_KEY set:")
    line(f'  {program()} run "What to change" --repo PATH_OR_URL')
