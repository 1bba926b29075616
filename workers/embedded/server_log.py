"""The log of the embedded server: output of the server and notes of its supervisor, in one file."""

import os
import sys

from workers.embedded.server_files import ServerFiles

_PREFIX = "supervisor: "
"""Before each line that the supervisor itself writes."""

_OLD_PREFIX = "keeper: "
"""The same in logs of an older Baton."""

_TAIL = 20_000
"""Bytes at the end of the log that are searched for its last line."""


def write_note(text: str) -> None:
    """Write a line of the supervisor to its standard error, which is the log."""
    sys.stderr.write(f"{_PREFIX}{text}\n")
    sys.stderr.flush()


def describe_last_line(files: ServerFiles) -> str:
    """Return a sentence with the path of the log and the last line that the server wrote into it."""
    try:
        with files.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    written = [line.strip() for line in lines if line.strip() and not line.startswith((_PREFIX, _OLD_PREFIX))]
    if not written:
        return f"Its log {files.log} says nothing."
    shown = "".join(letter if letter.isprintable() else "?" for letter in written[-1])
    return f"Its log is {files.log}, with the last line: {shown[:300]}"
