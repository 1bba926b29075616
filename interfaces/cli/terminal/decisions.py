"""What is shown beside an open decision, wherever it is shown. Pure."""

from baton.records.run import Decision
from interfaces.cli.terminal.output import one_line, short


def help_lines(decision: Decision) -> list[str]:
    """What helps to answer a question: what was tried, what is suggested, which commit it is about, what comes else."""
    lines = [f"tried: {one_line(text, 300)}" for text in decision.attempted]
    lines += [f"suggested: {one_line(text, 300)}" for text in decision.suggestions]
    if decision.commit:
        lines.append(f"about commit {short(decision.commit)}")
    if decision.default and decision.deadline:
        lines.append(f"unanswered until {decision.deadline:%Y-%m-%d %H:%M} UTC, {one_line(decision.default)} is taken")
    return lines
