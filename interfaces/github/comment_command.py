"""The commands in comments: `/baton ...` on the first line, exactly. Pure.

A command begins its comment; in a quote, in a code block, in backticks or further down it is text.
"""

import re

from baton.records.issue import MAX_TEXT, PersonCommand
from baton.text.untrusted import sanitise

# Four spaces or a tab would make it a code block: https://spec.commonmark.org/0.31.2/#indented-code-blocks
_BEGINS = re.compile(r"(?:[ \t]*\r?\n)* {0,3}/baton(?=[ \t\r\n]|\Z)")
_DECISION = re.compile(r"[Dd][1-9][0-9]{0,3}")
# A choice of several words stands in quotes or backticks.
_CHOICE = re.compile(r"""(?P<quote>["'`])(?P<quoted>.+?)(?P=quote)(?=\s|\Z)|(?P<word>\S+)""")
_CHOICE_LIMIT = 200


def parse_comment(comment: str | None) -> PersonCommand | None:
    """Return the command that a comment begins with; None if it begins with none.

    A line that begins like a command and has an unknown name or wrong arguments is `help`, with that line as its text.
    """
    begins = _BEGINS.match(comment or "")
    if begins is None:
        return None
    # The raw text decides whether it is a command; its arguments come from the visible text.
    said = sanitise(f"/baton{(comment or '')[begins.end() :]}", MAX_TEXT).removeprefix("/baton")
    first, _, below = said.partition("\n")
    name, rest = (*first.split(None, 1), "", "")[:2]
    rest = rest.strip()
    command: PersonCommand | None
    match name:
        case "run":
            command = PersonCommand(name="run", text=_join_text(rest, below))
        case "guide":
            text = _join_text(rest, below)
            command = PersonCommand(name="guide", text=text) if text else None
        case "decide":
            command = _parse_decide(rest)
        case "retry":
            command = _parse_retry(rest)
        case "status" | "stop" | "help":
            command = None if rest else PersonCommand(name=name)
        case "":
            command = PersonCommand(name="help")
        case _:
            command = None
    return command or PersonCommand(name="help", text=first.strip())


def _join_text(rest: str, below: str) -> str:
    return f"{rest}\n{below}".strip()


def _parse_decide(rest: str) -> PersonCommand | None:
    decision, _, answer = rest.partition(" ")
    choice = _CHOICE.match(answer.strip())
    if not _DECISION.fullmatch(decision) or choice is None:
        return None
    chosen = (choice["quoted"] or choice["word"]).strip()
    if not chosen or len(chosen) > _CHOICE_LIMIT:
        return None
    note = answer.strip()[choice.end() :].strip()
    return PersonCommand(name="decide", decision_id=decision.upper(), choice=chosen, text=note)


def _parse_retry(rest: str) -> PersonCommand | None:
    if not rest:
        return PersonCommand(name="retry")
    return PersonCommand(name="retry", decision_id=rest.upper()) if _DECISION.fullmatch(rest) else None
