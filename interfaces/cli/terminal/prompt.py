"""Questions to a person in the terminal, asked without blocking the event loop.

Only a command in the foreground may read from its terminal: the kernel stops a background command that tries
(SIGTTIN, https://man7.org/linux/man-pages/man4/tty_ioctl.4.html), and with it the worker that runs in it.
"""

import asyncio
import contextlib
import errno
import getpass
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterator
from datetime import timedelta

from baton.records.run import Decide, Decision
from baton.text.untrusted import replace_surrogates
from interfaces.cli.terminal.decisions import decision_help
from interfaces.cli.terminal.output import clean_text, one_line, write_message

_POLL = timedelta(milliseconds=200)
"""Time between two checks whether the command is in the foreground again."""


def can_ask(*, as_json: bool) -> bool:
    """Whether stdin and stderr are a terminal, so that a person can be asked."""
    return not as_json and sys.stdin.isatty() and sys.stderr.isatty()


def in_foreground() -> bool:
    """Whether the shell lets this process read from the terminal; `&`, Ctrl-Z with `bg`, and `fg` change it."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        # It is not the terminal of our session, so no shell controls who reads it; or it is gone.
        return True


def user_name() -> str:
    """Return the name of this user, under which an answer is recorded."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"  # a user that is not in /etc/passwd


def write_question(decision: Decision) -> None:
    """Write the question, its choices, and the facts that help to answer it."""
    write_message(
        f"\nDecision {decision.id}" + (f" (task {one_line(decision.task_id)})" if decision.task_id else ""), always=True
    )
    for text in (*clean_text(decision.question).split("\n"), *decision_help(decision)):
        write_message(_fold_text(f"  {text}"), always=True)
    for number, choice in enumerate(decision.choices, 1):
        default = "  (default)" if choice == decision.default else ""
        write_message(f"  {number}. {one_line(choice, 300)}{default}", always=True)


def _fold_text(text: str) -> str:
    """Fold the text into lines of the terminal's width, between words."""
    if not sys.stderr.isatty() or not text.strip():
        return text
    return textwrap.fill(
        text, shutil.get_terminal_size().columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


async def ask_in_terminal(decision: Decision) -> Decide | None:
    """Ask for a choice by number or by name; None (an empty answer) leaves the question open."""
    write_question(decision)
    while True:
        answer = await read_line("Choice (number or words; empty: leave it open): ")
        if not answer:
            return None
        choice = match_choice(decision, answer)
        if choice is not None:
            note = await read_line("Note for the agent (may be empty): ")
            return Decide(
                decision_id=decision.id,
                choice=choice,
                note=replace_surrogates(note or ""),
                by=replace_surrogates(user_name()),
            )
        write_message(f"  {one_line(answer)!r} is none of the choices.", always=True)


def match_choice(decision: Decision, answer: str) -> str | None:
    """Return the choice that a name or number means; a name wins, for a choice may be a number itself."""
    for choice in decision.choices:
        if choice.casefold() == answer.casefold():
            return choice
    if answer.isascii() and answer.isdecimal() and 1 <= int(answer) <= len(decision.choices):
        return decision.choices[int(answer) - 1]
    return None


async def read_line(prompt: str) -> str | None:
    """Return one line from the terminal without blocking the loop; None at the end of input.

    In the background it waits, and it prompts again once the command is back in the foreground.
    """
    while True:
        while not in_foreground():  # noqa: ASYNC110 - the kernel has no event for it
            await asyncio.sleep(_POLL.total_seconds())
        sys.stderr.write(prompt)
        sys.stderr.flush()
        text = await _next_line(sys.stdin.fileno())
        if text is not None:
            return text.strip() if text else None


async def _next_line(descriptor: int) -> str | None:
    """Return the next line, empty at the end of input; None if the command went to the background meanwhile."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[str | None] = loop.create_future()

    def read() -> None:
        # Read once: a descriptor that stays readable would call this repeatedly.
        loop.remove_reader(descriptor)
        if not ready.done():
            ready.set_result(_read_terminal(descriptor))

    loop.add_reader(descriptor, read)
    try:
        while not ready.done() and in_foreground():
            await asyncio.wait([ready], timeout=_POLL.total_seconds())
        return ready.result() if ready.done() else None
    finally:
        loop.remove_reader(descriptor)


def _read_terminal(descriptor: int) -> str | None:
    if not in_foreground():
        return None
    try:
        with _not_stopped():
            # A terminal returns whole lines.
            return os.read(descriptor, 65_536).decode(errors="replace")
    except OSError as error:
        # EIO: the command went to the background since the check, or the terminal is gone.
        return None if error.errno == errno.EIO and not in_foreground() else ""


@contextlib.contextmanager
def _not_stopped() -> Iterator[None]:
    """Make a read from the background raise an error; the kernel would stop the process."""
    before = signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTTIN, before)
