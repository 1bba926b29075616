"""The commands about runs: start, follow, read, answer, stop."""

from typing import Annotated, Any

import typer

from interfaces.cli.choices import DefaultAnswer, Status
from interfaces.cli.usage.command_group import Panel, RenamedOption, declare_command
from interfaces.cli.usage.options import AsJson, Detach, Models, NewRunId, NoPublish, Run, Sandbox
from interfaces.cli.usage.run_ids import complete_run_id
from system.durations import GRAMMAR

app = typer.Typer()


def _usd_option(text: str) -> Any:
    return typer.Option(metavar="USD", min=0.0, help=text)


def _count_option(text: str, highest: int | None = None) -> Any:
    return typer.Option(metavar="N", min=1, max=highest, help=text)


_OLDER_CAPS = {
    f"--{name}": RenamedOption(f"--max-{name}")
    for name in (
        *("usd", "usd-per-task", "usd-per-session", "usd-per-day", "turns", "turns-per-task", "turns-per-run"),
        *("turns-per-day", "wall-clock", "rounds", "parallel"),
    )
}


@declare_command(
    app,
    "run",
    panel=Panel.RUNS,
    text=True,
    example='baton run "Add pagination to GET /orders" --repo . --max-usd 5 --max-wall-clock 2h',
    renamed={
        **_OLDER_CAPS,
        "--unanswered": RenamedOption("--decision-default"),
        "--answer-within": RenamedOption("--decision-deadline", "h"),
    },
)
def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What to change; `-` reads stdin, `@FILE` a file.")],
    repo: Annotated[str, typer.Option(metavar="PATH_OR_URL", help="The git repository to change.")] = ".",
    base: Annotated[str | None, typer.Option(metavar="REF", help="Branch, tag or commit to start from.")] = None,
    max_usd: Annotated[float | None, _usd_option("Maximum USD of the run's model calls.")] = None,
    max_usd_per_task: Annotated[float | None, _usd_option("The same for one task.")] = None,
    max_usd_per_session: Annotated[float | None, _usd_option("The same for one session.")] = None,
    max_usd_per_day: Annotated[
        float | None, _usd_option("Maximum USD of a UTC day, over all runs of this BATON_HOME.")
    ] = None,
    max_turns: Annotated[int | None, _count_option("Maximum turns of one session.")] = None,
    max_turns_per_task: Annotated[int | None, _count_option("Maximum turns of one task.")] = None,
    max_turns_per_run: Annotated[int | None, _count_option("Maximum turns of the run.")] = None,
    max_turns_per_day: Annotated[int | None, _count_option("Maximum turns of a UTC day, over all runs.")] = None,
    max_wall_clock: Annotated[
        str | None, typer.Option(metavar="DURATION", help=f"Maximum time that the run may work: {GRAMMAR}.")
    ] = None,
    max_rounds: Annotated[int | None, _count_option("Maximum rounds of a task.", 10)] = None,
    max_parallel: Annotated[int | None, _count_option("Maximum tasks at work at once.", 32)] = None,
    model: Models = None,
    sandbox: Sandbox = None,
    decision_default: Annotated[
        DefaultAnswer | None,
        typer.Option(help="Answer to a decision at its deadline."),
    ] = None,
    decision_deadline: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help=f"Time until --decision-default is taken: {GRAMMAR}."),
    ] = None,
    no_publish: NoPublish = False,
    detach: Detach = False,
    run_id: NewRunId = None,
    as_json: AsJson = False,
) -> None:
    """Make a change to a repository.

    Agents plan, work, test and review, and the result is published as a branch.
    Shows progress and waits for the end.
    Exit code: 0 done, 1 failed or stopped, 3 waiting for a decision.
    """


@declare_command(app, "check", panel=Panel.RUNS, example="baton check --repo https://github.com/you/shop --json")
def check(
    repo: Annotated[str, typer.Option(metavar="PATH_OR_URL", help="The repository; its base branch is checked.")] = ".",
    base: Annotated[
        str | None, typer.Option(metavar="REF", help="Branch, tag or commit instead of the default branch.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Make the environment anew, even if one is kept.")] = False,
    sandbox: Sandbox = None,
    as_json: AsJson = False,
) -> None:
    """Try a repository without a model: its detected technology, its set-up, and its tests at the base commit.

    The environment is made once and kept for later runs. The network is open to the registries while it is made, and
    closed while the tests run.
    Exit code: 0 when the tests are green, or green but for tests that fail at the base; 1 otherwise.
    """


@declare_command(app, "watch", panel=Panel.RUNS, example="baton watch shop-add-pagination-x7k2")
def watch(run: Run, as_json: AsJson = False) -> None:
    """Follow a run until its end.

    Starts a server and a worker where they are needed, and asks open decisions in a terminal.
    At a configured server it works on runs that were started in this home, and only follows others.
    Exit code: 0 done, 1 failed or stopped, 3 waiting for a decision.
    """


@declare_command(
    app,
    "fork",
    panel=Panel.RUNS,
    example="baton fork shop-add-pagination-x7k2 --task t1 --session 2-backend --model backend=opus",
    renamed={"--usd": RenamedOption("--max-usd")},
)
def fork(
    run: Run,
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
    model: Models = None,
    guide: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A message to the agents: what to do differently.")
    ] = None,
    max_usd: Annotated[float | None, _usd_option("Maximum USD of the run's model calls.")] = None,
    no_publish: NoPublish = False,
    detach: Detach = False,
    run_id: NewRunId = None,
    sandbox: Sandbox = None,
    as_json: AsJson = False,
) -> None:
    """Start a run from a point of another one, and compare.

    The new run takes over plan, finished tasks and workspace as they were there, and pays only for its own work.
    The old one stays as it is. `baton diff NEW --against OLD` shows how the results differ.
    """


@declare_command(
    app, "list", name="list", function="list_runs", panel=Panel.RUNS, example="baton list --status waiting"
)
def list_runs(
    status: Annotated[Status | None, typer.Option(help="Only runs of this status.")] = None,
    web: Annotated[
        bool, typer.Option("--web", help="Print links to lists in the Web UI instead: waiting, failed today, ...")
    ] = False,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Maximum runs to list, the newest first.")
    ] = 50,
    as_json: AsJson = False,
) -> None:
    """List the runs, the newest first.

    Where no Temporal server runs, the runs are read from the stores of this home, and stderr says so.
    """


@declare_command(app, "show", panel=Panel.RUNS, example="baton show shop-add-pagination-x7k2 --decisions")
def show(
    run: Run,
    state: Annotated[bool, typer.Option("--state", help="Print state.json, as the store has it.")] = False,
    decisions: Annotated[bool, typer.Option("--decisions", help="Only the decisions.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the state of a run: tasks, cost, gate, decisions, errors.

    Where no Temporal server runs, the state is read from the stores of this home, and stderr says so.
    """


@declare_command(
    app, "log", panel=Panel.RUNS, example="baton log shop-add-pagination-x7k2 --task t1 --session 1-backend"
)
def log(
    run: Run,
    task: Annotated[str | None, typer.Option(metavar="TASK", help="Only this task (`plan` for the plan).")] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ROUND-ROLE", help="Only this session, for instance 1-backend.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print further messages as they come, until the run ends.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the transcripts of a run.

    Every message, tool call and result of its sessions, in their order. Read from the stores of this home.
    """


@declare_command(app, "diff", panel=Panel.RUNS, example="baton diff shop-add-pagination-x7k2 --stat")
def diff(
    run: Run,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Against the result of another run of the same repository.",
            autocompletion=complete_run_id,
        ),
    ] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Only the files and how many lines changed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the change that a run has made so far.

    As a patch against the commit that it started from, or against the result of another run. Into a file or a pipe it
    goes byte for byte, binary files included, for `git apply`. Read from the stores of this home.
    """


@declare_command(
    app,
    "decide",
    panel=Panel.RUNS,
    text=True,
    example='baton decide shop-add-pagination-x7k2 D1 url --note "as in the other pages"',
)
def decide(
    run: Run,
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="Its id, for instance D1.")],
    choice: Annotated[str, typer.Argument(metavar="CHOICE", help="One of its choices.")],
    note: Annotated[str, typer.Option(metavar="TEXT", help="A note to the agent: the reason.")] = "",
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who answers; your user name where not given.")] = None,
    commit: Annotated[
        str, typer.Option(metavar="COMMIT", help="The commit you saw: refused where the question is about another one.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Answer an open decision of a run. An answer that cannot be taken is refused with the reason."""


@declare_command(
    app,
    "guide",
    panel=Panel.RUNS,
    text=True,
    example='baton guide shop-add-pagination-x7k2 "Keep the old parameter working" --task t1',
)
def guide(
    run: Run,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A message: what the agents should know or do.")],
    task: Annotated[str | None, typer.Option(metavar="TASK", help="Only for the agents of this task.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send a message to the agents at work.

    They read it at their next turn.
    """


@declare_command(app, "stop", panel=Panel.RUNS, example="baton stop shop-add-pagination-x7k2")
def stop(run: Run, as_json: AsJson = False) -> None:
    """Stop a run.

    Its processes are ended, its work is kept. Waits until it has ended; a run that has ended stays as it is.
    """
