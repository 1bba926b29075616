"""The visibility of runs, tasks and sessions: search attributes and details in Markdown. No workflow logic."""

from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

with workflow.unsafe.imports_passed_through():
    from baton.records.run import Decision, DecisionState, RunDocument, RunStatus, TaskDocument, TaskState
    from baton.steps.session import SessionStatus
    from baton.steps.task import TaskInput
    from baton.text.decision_lines import decision_lines
    from baton.text.markdown import escape_markdown, inline_code, join_bounded
    from baton.text.truncation import cut_text

REPO = SearchAttributeKey.for_keyword("BatonRepo")
STATUS = SearchAttributeKey.for_keyword("BatonStatus")
PENDING_DECISIONS = SearchAttributeKey.for_int("BatonPendingDecisions")
COST_USD = SearchAttributeKey.for_float("BatonCostUsd")


class Visibility:
    """Publishes the changes of a run's document as search attributes and current details."""

    def __init__(self, document: RunDocument, *, lean: bool = False) -> None:
        """`lean`: a cost alone is shown only where it is asked for; each update of the attributes is an event."""
        self._document = document
        self._lean = lean
        self._shown: tuple[RunStatus | None, int, float] = (None, 0, 0.0)

    def take_as_shown(self, decisions: list[Decision]) -> None:
        """Take the document as shown: another execution of the run has done so."""
        self._shown = self._read_attributes(decisions)

    def _read_attributes(self, decisions: list[Decision]) -> tuple[RunStatus, int, float]:
        pending = sum(decision.state is DecisionState.OPEN for decision in decisions)
        return self._document.status, pending, round(self._document.cost_usd, 6)

    def show_run(self, decisions: list[Decision], *, cost: bool = False) -> bool:
        """Update search attributes and current details; whether the status is another one than before."""
        document = self._document
        now = self._read_attributes(decisions)
        entered = document.status is not self._shown[0]
        if now[:2] != self._shown[:2] or (now != self._shown and (cost or not self._lean)):
            first = self._shown[0] is None
            updates: list[SearchAttributeUpdate[Any]] = [REPO.value_set(document.repo)] if first else []
            if entered:
                updates.append(STATUS.value_set(document.status.value))
            if first or now[1] != self._shown[1]:
                updates.append(PENDING_DECISIONS.value_set(now[1]))
            if first or now[2] != self._shown[2]:
                updates.append(COST_USD.value_set(now[2]))
            workflow.upsert_search_attributes(updates)
            self._shown = now
        workflow.set_current_details(run_details(document, decisions))
        return entered


def run_details(document: RunDocument, decisions: list[Decision]) -> str:
    """Return the run in Markdown, for the Web UI: open decisions first, then tasks, cost and notes."""
    lines = [f"**{document.status.value}** · {len(document.tasks)} tasks · ${document.cost_usd:.4f}"]
    for decision in decisions:
        if decision.state is DecisionState.OPEN:
            lines += _decision_lines(document.run, decision)
    waits = dict(document.waiting_for)
    if document.tasks:
        lines += ["", "### Tasks", *(_task_line(task, waits.pop(task.id, "")) for task in document.tasks)]
    if waits:
        lines += [
            "",
            *(f"- {escape_markdown(name)}: waits for {escape_markdown(what)}" for name, what in waits.items()),
        ]
    if document.branch and document.head_commit:
        lines += ["", f"Branch {inline_code(document.branch)} at {inline_code(document.head_commit[:12])}"]
    if document.pull_request:
        lines.append(f"Pull request {inline_code(document.pull_request)}")
    if document.notes:
        lines += ["", "### To know", *(f"- {escape_markdown(note)}" for note in document.notes)]
    if document.errors:
        lines += [
            "",
            "### Errors",
            *([f"- {len(document.errors) - 5} older ones"] if len(document.errors) > 5 else []),
            *(
                f"- {escape_markdown(error.task)}: {escape_markdown(cut_text(error.error, 300))}"
                for error in document.errors[-5:]
            ),
        ]
    return join_bounded(lines)


def task_details(task: TaskInput) -> str:
    """A task at work, in Markdown."""
    progress = task.progress
    return "\n".join(
        [
            f"**{escape_markdown(task.task.id)}** {escape_markdown(task.task.title)}",
            f"- round {progress.round} of {progress.last_round}, now: {escape_markdown(progress.stage)}",
            f"- checkpoint {inline_code(progress.commit[:12] or 'none yet')}",
            f"- run {inline_code(task.run)}",
        ]
    )


def session_details(status: SessionStatus) -> str:
    """A session at work, in Markdown."""
    lines = [f"**{escape_markdown(status.role)}** · turn {status.turn} · ${status.cost_usd:.4f}"]
    lines += [f"- runs now: {', '.join(map(inline_code, status.tools))}"] if status.tools else ["- asks the model"]
    lines += [f"- said last: {escape_markdown(status.excerpt)}"] if status.excerpt else []
    lines.append(
        f"- tokens: {status.usage.prompt_tokens} read ({status.usage.cache_read_tokens} from the cache),"
        f" {status.usage.output_tokens} written"
    )
    return "\n".join(lines)


def _decision_lines(run: str, decision: Decision) -> list[str]:
    task = f" (task {escape_markdown(decision.task_id)})" if decision.task_id else ""
    answer = f'{{"decision_id": "{decision.id}", "choice": "{decision.choices[0]}"}}'
    return [
        "",
        f"### Decision {decision.id}{task}",
        escape_markdown(decision.question),
        "",
        *(
            f"- {line}"
            for line in decision_lines(
                decision, lambda text: escape_markdown(cut_text(text, 300)), inline_code, max_texts=5
            )
        ),
        "",
        "Choices:",
        "",
        *(f"- {inline_code(choice)}" for choice in decision.choices),
        "",
        f"Answer here: send the signal {inline_code('decide')} with {inline_code(answer)}",
        f"Or in a terminal: {inline_code(f'baton decide {run} {decision.id} CHOICE')}",
    ]


def _task_line(task: TaskDocument, waiting_for: str) -> str:
    now = [task.stage, f"waits for {waiting_for}" if waiting_for else ""] if task.state is TaskState.WORKING else []
    stage = "".join(f", {escape_markdown(text)}" for text in now if text)
    rounds = f", round {task.rounds}" if task.rounds else ""
    name = f"**{escape_markdown(task.id)}** {escape_markdown(task.title)}"
    return f"- {name}: {task.state.display_text}{stage}{rounds}, ${task.cost_usd:.4f}"
