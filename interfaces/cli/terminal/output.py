"""What commands print: results on stdout, messages on stderr, and nothing that could steer a terminal."""

import contextlib
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_ESCAPED = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """Text from models, repositories and people without control characters: they could rewrite the screen."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = 100) -> str:
    """The text on one line, cut with an ellipsis."""
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def message(text: str) -> None:
    """Say something to the person, on stderr; a terminal that is gone is no error."""
    with contextlib.suppress(OSError):
        sys.stderr.write(clean(text) + "\n")
        sys.stderr.flush()


def write(text: str) -> None:
    """Write a part of the result, on stdout; a terminal is shielded, a pipe gets it as it is."""
    _put(clean(text) if sys.stdout.isatty() else text.encode(errors="replace").decode())


def write_bytes(data: bytes) -> None:
    """Write a part of the result that is not text for certain: a pipe gets its bytes, a terminal what is text of it."""
    if sys.stdout.isatty():
        _put(clean(data.decode(errors="replace")))
        return
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise typer.Exit(0) from None


def line(text: str = "") -> None:
    """Write one line of the result."""
    write(text + "\n")


def print_json(result: "BaseModel | list[Any] | dict[str, Any]") -> None:
    """Write the one JSON document of a command."""
    data = result if isinstance(result, list | dict) else result.model_dump(mode="json")
    # What the encoding of stdout has no letter for, JSON has an escape for.
    everything = (sys.stdout.encoding or "utf-8").lower() in ("utf-8", "utf8")
    text = json.dumps(data, indent=2, ensure_ascii=not everything, default=str)
    _put(_ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _put(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has seen enough (`baton log RUN | head`): an end, not an error.
        raise typer.Exit(0) from None


def console() -> "Console":
    """A rich console on stderr, for progress."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def usd(amount: float) -> str:
    """An amount of money, precise enough for a turn."""
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.4f}"


def short(commit: str | None) -> str:
    """A commit as people read it."""
    return commit[:12] if commit else "-"


def count(number: int, thing: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def program() -> str:
    """How this program is called from here: its bare name where the shell finds it, else the path it was started by."""
    started = Path(sys.argv[0])
    if not started.is_file():
        return "baton"
    found = shutil.which(started.name)
    if found is not None and Path(found).resolve() == started.resolve():
        return started.name
    with contextlib.suppress(ValueError):
        return shlex.quote(str(started.absolute().relative_to(Path.cwd())))
    return shlex.quote(str(started))
