"""The summary of a run for people: result, cost, decisions, and the commands that show more."""

import shlex

from baton.decision_book import example_choice
from baton.records.run import Fork, RunDocument, RunStatus, TaskState
from baton.text.truncation import join_names
from interfaces.cli.terminal.decisions import decision_help
from interfaces.cli.terminal.output import count_noun, format_usd, one_line, program_name, short_commit
from interfaces.cli.views.follow import list_open_decisions
from interfaces.cli.views.progress_lines import gate_verdict, waiting_since

_WORDS = {
    RunStatus.DONE: "The change is done.",
    RunStatus.FAILED: "The run failed; its work is kept.",
    RunStatus.STOPPED: "The run was stopped; its work is kept.",
    RunStatus.WAITING: "The run waits for a decision; nothing is lost, and nothing is spent meanwhile.",
}


def document_lines(document: RunDocument) -> list[str]:
    """Return the document of a run as lines: facts, tasks, decisions, notes."""
    unsafe = document.sandboxed is False
    lines = [
        f"run       {document.run}",
        f"status    {document.status.value}",
        *(["sandbox   NONE: commands of agents and tests have the worker's own rights"] if unsafe else []),
        *([f"binds     {one_line(', '.join(document.binds), 500)}, read-only to commands"] if document.binds else []),
        f"task      {one_line(document.task, 200)}",
        f"repo      {one_line(document.repo, 200)}",
        f"base      {short_commit(document.base_commit)}",
        f"branch    {document.branch or '-'}"
        + (f" at {short_commit(document.head_commit)}" if document.branch else ""),
        f"gate      {gate_verdict(document.gate)}",
        f"cost      {format_usd(document.cost_usd)} in {count_noun(document.turns, 'turn')}",
        *cost_lines(document),
    ]
    if document.left_out:
        lines.append(f"not kept  {one_line(join_names(document.left_out), 2_000)}")
    if document.pull_request:
        lines.append(f"pull      {one_line(document.pull_request, 300)}")
    if document.forked_from:
        lines.append(f"forked    {_fork_origin(document.forked_from)}")
    if document.web_ui:
        own = " (while `baton up` or a run is at work)" if "//127.0.0.1:" in document.web_ui else ""
        lines.append(f"Web UI    {document.web_ui}{own}")
    if document.tasks:
        lines += ["", "tasks"]
    for task in document.tasks:
        stage = f" ({one_line(task.stage, 40)})" if task.stage and not task.state.is_final else ""
        lines.append(
            f"  {one_line(task.id, 40)}  {task.state.value}{stage}, {one_line(task.role, 20)},"
            f" {count_noun(task.rounds, 'round')}, {format_usd(task.cost_usd)}: {one_line(task.title, 80)}"
        )
    lines += [f"  {one_line(name, 40)} waits for {one_line(what)}" for name, what in document.waiting_for.items()]
    lines += decision_lines(document)
    if document.errors:
        lines += ["", "errors"]
    for error in document.errors:
        where = f"{one_line(error.task, 40)} {one_line(error.agent, 20)}"
        lines.append(f"  {error.timestamp:%H:%M:%S} {where}: {one_line(error.error, 300)}")
    said = {error.error for error in document.errors}
    notes = [note for note in document.notes if note not in said]
    if notes:
        lines += ["", "to know"]
    lines += [f"  {one_line(note, 2_000)}" for note in notes]
    return lines


def _fork_origin(fork: Fork) -> str:
    """Return the point where a run was forked, as a phrase."""
    if not fork.task:
        return f"from the plan of {fork.run}"
    turn = f", after turn {fork.turn}" if fork.turn else ", from its start"
    return f"from {fork.run}, task {one_line(fork.task, 40)}, session {one_line(fork.session, 40)}{turn}"


def cost_lines(document: RunDocument) -> list[str]:
    """Return the cost by role and by model, the highest first."""
    lines = []
    for title, costs in (("by role", document.cost_by_role), ("by model", document.cost_by_model)):
        sorted_costs = sorted(costs.items(), key=lambda entry: -entry[1])
        named = ", ".join(f"{one_line(name, 60)} {format_usd(amount)}" for name, amount in sorted_costs)
        lines += [f"  {title:9} {named}"] if named else []
    if document.unconfirmed_usd >= 0.00005:
        lines.append(f"          and up to {format_usd(document.unconfirmed_usd)} for calls whose end is unknown")
    return lines


def decision_lines(document: RunDocument) -> list[str]:
    """Return the decisions of a run as lines; the open ones with the command that answers them."""
    lines = ["", "decisions"] if document.decisions else []
    for decision in document.decisions:
        about = f" (task {one_line(decision.task_id, 40)})" if decision.task_id else ""
        answer = f": {one_line(decision.choice, 200)}" if decision.choice else ""
        by = f" by {one_line(decision.by, 60)}" if decision.by else ""
        lines.append(f"  {decision.id} {decision.state.value}{answer}{by}{about}: {one_line(decision.question, 500)}")
    for decision in list_open_decisions(document):
        reminded = f", {count_noun(decision.reminders, 'reminder')} so far" if decision.reminders else ""
        lines.append(f"  {decision.id} waits{waiting_since(decision)}{reminded}")
        lines += [f"  {text}" for text in decision_help(decision)]
        lines.append(f"  choices of {decision.id}: {', '.join(one_line(choice) for choice in decision.choices)}")
        choice = shlex.quote(one_line(example_choice(decision)))
        lines.append(f"  answer: {program_name()} decide {document.run} {decision.id} {choice}")
    return lines


def ending_lines(document: RunDocument) -> list[str]:
    """Return the lines that `run` and `watch` print at their end."""
    finished = sum(task.state is TaskState.DONE for task in document.tasks)
    words = _WORDS.get(document.status, f"The run is {document.status.value}.")
    if document.status is RunStatus.WAITING and document.waiting_for and not list_open_decisions(document):
        waits = one_line("; ".join(document.waiting_for.values()), 300)
        words = f"The run waits for {waits}; nothing is spent meanwhile."
    lines = ["", words]
    lines += [f"{finished} of {count_noun(len(document.tasks), 'task')} done"] if document.tasks else []
    return [*lines, "", *document_lines(document), "", *next_commands(document)]


def next_commands(document: RunDocument, prefix: str = "") -> list[str]:
    """Return the commands that show more."""
    run = document.run
    name = program_name()
    commands = [f"{name} show {run}"]
    if document.base_commit:
        commands += [f"{name} log {run}", f"{name} diff {run}"]
    if not document.status.is_final:
        commands.append(f"{name} watch {run}")
    return ["Look further:", *(f"  {prefix}{command}" for command in commands)]
