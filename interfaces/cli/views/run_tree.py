"""A run as a tree for the terminal: tasks, the session or step at work in each, turns, tools, cost, open questions."""

from datetime import UTC, datetime

from rich.text import Text
from rich.tree import Tree

from baton import identifiers
from baton.records.run import Decision, DecisionState, TaskDocument, TaskState
from baton.steps.session import SessionStatus
from interfaces.cli.runs.snapshot import RunSnapshot
from interfaces.cli.terminal.output import count_noun, format_usd, one_line, program_name
from interfaces.cli.views.progress_lines import describe_activity

_STYLES = {
    TaskState.PENDING: "dim",
    TaskState.WORKING: "cyan",
    TaskState.WAITING: "bold yellow",
    TaskState.DONE: "green",
    TaskState.SKIPPED: "dim",
    TaskState.FAILED: "red",
    TaskState.STOPPED: "red",
}


def make_run_tree(now: RunSnapshot) -> Tree:
    """Return the tree of a run at one moment."""
    document = now.document
    facts = [
        document.status.value,
        format_usd(document.cost_usd),
        count_noun(document.turns, "turn"),
        _elapsed_time(now),
    ]
    tree = Tree(_make_text(f"{document.run}  {'  '.join(filter(None, facts))}", "bold"), guide_style="dim")
    sessions = {session.task: session for session in now.sessions}
    known = {task.id for task in document.tasks}
    for session in now.sessions:
        if session.task not in known:
            branch = tree.add(_make_text(f"{one_line(session.task, 40)}  {format_usd(session.cost_usd)}", "cyan"))
            _add_session(branch, now, session)
    for task in document.tasks:
        _add_task(tree, now, task, sessions.get(task.id))
    own = now.steps.get(document.run)
    if own is not None and own.description:
        tree.add(_make_text(f"the run itself: {own.description}", "cyan"))
    for decision in document.decisions:
        if decision.state is DecisionState.OPEN and decision.task_id not in known:
            _add_decision(tree, document.run, decision)
    return tree


def _add_task(tree: Tree, now: RunSnapshot, task: TaskDocument, session: SessionStatus | None) -> None:
    facts = [task.state.value]
    facts += [f"round {task.rounds}"] if task.rounds else []
    facts += [count_noun(task.turns, "turn")] if task.turns else []
    facts += [format_usd(task.cost_usd)] if task.cost_usd else []
    branch = tree.add(
        _make_text(f"{one_line(task.id, 40)}  {one_line(task.title, 60)}  {', '.join(facts)}", _STYLES[task.state])
    )
    step = now.steps.get(identifiers.task_workflow_id(now.document.run, task.id))
    if session is not None:
        _add_session(branch, now, session)
    elif task.state is TaskState.WORKING:
        more = f" ({step.description})" if step is not None and step.description else ""
        branch.add(_make_text(f"{describe_activity(task, None, now.document.waiting_for.get(task.id, ''))}{more}"))
    elif task.state is TaskState.PENDING and task.depends_on:
        branch.add(_make_text(f"after {one_line(', '.join(task.depends_on), 80)}", "dim"))
    elif task.state is TaskState.SKIPPED and task.stage:
        branch.add(_make_text(one_line(task.stage, 80), "dim"))
    for decision in now.document.decisions:
        if decision.state is DecisionState.OPEN and decision.task_id == task.id:
            _add_decision(branch, now.document.run, decision)


def _add_session(branch: Tree, now: RunSnapshot, session: SessionStatus) -> None:
    """Add the role at work: its turn, its running step, its last words."""
    step = now.steps.get(identifiers.session_workflow_id(now.document.run, session.task, session.round, session.role))
    tools = one_line(", ".join(session.tools), 60)
    moment = step.description if step is not None and step.description else tools or "thinks"
    if session.waiting_for:
        moment = f"waits for {one_line(session.waiting_for, 60)}"
    read = session.usage.prompt_tokens
    cached = f", {session.usage.cache_read_tokens / read:.0%} from the cache" if read else ""
    at_work = branch.add(
        _make_text(f"{session.role}, turn {session.turn}: {moment}  {format_usd(session.cost_usd)}{cached}", "cyan")
    )
    if tools and tools != moment:
        at_work.add(_make_text(f"calls {tools}", "dim"))
    if session.excerpt:
        at_work.add(_make_text(f"“{one_line(session.excerpt, 90)}”", "dim"))


def _add_decision(branch: Tree, run: str, decision: Decision) -> None:
    asks = branch.add(_make_text(f"{decision.id}? {one_line(decision.question, 200)}", "bold yellow", wrap=True))
    choices = ", ".join(one_line(choice, 40) for choice in decision.choices)
    asks.add(_make_text(f"{program_name()} decide {run} {decision.id} CHOICE   ({choices})", "yellow", wrap=True))


def _elapsed_time(now: RunSnapshot) -> str:
    started = now.document.started_at
    if started is None:
        return ""
    seconds = int(((now.document.ended_at or datetime.now(UTC)) - started).total_seconds())
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}"


def _make_text(words: str, style: str = "", *, wrap: bool = False) -> Text:
    """Return text without markup: foreign text could contain some."""
    return Text(words, style=style, no_wrap=not wrap, overflow="fold" if wrap else "ellipsis")
