"""Path patterns in the syntax of .gitignore (https://git-scm.com/docs/gitignore), matched in linear time. Pure.

Patterns and paths come from repositories, people and models, so a match takes time in proportion to the length of the
path times that of the pattern: wherever a longer try cannot succeed after a shorter one failed, an atomic group makes
the shorter one final. Libraries that translate a whole pattern backtrack over every star. The tests compare with git.
"""

import re
import unicodedata
from collections.abc import Sequence

MAX_PATTERN = 300

_WORD_BOUNDARY = re.compile(r"[*?\]][A-Z]")
_DEEPER = "(?:[^/]+/)*?"
_END = r"(?=/|\Z)"
_REST = "(?s:.+?)"
_TOKEN = re.compile(r"\*+|\[([!^]?+\]?+(?:\\.|[^\]\\])*+)\]|\\.|.", re.DOTALL)
"""The stars, sets in brackets, escaped characters and characters of a name. A `]` that stands first is a member."""
_MEMBER = re.compile(r"(\\.|.)(?:-(\\.|.))?", re.DOTALL)
"""A character of a set, or a range of them."""


class PathPattern:
    """One pattern, without its `!`. Raises ValueError for brackets that are no set of characters."""

    def __init__(self, text: str, flags: int = 0) -> None:
        self.negated = text.startswith("!")
        body = text.removeprefix("!")
        self.directories_only = body.endswith("/")
        # A slash at the beginning or inside anchors a pattern to the root; without one it holds at any depth.
        self._anchored = "/" in body.rstrip("/")
        names = _split_names(body)
        below = len(names) > 1 and names[-1] == "**"
        chunks: list[list[str]] = [[]]
        for name in names[: -1 if below else None] if self._anchored else ["**", *names]:
            if name == "**":
                chunks.append([])
            else:
                chunks[-1].append(_name_expression(name))
        *early, last = ["/".join(chunk) for chunk in chunks]
        # A chunk before a `**` need only be found at its first place: the `**` reaches everything from there.
        expression = "".join(
            (f"(?>{_DEEPER if place else ''}{chunk}/)" if chunk else "") for place, chunk in enumerate(early)
        )
        if last:
            expression += (_DEEPER if early else "") + last + (f"/{_REST}" if below else "")
        else:
            expression += _REST
        try:
            self._expression = re.compile(expression, flags)
        except re.error as error:
            raise ValueError(str(error)) from error

    def matches_path(self, path: str, directory: bool = False) -> bool:
        """Whether the pattern names this very path, relative to the pattern's root; `directory`: the path is one."""
        if self.directories_only and not directory:
            return False
        return self._expression.fullmatch(path if self._anchored else path.rpartition("/")[2]) is not None

    def covers_path(self, path: str) -> bool:
        """Whether the pattern names this file or a directory above it."""
        found = self._expression.match(path)
        return found is not None and (not self.directories_only or found.end() < len(path))


class PathRules:
    """Decides which paths a list of patterns includes; the last match decides.

    `orders/**` includes paths, a later `!orders/static/**` excludes some of them again. A path is included only if the
    patterns include it both as it is written and without regard to case and Unicode form, so that `Frontend/` is no
    way around `!frontend/` on a disk that does not distinguish them. A capital after a wildcard (`*Test.java`) marks a
    word and keeps its case: `Contest.java` is no test. Raises ValueError for an invalid pattern.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._exact = [parse_pattern(pattern) for pattern in patterns]
        self._folded = [
            exact if _WORD_BOUNDARY.search(text) else PathPattern(text, re.IGNORECASE)
            for text, exact in zip(patterns, self._exact, strict=True)
        ]

    def includes_path(self, path: str) -> bool:
        """Whether a clean relative path is included."""
        composed = unicodedata.normalize("NFC", path)
        return (
            _is_included(self._exact, path)
            and _is_included(self._folded, path)
            and (composed == path or _is_included(self._folded, composed))
        )


def parse_pattern(text: str) -> PathPattern:
    """Read a pattern that a person or a model wrote. Raises ValueError with a sentence if it is invalid."""
    fault = pattern_fault(text)
    if not fault and _has_backward_range(text):
        fault = "has brackets with a range that runs backwards"
    if not fault:
        try:
            return PathPattern(text)
        except ValueError:
            fault = "has brackets that are no set of characters"
    raise ValueError(f"The pattern {text[:60]!r} {fault}.")


def pattern_fault(pattern: str) -> str | None:
    """Return the fault of a pattern as the rest of a sentence, or None if there is none; brackets are not checked."""
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


def invert_patterns(patterns: Sequence[str]) -> list[str]:
    """Return the same list with inclusion and exclusion exchanged."""
    return [pattern[1:] if pattern.startswith("!") else f"!{pattern}" for pattern in patterns]


def _has_backward_range(text: str) -> bool:
    sets = (token[1] for token in _TOKEN.finditer(text) if token[1] is not None)
    return any(high and low[-1] > high[-1] for members in sets for low, high in _MEMBER.findall(members.lstrip("!^")))


def _split_names(text: str) -> list[str]:
    """Split a pattern at its slashes; one inside brackets is a member of the set, which matches no slash."""
    names = [""]
    for token in _TOKEN.finditer(text):
        if token[0] in ("/", "\\/"):
            names.append("")
        else:
            names[-1] += token[0]
    return [name for name in names if name]


def _name_expression(text: str) -> str:
    """Return an expression for one name between slashes, which ends where the name ends."""
    parts: list[list[str]] = [[]]
    for token in _TOKEN.finditer(text):
        piece = token[0]
        if piece.startswith("*"):
            parts.append([])
        elif token[1] is not None:
            parts[-1].append(_set_expression(token[1]))
        elif piece == "[":
            raise ValueError("a bracket is not closed")
        else:
            parts[-1].append("[^/]" if piece == "?" else re.escape(piece[-1]))
    first, *rest = ["".join(part) for part in parts]
    if not rest:
        return f"{first}{_END}"
    between = "".join(f"(?>[^/]*?{part})" for part in rest[:-1] if part)
    return f"(?>{first}{between}[^/]*{rest[-1]}{_END})"


def _set_expression(text: str) -> str:
    negated = text[0] in "!^"
    members = "".join(
        # To git a range that runs backwards has its first character as its only member.
        re.escape(low[-1]) + (f"-{re.escape(high[-1])}" if high and low[-1] <= high[-1] else "")
        for low, high in _MEMBER.findall(text[1:] if negated else text)
    )
    return f"(?!/)[{'^' if negated else ''}{members}]"


def _is_included(patterns: Sequence[PathPattern], path: str) -> bool:
    return next((not pattern.negated for pattern in reversed(patterns) if pattern.covers_path(path)), False)
