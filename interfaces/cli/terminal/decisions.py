"""The facts beside an open decision, for terminal, progress lines and summaries. Pure."""

from baton.records.run import Decision
from baton.text.decision_lines import decision_lines
from interfaces.cli.terminal.output import one_line

_MAX_TEXTS = 100


def decision_help(decision: Decision) -> list[str]:
    """Return the attempts, suggestions, commit and deadline of a decision, a line each."""
    return decision_lines(decision, lambda text: one_line(text, 300), one_line, max_texts=_MAX_TEXTS)
