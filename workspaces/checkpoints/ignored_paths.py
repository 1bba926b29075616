"""Says whether the project's `.gitignore` files leave a path out, without git and without following a link.

For paths that the engine captures itself: those that file tools touched, and what lies in nested repositories. The
rules: https://git-scm.com/docs/gitignore. Patterns come from repositories and agents, so they are matched part by part
with `fnmatch`, whose regular expressions never backtrack over a star; one expression for a whole path would.
"""

import fnmatch
import re
from dataclasses import dataclass

from workspaces.git.safe_directory import Beneath

_LARGEST = 1 << 20


@dataclass(frozen=True)
class Rule:
    """One line of a `.gitignore`."""

    parts: tuple[re.Pattern[str] | None, ...]
    """A pattern for each part of a path; None stands for `**`."""
    ignores: bool
    directories_only: bool
    anchored: bool

    def matches(self, names: list[str], directory: bool) -> bool:
        """Whether it speaks of the path with these parts, seen from the directory of its file."""
        if self.directories_only and not directory:
            return False
        return _match(self.parts, names if self.anchored else names[-1:])


def parse_rule(line: str) -> Rule | None:
    """Read one line; None for a comment, an empty line, or what is no pattern."""
    text = line.rstrip("\r\n")
    while text.endswith((" ", "\t")) and not text.endswith(("\\ ", "\\\t")):
        text = text[:-1]
    if not text or text.startswith("#"):
        return None
    ignores = not text.startswith("!")
    text = text if ignores else text[1:]
    directories_only = text.endswith("/")
    text = text[:-1] if directories_only else text
    anchored = "/" in text
    text = text.removeprefix("/")
    if not text or text.endswith("\\"):
        return None
    try:
        parts = tuple(None if part == "**" else re.compile(_expression(part)) for part in text.split("/"))
    except re.error:
        return None
    return Rule(parts, ignores, directories_only, anchored)


def _expression(part: str) -> str:
    """A glob of git as one of `fnmatch`, which knows no backslash and only `!` in brackets; then as an expression.

    re.error for a bracket that nobody closes: git matches nothing with it.
    """
    out = ""
    at = 0
    while at < len(part):
        if part[at] == "\\" and at + 1 < len(part):
            out += f"[{part[at + 1]}]" if part[at + 1] in "*?[" else part[at + 1]
            at += 2
        elif part[at] == "[":
            negated = part[at + 1 : at + 2] in ("!", "^")
            first = at + (2 if negated else 1)
            end = part.find("]", first + 1)
            if end < 0:
                raise re.error("a bracket is not closed")
            out += f"[{'!' if negated else ''}{part[first:end]}]"
            at = end + 1
        else:
            out += part[at]
            at += 1
    return fnmatch.translate(out)


def _match(parts: tuple[re.Pattern[str] | None, ...], names: list[str]) -> bool:
    reached = [True] + [False] * len(names)  # whether the parts so far can use up the first n names
    for number, part in enumerate(parts):
        if part is None:
            last = number == len(parts) - 1
            # `**` uses up any number of names; at the end at least one: `a/**` is what is in `a`, not `a`.
            reached = [any(reached[: at + (0 if last else 1)]) for at in range(len(reached))]
        else:
            reached = [False] + [reached[at] and part.match(name) is not None for at, name in enumerate(names)]
    return reached[-1]


class Ignores:
    """The ignore rules of a workspace as they stand on disk; made anew for each snapshot."""

    def __init__(self, files: Beneath) -> None:
        self._files = files
        self._rules: dict[str, list[Rule]] = {}
        self._directories: dict[str, bool] = {}

    def ignored(self, path: str, *, directory: bool = False) -> bool:
        """Whether an untracked path is left out, by itself or because a directory above it is."""
        above = path.rpartition("/")[0]
        return (bool(above) and self._directory(above)) or self._verdict(path, directory)

    def _directory(self, path: str) -> bool:
        unknown = []
        while path and path not in self._directories:
            unknown.append(path)
            path = path.rpartition("/")[0]
        ignored = bool(path) and self._directories[path]
        for below in reversed(unknown):
            ignored = self._directories[below] = ignored or self._verdict(below, directory=True)
        return ignored

    def _verdict(self, path: str, directory: bool) -> bool:
        """What the nearest `.gitignore` says that says anything; within a file the last match counts."""
        names = path.split("/")
        for depth in range(len(names) - 1, -1, -1):
            for rule in reversed(self._of("/".join(names[:depth]))):
                if rule.matches(names[depth:], directory):
                    return rule.ignores
        return False

    def _of(self, directory: str) -> list[Rule]:
        if directory not in self._rules:
            path = f"{directory}/.gitignore" if directory else ".gitignore"
            self._rules[directory] = [rule for line in self._lines(path) if (rule := parse_rule(line))]
        return self._rules[directory]

    def _lines(self, path: str) -> list[str]:
        there = self._files.stat(path)
        if there is None or there.st_size > _LARGEST:
            return []
        try:
            data = self._files.read(path).removeprefix(b"\xef\xbb\xbf")  # git leaves a byte order mark out as well
            return data.decode(errors="surrogateescape").split("\n")
        except OSError:  # a link, a pipe, a directory: git follows no link here either
            return []
