"""The lines that a patch adds, with their files. Pure.

An added line that begins with `++ ` looks like a header, and strangers write the lines. So the lines of each hunk are
counted.
"""

import re
from collections.abc import Iterator

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_QUOTED = re.compile(r"\\([0-7]{3}|.)")
_LETTERS = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}


def added_lines(patch: str) -> Iterator[tuple[str, str]]:
    """Iterate over file and text of each added line of a `git diff` with its default prefixes."""
    file, old, new = "", 0, 0
    for line in patch.split("\n"):
        if old <= 0 and new <= 0:
            if hunk := _HUNK.match(line):
                old, new = int(hunk[1] or 1), int(hunk[2] or 1)
                continue
            if line.startswith("+++ "):
                file = _file_name(line[4:])
                continue
        if line.startswith("+"):
            new -= 1
            yield file, line[1:]
        elif line.startswith("-"):
            old -= 1
        elif not line.startswith("\\"):
            old, new = old - 1, new - 1


def _file_name(text: str) -> str:
    """Return the name in a header; git ends a name with blanks with a tab, and quotes special characters."""
    if text.startswith('"'):
        text = _QUOTED.sub(_unquote_character, text.rstrip("\t")[1:-1])
    return text.rstrip("\t").removeprefix("b/")


def _unquote_character(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code, 8) & 0xFF) if len(code) == 3 else _LETTERS.get(code, code)
