"""The command `demo`: the real pipeline on a sample repository, with a scripted model. No key, no network."""

import asyncio
import shlex
import tempfile
from datetime import timedelta
from pathlib import Path

from baton.errors import NoHome
from baton.naming import new_run_id
from baton.records.run import Decide, Decision, RunDocument, RunRequest
from baton.settings.core import SandboxMode, Settings, read_settings
from interfaces.cli.arguments import load_settings
from interfaces.cli.runs.runtime import require_sandbox, serving, tell_where
from interfaces.cli.runs.sample_repository import commits, make_place, make_repository
from interfaces.cli.runs.start import start_run
from interfaces.cli.runs.stored_run import find_run
from interfaces.cli.terminal.output import count, line, message, one_line, print_json, program, short, usd
from interfaces.cli.terminal.prompt import ask_in_terminal, can_ask, present
from interfaces.cli.terminal.runner import Farewell, execute
from interfaces.cli.views.follow import exit_code, follow
from interfaces.cli.views.live_view import choose_view
from interfaces.cli.views.progress_lines import gate_verdict
from standin.script.scenario_file import shipped_scenario
from standin.server.server import serve
from workers.connection import target

TASK = "Add pagination to GET /orders, and show the orders page by page."

_PAUSE = timedelta(seconds=2)
"""Time for which a decision is shown before the demo answers it."""

_POLL_SECONDS = 0.2


def demo(interactive: bool, keep: Path | None, sandbox: SandboxMode | None, as_json: bool) -> None:
    """Run the pipeline against the stand-in, and print the result."""
    settings = _settings(sandbox)
    execute(_demo(settings, interactive, keep, as_json), farewell=Farewell("The demo was interrupted."))


def _settings(sandbox: SandboxMode | None) -> Settings:
    """Return the settings; for a user without a directory for Baton's data, with a temporary one."""
    try:
        read = load_settings(sandbox=sandbox)
        read.require_home()
    except NoHome as error:
        message(f"{error} The demo is in a temporary directory.")
        return load_settings(sandbox=sandbox, home=Path(tempfile.mkdtemp(prefix="baton-")))
    return read


async def _demo(settings: Settings, interactive: bool, keep: Path | None, as_json: bool) -> int:
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
            document = await follow(service, request.run, view, ask, every=_POLL_SECONDS)
    if as_json:
        print_json(document)
    else:
        await _summarise(document, own, repository, base)
    return exit_code(document)


async def _answer_itself(decision: Decision) -> Decide:
    present(decision)
    message(f"  The demo answers by itself: {one_line(decision.choices[0])}. (--interactive asks you.)")
    await asyncio.sleep(_PAUSE.total_seconds())
    return Decide(decision_id=decision.id, choice=decision.choices[0], note="Answered by the demo.", by="baton demo")


async def _summarise(document: RunDocument, settings: Settings, repository: Path, base: str) -> None:
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
