"""Programs of this machine as a command in the sandbox finds them: which are there, in which version, which lack."""

import shlex
from collections.abc import Sequence
from datetime import timedelta

from pydantic import BaseModel

from workspaces.sandbox.command import SandboxCommand
from workspaces.sandbox.sandbox import Sandbox

_LIMIT = timedelta(minutes=2)
_VERSION_FLAG = {"go": "version", "java": "-version"}


class Needed(BaseModel):
    """A program that a set-up needs, with the range of versions that may do."""

    tool: str
    version: str = ""


class Tool(BaseModel):
    """A program that was looked for."""

    tool: str
    found: str = ""
    """The first line of what it says of its version; empty where it is missing."""


async def find_tools(needed: Sequence[Needed], sandbox: Sandbox, search_path: Sequence[str] = ()) -> list[Tool]:
    """Look for programs from inside the sandbox, in the order in which they are needed; one command looks for all."""
    if not needed:
        return []
    script = "\n".join(_look_for(number, one) for number, one in enumerate(needed))
    done = await sandbox.run_command(
        SandboxCommand(argv=script, timeout=_LIMIT, search_path=search_path, output_limit=20_000)
    )
    found: dict[int, str] = {}
    for line in done.output.splitlines():
        number, mark, text = line.partition("=")
        if mark and number.isdecimal() and text.strip():
            found.setdefault(int(number), text.strip()[:200])
    return [Tool(tool=one.tool, found=found.get(number, "")) for number, one in enumerate(needed)]


def _look_for(number: int, needed: Needed) -> str:
    if needed.tool == "python":
        # uv knows all interpreters in PATH, and what a range of versions means.
        version = shlex.quote(needed.version)
        look = f"uv python find --no-project --python-preference only-system {version} 2>/dev/null"
    else:
        flag = _VERSION_FLAG.get(needed.tool, "--version")
        tool = shlex.quote(needed.tool)
        look = f"command -v {tool} >/dev/null && {{ {tool} {flag} 2>&1 | head -n 1 | grep . || echo there; }}"
    return f"echo {number}=$({look})"
