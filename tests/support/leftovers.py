"""Which processes of a test still run, found by what stands in their command lines."""

import os
import secrets
from pathlib import Path


def unique_seconds() -> str:
    """A time for sleep(1) that no other command on this machine has: hours, and a name at the same time."""
    return str(100_000_000 + secrets.randbelow(100_000_000))


def commands_with(text: str) -> list[str]:
    """Command lines of running processes that hold this text; a zombie has none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line:
                found.append(line)
    return found
