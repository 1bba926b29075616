"""The command `demo`: the real pipeline on a sample repository, with a scripted model. No key, no network."""

import asyncio
import shlex
import tempfile
from datetime import timedelta
from pathlib import Path

from baton.errors import NoHome
from baton.identifiers import new_run_id
from baton.records.run import Decide, Decision, RunDocument, RunRequest
from baton.settings.core import SandboxMode, Settings, read_settings
from interfaces.cli.arguments import load_settings
from interfaces.cli.runs.runtime import require_sandbox, use_service, write_address
from interfaces.cli.runs.sample_repository import list_commits, make_demo_directory, make_repository
from interfaces.cli.runs.start import start_run
from interfaces.cli.runs.stored_run import find_run
from interfaces.cli.terminal.output import (
    count_noun,
    format_usd,
    one_line,
    print_json,
    program_name,
    short_commit,
    write_line,
    write_message,
)
from interfaces.cli.terminal.prompt import ask_in_terminal, can_ask, write_question
from interfaces.cli.terminal.runner import Farewell, run_body
from interfaces.cli.views.follow import exit_code_of, follow_run
from interfaces.cli.views.live_view import choose_view
from interfaces.cli.views.progress_lines import gate_verdict
from standin.script.scenario_file import shipped_scenario
from standin.server.server import serve_scenario
from workers.connection import read_target

TASK = "Add pagination to GET /orders, and show the orders page by page."

_PAUSE = timedelta(seconds=2)
"""Time for which a decision is shown before the demo answers it."""

_POLL_SECONDS = 0.2


def demo(interactive: bool, keep: Path | None, sandbox: SandboxMode | None, as_json: bool) -> None:
    """Run the pipeline against the stand-in, and print the result."""
    settings = _load_settings(sandbox)
    run_body(_run_demo(settings, interactive, keep, as_json), farewell=Farewell("The demo was interrupted."))


def _load_settings(sandbox: SandboxMode | None) -> Settings:
    """Return the settings; for a user without a directory for Baton's data, with a temporary one."""
    try:
        read = load_settings(sandbox=sandbox)
        read.require_home()
    except NoHome as error:
        write_message(f"{error} The demo is in a temporary directory.")
        return load_settings(sandbox=sandbox, home=Path(tempfile.mkdtemp(prefix="baton-")))
    return read


async def _run_demo(settings: Settings, interactive: bool, keep: Path | None, as_json: bool) -> int:
    await require_sandbox(
        settings,
        " The demo runs only commands of its own script: `baton demo --sandbox none` shows it without isolation.",
    )
    place = make_demo_directory(settings.home, keep)
    repository = place / "orders"
    base = make_repository(repository)
    write_message("The model is scripted in this demo: a local stand-in answers instead of Claude. All else is real.")
    write_message(f"sample repository {repository}")
    async with serve_scenario(shipped_scenario("demo")) as standin:
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
        async with use_service(own, embedded_only=True) as service:
            write_address(service)
            await start_run(service, request)
            ask = ask_in_terminal if interactive and can_ask(as_json=as_json) else _answer_itself
            view = choose_view(as_json=as_json, asks=True)
            document = await follow_run(service, request.run, view, ask, every=_POLL_SECONDS)
    if as_json:
        print_json(document)
    else:
        await _print_summary(document, own, repository, base)
    return exit_code_of(document)


async def _answer_itself(decision: Decision) -> Decide:
    write_question(decision)
    write_message(f"  The demo answers by itself: {one_line(decision.choices[0])}. (--interactive asks you.)")
    await asyncio.sleep(_PAUSE.total_seconds())
    return Decide(decision_id=decision.id, choice=decision.choices[0], note="Answered by the demo.", by="baton demo")


async def _print_summary(document: RunDocument, settings: Settings, repository: Path, base: str) -> None:
    archive = await find_run(settings.home, document.run)
    write_line()
    write_line("The change is done." if document.branch else f"The run is {document.status.value}.")
    for task in document.tasks:
        write_line(
            f"  {task.id}  {task.role}: {one_line(task.title)}: {task.state.value} after"
            f" {count_noun(task.rounds, 'round')}"
        )
        evidence = await archive.read_gates(task.id)
        verdicts = ["green" if seen.is_green else f"red (exit code {seen.exit_code})" for seen in evidence]
        write_line(f"      tests    {' -> '.join(verdicts) or 'not run'}")
        write_line(f"      reviews  {' -> '.join(await archive.read_reviews(task.id)) or 'none'}")
    write_line(f"tests     {gate_verdict(document.gate)}, on the merged result {short_commit(document.head_commit)}")
    if document.branch:
        write_line(f"branch    {document.branch} in {repository}")
        for commit in list_commits(repository, base, document.branch):
            write_line(f"            {one_line(commit)}")
    for decision in document.decisions:
        write_line(
            f"decision  {decision.id} {decision.state.value} by {decision.by}: {one_line(decision.choice or '-')}"
        )
    write_line(
        f"cost      {format_usd(document.cost_usd)} in {document.turns} turns, had Claude answered; the model was"
        " scripted"
    )
    prefix = f"BATON_HOME={shlex.quote(str(settings.home))} "
    if read_target().is_configured:
        prefix = f"env -u TEMPORAL_ADDRESS {prefix}"
    write_line("Look further:")
    for command in ("show", "log", "diff"):
        write_line(f"  {prefix}{program_name()} {command} {document.run}")
    write_line(f"  {prefix}{program_name()} up    # until Ctrl-C, then the Web UI is at")
    write_line(f"      {document.web_ui}")
    write_line(f"  git -C {shlex.quote(str(repository))} log -p main..{document.branch or ''}")
    write_line("On your own repository, with ANTHROPIC_API_KEY set:")
    write_line(f'  {program_name()} run "What to change" --repo PATH_OR_URL')
