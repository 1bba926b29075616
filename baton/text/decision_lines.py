"""The lines beside an open decision: the same text in the terminal, in the Web UI and in a comment on GitHub."""

from collections.abc import Callable

from baton.records.run import Decision
from baton.text.truncation import first_items


def decision_lines(
    decision: Decision, quote: Callable[[str], str], code: Callable[[str], str], *, max_texts: int
) -> list[str]:
    """Return the attempts, the suggestions, the commit in question and the deadline of a decision, a line each.

    `quote` makes a text of a model safe for the place where it is shown, `code` a name. Of the attempts and of the
    suggestions there are at most `max_texts`; the last line of each says how many are left out.
    """
    lines = [f"tried: {quote(text)}" for text in first_items(decision.attempted, max_texts)]
    lines += [f"suggested: {quote(text)}" for text in first_items(decision.suggestions, max_texts)]
    if decision.commit:
        lines.append(f"about commit {code(decision.commit[:12])}")
    if decision.default and decision.deadline:
        lines.append(f"unanswered until {decision.deadline:%Y-%m-%d %H:%M} UTC, {code(decision.default)} is taken")
    return lines
