"""Asks a person in the terminal, without blocking what goes on meanwhile."""

import asyncio
import getpass
import os
import shutil
import sys
import textwrap

from baton.contracts import Decide, Decision
from interfaces.cli.output import clean, message, one_line
from interfaces.cli.questions import help_lines


def can_ask(*, as_json: bool) -> bool:
    """Whether a person sits at a terminal on both sides."""
    return not as_json and sys.stdin.isatty() and sys.stderr.isatty()


def who() -> str:
    """The name under which an answer is recorded."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def present(decision: Decision) -> None:
    """Write the question with everything that helps to answer it."""
    message(f"\nDecision {decision.id}" + (f" (task {one_line(decision.task_id)})" if decision.task_id else ""))
    for text in (*clean(decision.question).split("\n"), *help_lines(decision)):
        message(_folded(f"  {text}"))
    for number, choice in enumerate(decision.choices, 1):
        default = "  (default)" if choice == decision.default else ""
        message(f"  {number}. {one_line(choice, 300)}{default}")


def _folded(text: str) -> str:
    """The text in lines that a terminal need not break in the middle of words."""
    if not sys.stderr.isatty() or not text.strip():
        return text
    return textwrap.fill(
        text, shutil.get_terminal_size().columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


async def ask_in_terminal(decision: Decision) -> Decide | None:
    """Let the person choose by number or words; an empty answer leaves the question open."""
    present(decision)
    while True:
        answer = await read_line("Choice (number or words; empty: leave it open): ")
        if not answer:
            return None
        choice = match_choice(decision, answer)
        if choice is not None:
            note = await read_line("Note for the agent (may be empty): ")
            return Decide(decision_id=decision.id, choice=choice, note=note or "", by=who())
        message(f"  {one_line(answer)!r} is none of the choices.")


def match_choice(decision: Decision, answer: str) -> str | None:
    """The choice that a number or words mean; words win, for a choice may be a number itself."""
    for choice in decision.choices:
        if choice.casefold() == answer.casefold():
            return choice
    if answer.isascii() and answer.isdecimal() and 1 <= int(answer) <= len(decision.choices):
        return decision.choices[int(answer) - 1]
    return None


async def read_line(prompt: str) -> str | None:
    """One line from the terminal, without blocking the loop; None at the end of input."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[str] = loop.create_future()
    descriptor = sys.stdin.fileno()

    def read() -> None:
        # A terminal hands over whole lines.
        if not ready.done():
            ready.set_result(os.read(descriptor, 65_536).decode(errors="replace"))

    loop.add_reader(descriptor, read)
    try:
        text = await ready
    finally:
        loop.remove_reader(descriptor)
    return text.strip() if text else None
