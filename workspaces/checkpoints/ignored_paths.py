"""Decides whether the project's `.gitignore` files leave a path out, without git and without following a link.

For paths that the engine captures itself: those that file tools touched, and the contents of nested repositories. The
rules: https://git-scm.com/docs/gitignore.
"""

from system.path_patterns import PathPattern
from system.safe_directory import SafeDirectory

_LARGEST = 1 << 20


def parse_rule(line: str) -> PathPattern | None:
    """Read one line of a `.gitignore`; None for a comment, an empty line, or a pattern that git never matches."""
    text = line.rstrip("\r\n")
    while text.endswith((" ", "\t")) and not text.endswith(("\\ ", "\\\t")):
        text = text[:-1]
    body = text.removeprefix("!")
    if not body.strip("/") or text.startswith("#") or "//" in body or body.removesuffix("/").endswith("\\"):
        return None
    try:
        return PathPattern(text)
    except ValueError:
        return None


class IgnoreRules:
    """The ignore rules of a workspace as they stand on disk; made anew for each snapshot."""

    def __init__(self, files: SafeDirectory) -> None:
        self._files = files
        self._rules: dict[str, list[PathPattern]] = {}
        self._directories: dict[str, bool] = {}

    def is_ignored(self, path: str, *, directory: bool = False) -> bool:
        """Whether an untracked path is left out, by itself or because a directory above it is."""
        above = path.rpartition("/")[0]
        return (bool(above) and self._is_directory_ignored(above)) or self._apply_rules(path, directory)

    def _is_directory_ignored(self, path: str) -> bool:
        unknown = []
        while path and path not in self._directories:
            unknown.append(path)
            path = path.rpartition("/")[0]
        ignored = bool(path) and self._directories[path]
        for below in reversed(unknown):
            ignored = self._directories[below] = ignored or self._apply_rules(below, directory=True)
        return ignored

    def _apply_rules(self, path: str, directory: bool) -> bool:
        """Whether the nearest `.gitignore` with a match ignores the path; within a file the last match counts."""
        names = path.split("/")
        for depth in range(len(names) - 1, -1, -1):
            below = "/".join(names[depth:])
            for rule in reversed(self._rules_of("/".join(names[:depth]))):
                if rule.matches_path(below, directory):
                    return not rule.negated
        return False

    def _rules_of(self, directory: str) -> list[PathPattern]:
        if directory not in self._rules:
            path = f"{directory}/.gitignore" if directory else ".gitignore"
            self._rules[directory] = [rule for line in self._read_lines(path) if (rule := parse_rule(line))]
        return self._rules[directory]

    def _read_lines(self, path: str) -> list[str]:
        there = self._files.stat(path)
        if there is None or there.st_size > _LARGEST:
            return []
        try:
            data = self._files.read_file(path).removeprefix(b"\xef\xbb\xbf")  # git leaves a byte order mark out as well
            return data.decode(errors="surrogateescape").split("\n")
        except OSError:  # a link, a pipe, a directory: git follows no link here either
            return []
