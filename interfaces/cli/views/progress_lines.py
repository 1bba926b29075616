"""The events of a run between two snapshots, as lines for people. Pure."""

from collections.abc import Iterator

from baton.records.run import (
    Decision,
    DecisionState,
    GateDocument,
    RoundDocument,
    RunDocument,
    TaskDocument,
    TaskState,
)
from baton.steps.session import SessionStatus
from interfaces.cli.runs.snapshot import RunSnapshot, role_at_work
from interfaces.cli.terminal.decisions import decision_help
from interfaces.cli.terminal.output import count_noun, format_usd, one_line, short_commit

_ENDED = {
    TaskState.DONE: "done",
    TaskState.SKIPPED: "skipped",
    TaskState.FAILED: "failed",
    TaskState.STOPPED: "stopped",
    TaskState.WAITING: "waits for a decision",
}
_DOING = {"gate": "gate: the project's tests", "integrate": "merging", "open": "preparing its workspace"}


def list_events(before: RunSnapshot | None, now: RunSnapshot, *, asks: bool = False) -> list[str]:
    """Return a line for each event since the snapshot before, in reading order.

    With `asks`, the view asks a person open decisions, so they are only named here.
    """
    old, new = (before.document if before else None), now.document
    known = old.notes if old else []
    lines = [f"note: {one_line(note, 1_000)}" for note in new.notes if note not in known]
    if new.base_commit and (old is None or old.base_commit is None):
        lines.append(f"base {short_commit(new.base_commit)} of {one_line(new.repo)}")
    if old is None or len(new.tasks) > len(old.tasks):
        lines += _plan_lines(new.tasks[len(old.tasks) if old else 0 :])
    lines += _turn_lines(before.sessions if before else [], now.sessions)
    told = {session.waiting_for for session in now.sessions}
    for name, what in new.waiting_for.items():
        if what not in told and (old is None or old.waiting_for.get(name) != what):
            lines.append(f"{one_line(name)} waits for {one_line(what)}")
    lines += _task_lines(old, new)
    for decision in new.decisions:
        lines += _decision_lines(_find_decision(old, decision), decision, asks)
    lines += reminder_lines(old, new)
    errors = new.errors[len(old.errors) if old else 0 :]
    asked = {(decision.task_id, decision.question) for decision in new.decisions}
    for error in errors:
        if (error.task, error.error) not in asked:  # else the question says it
            lines.append(f"error in {one_line(error.task)}: {one_line(error.error, 300)}")
    if new.gate and (old is None or old.gate != new.gate):
        lines.append(f"gate on {short_commit(new.gate.commit)}: {gate_verdict(new.gate)}")
    if new.branch and (old is None or old.branch is None):
        lines.append(f"published {new.branch} at {short_commit(new.head_commit)}")
    if old is None or old.status is not new.status:
        lines.append(f"{new.status.value}, {format_usd(new.cost_usd)}")
    return lines


def gate_verdict(gate: GateDocument | None) -> str:
    """Return the verdict of the gate as a phrase."""
    if gate is None:
        return "not run"
    if gate.command is None:
        return "no tests were found"
    verdict = "green" if gate.exit_code == 0 else f"red (exit code {gate.exit_code})"
    return f"{verdict}, {one_line(gate.command)}"


def describe_activity(task: TaskDocument, session: SessionStatus | None, waiting_for: str = "") -> str:
    """Return the present activity of a task; `waiting_for` is the reason for which the task itself waits."""
    if task.state is not TaskState.WORKING:
        return _ENDED.get(task.state, one_line(task.stage, 60) or "waits for its turn")
    if session is not None and session.waiting_for:
        return f"turn {session.turn}: waits for {one_line(session.waiting_for, 80)}"
    if session is not None:
        tools = ", ".join(session.tools) or one_line(session.excerpt, 60) or "thinking"
        return f"turn {session.turn}: {one_line(tools, 60)}"
    if waiting_for:
        return f"waits for {one_line(waiting_for, 80)}"
    role = role_at_work(task)
    return _DOING.get(task.stage, f"{role} begins" if role else one_line(task.stage, 60) or "begins")


def _plan_lines(tasks: list[TaskDocument]) -> Iterator[str]:
    if tasks:
        yield f"plan: {count_noun(len(tasks), 'task')}"
    for task in tasks:
        needs = f" (after {', '.join(task.depends_on)})" if task.depends_on else ""
        yield f"  {one_line(task.id)} {one_line(task.role)}: {one_line(task.title)}{one_line(needs)}"


def _turn_lines(old: list[SessionStatus], new: list[SessionStatus]) -> Iterator[str]:
    known = {(session.task, session.round, session.role): session for session in old}
    for session in new:
        before = known.get((session.task, session.round, session.role))
        name = f"{one_line(session.task)} {session.role} round {session.round} turn {session.turn}"
        if session.waiting_for and (before is None or before.waiting_for != session.waiting_for):
            yield f"{name}: waits for {one_line(session.waiting_for)}"
            continue
        if before is None or before.turn != session.turn:
            doing_now = ", ".join(session.tools) or session.excerpt or "thinking"
            yield f"{name}: {one_line(doing_now)}  {format_usd(session.cost_usd)}"


def _task_lines(old: RunDocument | None, new: RunDocument) -> Iterator[str]:
    known = {task.id: task for task in old.tasks} if old else {}
    for task in new.tasks:
        before = known.get(task.id)
        name = one_line(task.id)
        for outcome in task.outcomes:
            yield from _outcome_lines(name, _known_outcome(before, outcome.round), outcome)
        if task.state in _ENDED and (before is None or before.state is not task.state):
            rounds = f" after {count_noun(task.rounds, 'round')}" if task.rounds else ""
            yield f"{name} {_ENDED[task.state]}{rounds}, {format_usd(task.cost_usd)}"
        elif task.stage in ("gate", "integrate") and (before is None or before.stage != task.stage):
            yield f"{name} round {task.rounds}: {_DOING[task.stage]}"


def _known_outcome(task: TaskDocument | None, number: int) -> RoundDocument:
    known = (outcome for outcome in task.outcomes if outcome.round == number) if task else iter(())
    return next(known, RoundDocument(round=number))


def _outcome_lines(task: str, before: RoundDocument, now: RoundDocument) -> Iterator[str]:
    """Yield the new verdicts of a round: of the tester, the gate, the reviewer."""
    where = f"{task} round {now.round}"
    if now.tester != before.tester:
        yield f"{where}: the tester says {one_line(now.tester)}"
    if now.gate is not None and now.gate != before.gate:
        yield f"{where}: gate {gate_verdict(now.gate)}"
    if now.reviewer != before.reviewer:
        findings = f", {count_noun(now.blocking, 'blocking finding')}" if now.blocking else ""
        yield f"{where}: the reviewer says {one_line(now.reviewer)}{findings}"


def reminder_lines(old: RunDocument | None, new: RunDocument) -> Iterator[str]:
    """Yield a line for each open decision that was reminded of between two documents."""
    for decision in new.decisions:
        before = _find_decision(old, decision)
        if decision.state is DecisionState.OPEN and before is not None and decision.reminders > before.reminders:
            about = f" (task {one_line(decision.task_id)})" if decision.task_id else ""
            question = one_line(decision.question, 300)
            yield f"reminder: decision {decision.id}{about} waits for an answer{waiting_since(decision)}: {question}"


def waiting_since(decision: Decision) -> str:
    """Return ` since <time>` for a decision; empty if the time is unknown."""
    return f" since {decision.opened_at:%Y-%m-%d %H:%M} UTC" if decision.opened_at else ""


def _find_decision(document: RunDocument | None, decision: Decision) -> Decision | None:
    return next((known for known in document.decisions if known.id == decision.id), None) if document else None


def _decision_lines(before: Decision | None, now: Decision, asks: bool) -> Iterator[str]:
    about = f" (task {one_line(now.task_id)})" if now.task_id else ""
    if before is None and asks and now.state is DecisionState.OPEN:
        yield f"decision {now.id}{about} is to be made"
    elif before is None:
        yield f"decision {now.id}{about}: {one_line(now.question, 500)}"
        yield from (f"  {text}" for text in decision_help(now))
        yield f"  choices: {', '.join(one_line(choice) for choice in now.choices)}"
    if now.state is not DecisionState.OPEN and (before is None or before.state is not now.state):
        by = f" by {one_line(now.by)}" if now.by else ""
        yield f"decision {now.id} {now.state.value}{by}: {one_line(now.choice or '-')}"
