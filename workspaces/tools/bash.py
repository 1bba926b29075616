"""The Bash tool: one command in the sandbox, in a process group of its own; the answer always has its exit code.

If a role's file restricts the tool (`Bash(pytest:*)`), no shell runs: the command line is split into arguments, which
must begin as one of the patterns says, and characters that a shell would interpret are refused.
"""

import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from baton import policies
from baton.tool_inputs import BashInput
from workspaces.sandbox.command import CommandResult, SandboxCommand
from workspaces.sandbox.sandbox import Sandbox
from workspaces.tools.inputs import ToolFault

_MAX_NETWORK_LINES = 12
_MAX_LINE = 300

_META = frozenset(";&|<>$`(){}\\*?~#!\n\r")


class BashTool:
    """Runs commands on one workspace for one role."""

    def __init__(
        self,
        workspace: Path,
        sandbox: Sandbox,
        *,
        patterns: Sequence[str] | None,
        writable: bool,
        network: bool,
        read_only: Mapping[Path, str],
    ) -> None:
        self._workspace = workspace
        self._sandbox = sandbox
        self._patterns = patterns
        self._writable = writable
        self._network = network
        self._read_only = read_only

    async def run_command(self, call: BashInput) -> tuple[str, int]:
        """Run a command to its end; return its output with the exit code as text, and the exit code."""
        if call.run_in_background:
            raise ToolFault("Bash: there are no background processes; a command ends with its call.")
        argv: str | list[str] = call.command
        if self._patterns is not None:
            argv = allowed_argv(call.command, self._patterns)
        command = SandboxCommand(
            argv=argv,
            workspace=self._workspace,
            writable=self._writable,
            network=self._network,
            read_only=self._read_only,
            timeout=timedelta(seconds=call.time_limit_seconds),
            # The rest of the limit is for the lines with the exit code and the network use.
            output_limit=policies.MAX_TOOL_OUTPUT - (4_400 if self._network else 400),
        )
        result = await self._sandbox.run_command(command)
        return _format_result(result, call.time_limit_seconds), result.exit_code


def allowed_argv(command: str, patterns: Sequence[str]) -> list[str]:
    """Return the arguments of a command that a pattern allows. Raises ToolFault for other commands."""
    allowed = ", ".join(f"`{pattern}`" for pattern in patterns)
    if found := sorted(_META.intersection(command)):
        raise ToolFault(
            f"Bash: {found[0]!r} is not possible here: only single commands are, without a shell ({allowed})."
        )
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise ToolFault(f"Bash: the command cannot be split into arguments: {error}.") from error
    if not argv:
        raise ToolFault("Bash: the command is empty.")
    if not any(_matches_pattern(pattern, argv) for pattern in patterns):
        raise ToolFault(f"Bash: `{argv[0]}` with these arguments is not one of the commands you may run: {allowed}.")
    return argv


def _matches_pattern(pattern: str, argv: Sequence[str]) -> bool:
    """Whether a pattern allows the arguments: `pytest:*` and `pytest *` by prefix, `npm test` exactly."""
    for ending in (":*", " *"):
        if pattern.endswith(ending):
            prefix, whole = pattern.removesuffix(ending), False
            break
    else:
        prefix, whole = pattern, True
    try:
        words = shlex.split(prefix)
    except ValueError:
        return False
    if not words or "*" in prefix:
        return False
    return list(argv) == words if whole else list(argv[: len(words)]) == words


def _format_result(result: CommandResult, seconds: float) -> str:
    output = result.output.rstrip("\n") or "(no output)"
    end = f"exit code {result.exit_code}"
    if result.timed_out:
        end += f": killed after its time limit of {seconds:g} s, with everything it had started"
    if result.exceeded:
        end += f": {result.exceeded}"
    used = result.network.describe_use() if result.network else []
    unseen = "".join(f"\n[{sentence}]" for sentence in result.not_shown)
    return "\n".join([output, *(f"[{line[:_MAX_LINE]}]" for line in used[:_MAX_NETWORK_LINES]), f"[{end}]{unseen}"])
