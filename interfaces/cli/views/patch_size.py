"""The size of a patch, file by file, from the output of `git diff --numstat -z`. Pure."""

import os
import re
from dataclasses import dataclass

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ESCAPES = {"\n": "\\n", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


@dataclass
class FileChange:
    """One file of a patch."""

    path: str
    """Bytes that are not UTF-8 are surrogates in it."""
    added: int = 0
    removed: int = 0
    renamed_from: str | None = None
    binary: bool = False
    """Lines of it are not counted."""

    def as_json(self) -> dict[str, str | int | bool | None]:
        """Return the change for `--json`, in plain Unicode: a byte of a name that is not UTF-8 becomes `\\xE9`."""
        return {
            "path": _escape_bytes(self.path),
            "added": self.added,
            "removed": self.removed,
            "renamed_from": None if self.renamed_from is None else _escape_bytes(self.renamed_from),
            "binary": self.binary,
        }

    def as_line(self) -> str:
        """Return the line for `--stat`: a name that would break the line is quoted as git does it."""
        added, removed = ("-", "-") if self.binary else (str(self.added), str(self.removed))
        return f"{added:>6} +  {removed:>6} -  {_quote_name(self.path)}"


def parse_numstat(output: bytes) -> list[FileChange]:
    """Parse the output of `git diff --numstat -z`."""
    fields = iter(output.split(b"\0"))
    files: list[FileChange] = []
    for field in fields:
        if not field:
            continue
        added, removed, name = field.split(b"\t", 2)
        # Of a renamed file both names follow, each in a field of its own.
        old, new = (None, name) if name else (next(fields), next(fields))
        files.append(
            FileChange(
                os.fsdecode(new),
                added=int(added) if added != b"-" else 0,
                removed=int(removed) if removed != b"-" else 0,
                renamed_from=None if old is None else os.fsdecode(old),
                binary=added == b"-",
            )
        )
    return files


def _escape_bytes(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _quote_name(name: str) -> str:
    if not _CONTROL.search(name):
        return name
    escaped = re.sub(r'["\\\n\r]', lambda found: _ESCAPES[found[0]], name)
    return '"' + _CONTROL.sub(lambda found: f"\\{ord(found[0]):03o}", escaped) + '"'
