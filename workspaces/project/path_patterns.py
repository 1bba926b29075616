"""Lists of path patterns in the syntax of .gitignore, the last match deciding. Pure; safe for foreign patterns.

Not pathspec: its expressions take time that grows with the length of the path to the power of the number of stars, and
both pattern and path may come from someone who wants that; and it reads `src/*` otherwise than git. The tests ask git.
"""

import re
import unicodedata
from collections.abc import Sequence

from baton.errors import ConfigurationError

MAX_PATTERN = 300

_WORD_BOUNDARY = re.compile(r"[*?\]][A-Z]")
_DEEPER = "(?:[^/]+/)*?"
_END = r"(?=/|\Z)"


class Rules:
    """Decides which paths a list of patterns takes in: `orders/**`, then `!orders/static/**` takes some out again.

    A path is in only when the patterns say so both as written and without regard to case and Unicode form, so that
    `Frontend/` is no way around `!frontend/` on a disk that does not tell them apart. A capital after a wildcard
    (`*Test.java`) marks a word and stays as it is: `Contest.java` is no test.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._exact = [(compile_pattern(pattern), not pattern.startswith("!")) for pattern in patterns]
        self._folded = [
            (expression if _WORD_BOUNDARY.search(pattern) else compile_pattern(pattern, re.IGNORECASE), include)
            for pattern, (expression, include) in zip(patterns, self._exact, strict=True)
        ]

    def match(self, path: str) -> bool:
        """Whether a clean relative path is taken in."""
        composed = unicodedata.normalize("NFC", path)
        return (
            _decide(self._exact, path)
            and _decide(self._folded, path)
            and (composed == path or _decide(self._folded, composed))
        )


def compile_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """An expression that matches the paths a pattern speaks of, without its `!`; ConfigurationError where it is none.

    A match takes time in proportion to the length of the path times that of the pattern: wherever a longer try cannot
    succeed after a shorter one failed, the shorter one is final (an atomic group).
    """
    if fault := pattern_fault(pattern):
        raise ConfigurationError(f"The pattern {pattern[:60]!r} {fault}.")
    body = pattern.removeprefix("!")
    # A slash at the beginning or inside ties a pattern to the root; one at the end means a directory.
    tied, below = "/" in body.rstrip("/"), body.endswith("/")
    names = [name for name in body.split("/") if name]
    if names[-1] == "**" and len(names) > 1:
        names, below = names[:-1], True
    try:
        chunks: list[list[str]] = [[]]
        for name in names if tied else ["**", *names]:
            if name == "**":
                chunks.append([])
            else:
                chunks[-1].append(_name(name))
        *early, last = ["/".join(chunk) for chunk in chunks]
        # What stands before a `**` need only be found at its first place: the `**` reaches everything from there.
        text = "".join(
            (f"(?>{_DEEPER if place else ''}{chunk}/)" if chunk else "") for place, chunk in enumerate(early)
        )
        text += f"{_DEEPER if early else ''}{last}" if last else ""
        return re.compile(text + ("/" if below and last else ""), flags)
    except (re.error, ValueError) as error:
        raise ConfigurationError(f"The pattern {pattern[:60]!r} has brackets that are no set of characters.") from error


def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a pattern, as the rest of a sentence; None where nothing is."""
    body = pattern.removeprefix("!")
    if not body.strip("/ "):
        return "is empty"
    if len(pattern) > MAX_PATTERN:
        return f"is longer than {MAX_PATTERN} characters"
    if not pattern.isprintable() or pattern != pattern.strip() or body.startswith(("!", "#")) or "\\" in body:
        return "has a character that a pattern here cannot have"
    names = body.split("/")
    if any(name in (".", "..") for name in names):
        return "has a `.` or `..` as a directory"
    if any("**" in name and name != "**" for name in names) or body.endswith("**/"):
        return "has a `**` that does not stand for whole names between slashes"
    return None


def invert(patterns: Sequence[str]) -> list[str]:
    """The same list with taking in and taking out exchanged."""
    return [pattern[1:] if pattern.startswith("!") else f"!{pattern}" for pattern in patterns]


def _name(text: str) -> str:
    """One name between slashes as an expression that ends where the name ends."""
    first, *rest = [_fixed(part) for part in _split_at_stars(text)]
    if not rest:
        return f"{first}{_END}"
    between = "".join(f"(?>[^/]*?{part})" for part in rest[:-1] if part)
    return f"(?>{first}{between}[^/]*{rest[-1]}{_END})"


def _split_at_stars(text: str) -> list[str]:
    """The parts between stars; a star in brackets is a character."""
    parts, position = [""], 0
    while position < len(text):
        closing = _closing(text, position)
        if text[position] == "*":
            parts.append("")
        else:
            parts[-1] += text[position:closing]
        position = closing
    return parts


def _fixed(text: str) -> str:
    """A part without stars: characters, `?`, and sets in brackets."""
    found, position = "", 0
    while position < len(text):
        closing = _closing(text, position)
        piece = text[position:closing]
        if piece == "[":
            raise ValueError("a bracket without an end")
        if piece == "?":
            found += "[^/]"
        elif len(piece) > 1:
            negated = piece[1] in "!^"
            members = "".join(f"\\{one}" if one in "[]&~|^" else one for one in piece[2 if negated else 1 : -1])
            found += f"(?!/)[{'^' if negated else ''}{members}]"
        else:
            found += re.escape(piece)
        position = closing
    return found


def _closing(text: str, position: int) -> int:
    """Where that which begins here ends: a set in brackets, or one character."""
    if text[position] != "[":
        return position + 1
    first = position + 2 if text[position + 1 : position + 2] in ("!", "^") else position + 1
    # A bracket that stands first in a set is a member.
    closing = text.find("]", first + 1)
    return closing + 1 if closing >= 0 else position + 1


def _decide(rules: Sequence[tuple[re.Pattern[str], bool]], path: str) -> bool:
    return next((include for expression, include in reversed(rules) if expression.match(path)), False)
