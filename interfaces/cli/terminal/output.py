"""Output of commands: results on stdout, messages on stderr, free of characters that could steer a terminal."""

import contextlib
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, Protocol

import typer

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_verbosity = 0
_ESCAPED = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class JsonDocument(Protocol):
    """A record that is printed as JSON: a pydantic model."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Return the record as a dictionary of JSON values."""


def clean_text(text: str) -> str:
    """Replace control characters in text from models, repositories and people: they could rewrite the screen."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = 100) -> str:
    """Return the text on one line of at most `limit` characters, cut with an ellipsis."""
    flat = " ".join(clean_text(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def change_verbosity(by: int) -> None:
    """Add the `-v` of a command line, and take off its `-q`."""
    global _verbosity
    _verbosity += by


def read_verbosity() -> int:
    """Return the number of `-v`, less that of `-q`: below 0 only errors, warnings and questions are written."""
    return _verbosity


def write_message(text: str, *, always: bool = False) -> None:
    """Write a message to stderr; a terminal that is gone is no error.

    With `-q` only errors, warnings and questions are written: those that are sent with `always`.
    """
    if _verbosity < 0 and not always:
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(clean_text(text) + "\n")
        sys.stderr.flush()


def write_text(text: str) -> None:
    """Write a part of the result to stdout: a terminal gets it cleaned, a pipe gets it unchanged."""
    _write_out(clean_text(text) if sys.stdout.isatty() else text.encode(errors="replace").decode())


def write_bytes(data: bytes) -> None:
    """Write a part of the result that may not be text: a pipe gets the bytes, a terminal their text, cleaned."""
    if sys.stdout.isatty():
        _write_out(clean_text(data.decode(errors="replace")))
        return
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise typer.Exit(0) from None


def write_line(text: str = "") -> None:
    """Write one line of the result to stdout."""
    write_text(text + "\n")


def print_json(result: JsonDocument | list[Any] | dict[str, Any]) -> None:
    """Write the JSON document of a command to stdout."""
    data = result if isinstance(result, list | dict) else result.model_dump(mode="json")
    # JSON has an escape for each character that the encoding of stdout lacks.
    unicode = (sys.stdout.encoding or "utf-8").lower() in ("utf-8", "utf8")
    text = json.dumps(data, indent=2, ensure_ascii=not unicode, default=str)
    _write_out(_ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _write_out(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe (`baton log RUN | head`): the command is done.
        raise typer.Exit(0) from None


def format_usd(amount: float) -> str:
    """Format an amount of USD, with four digits below one dollar: a turn costs little."""
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}"


def short_commit(commit: str | None) -> str:
    """Return the first 12 characters of a commit id, or `-`."""
    return commit[:12] if commit else "-"


def count_noun(number: int, thing: str) -> str:
    """Return a number with its noun: `1 task`, `2 tasks`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def program_name() -> str:
    """Return the command that calls this program: its name if the shell finds it, else the path it was started by."""
    started = Path(sys.argv[0])
    if not started.is_file():
        return "baton"
    found = shutil.which(started.name)
    if found is not None and Path(found).resolve() == started.resolve():
        return started.name
    with contextlib.suppress(ValueError):
        return shlex.quote(str(started.absolute().relative_to(Path.cwd())))
    return shlex.quote(str(started))
