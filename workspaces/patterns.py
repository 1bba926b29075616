"""Lists of path patterns in the syntax of .gitignore, the last match deciding. Pure; bounded, for they are foreign."""

import re
import unicodedata
from collections.abc import Sequence

from pathspec import lookup_pattern

from baton.errors import ConfigurationError

MAX_PATTERN = 300
_MAX_STARS = 3
"""Of one segment, and `**` of one pattern. Each more multiplies the time of a match by the length of the path."""

_WORD_BOUNDARY = re.compile(r"[*?\]][A-Z]")
_GITIGNORE = lookup_pattern("gitignore")


class Rules:
    """Decides which paths a list of patterns takes in: `orders/**`, then `!orders/static/**` takes some out again.

    A path is in only when the patterns say so both as written and without regard to case and Unicode form, so that
    `Frontend/` is no way around `!frontend/` on a disk that does not tell them apart. A capital after a wildcard
    (`*Test.java`) marks a word and stays as it is: `Contest.java` is no test.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._exact = [compile_pattern(pattern) for pattern in patterns]
        self._folded = [
            (expression if _WORD_BOUNDARY.search(pattern) else re.compile(expression.pattern, re.IGNORECASE), include)
            for pattern, (expression, include) in zip(patterns, self._exact, strict=True)
        ]

    def match(self, path: str) -> bool:
        """Whether a clean relative path is taken in."""
        composed = unicodedata.normalize("NFC", path)
        return _decide(self._exact, path) and _decide(self._folded, path) and _decide(self._folded, composed)


def compile_pattern(pattern: str) -> tuple[re.Pattern[str], bool]:
    """One pattern as an expression, and whether it takes in or out; raises ConfigurationError where it is none."""
    if fault := pattern_fault(pattern):
        raise ConfigurationError(f"The pattern {pattern[:60]!r} {fault}.")
    try:
        compiled = _GITIGNORE(pattern)
    except ValueError as error:
        raise ConfigurationError(f"The pattern {pattern[:60]!r} is not one of .gitignore's.") from error
    expression, include = getattr(compiled, "regex", None), compiled.include
    if expression is None or include is None:
        raise ConfigurationError(f"The pattern {pattern[:60]!r} matches nothing.")
    return expression, include


def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a pattern, as the rest of a sentence; None where nothing is."""
    body = pattern.removeprefix("!")
    if not body.strip("/ "):
        return "is empty"
    if len(pattern) > MAX_PATTERN:
        return f"is longer than {MAX_PATTERN} characters"
    if not pattern.isprintable() or pattern != pattern.strip() or body.startswith(("!", "#", "\\")) or "\\" in body:
        return "has a character that a pattern here cannot have"
    segments = body.split("/")
    if any(segment in (".", "..") for segment in segments):
        return "has a `.` or `..` as a directory"
    if segments.count("**") > _MAX_STARS:
        return f"has more than {_MAX_STARS} `**`"
    if any(segment.count("*") > _MAX_STARS for segment in segments):
        return f"has more than {_MAX_STARS} `*` between two slashes"
    return None


def invert(patterns: Sequence[str]) -> list[str]:
    """The same list with taking in and taking out exchanged."""
    return [pattern[1:] if pattern.startswith("!") else f"!{pattern}" for pattern in patterns]


def _decide(rules: Sequence[tuple[re.Pattern[str], bool]], path: str) -> bool:
    return next((include for expression, include in reversed(rules) if expression.match(path)), False)
