"""The tools of an agent on its workspace: those that its file grants, within its scope."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from baton import policies
from baton.errors import DiskFull, SandboxUnavailable
from baton.tool_inputs import BashInput, EditInput, GlobInput, GrepInput, ReadInput, WriteInput
from system.disk_errors import is_disk_full
from workspaces.project.scopes import Scope
from workspaces.sandbox.output_capture import cut_middle
from workspaces.sandbox.sandbox import Sandbox
from workspaces.tools.bash import BashTool
from workspaces.tools.files import FileTools
from workspaces.tools.inputs import ToolFault, read_input
from workspaces.tools.paths import WorkspacePaths
from workspaces.tools.search import SearchTools


@dataclass(frozen=True, kw_only=True)
class ToolOutcome:
    """The result of a tool call."""

    content: str | list[dict[str, Any]]
    """Content for the model; never empty, because the API refuses an empty error."""
    is_error: bool
    touched: set[str] | None
    """Paths that may have changed, relative to the workspace; None if a command may have changed any path."""
    seconds: float = 0.0
    exit_code: int | None = None
    """Exit code of a command; None for the other tools."""

    def with_line(self, line: str) -> "ToolOutcome":
        """Return the outcome with a line appended to the content."""
        if isinstance(self.content, str):
            return replace(self, content=f"{self.content}\n{line}")
        return replace(self, content=[*self.content, {"type": "text", "text": line}])


class Toolbox:
    """The tools of one session on one workspace; calls are made one after the other."""

    def __init__(
        self,
        *,
        workspace: Path,
        scope: Scope,
        sandbox: Sandbox,
        grants: Mapping[Any, Sequence[str] | None],
        network: bool = False,
        binds: Sequence[str] = (),
        read_only: Mapping[Path, str] | None = None,
        submodules: Collection[str] = (),
    ) -> None:
        """Create the tools. `grants` has the patterns of each tool by its name, None for a tool without restriction.

        `binds` are the directories that the project requests; `read_only` maps further directories that commands may
        see (host path -> path inside); `submodules` are the paths of submodules, where no file tool writes.
        """
        self._grants = {str(name): patterns for name, patterns in grants.items()}
        inside = WorkspacePaths(workspace)
        self._files = FileTools(inside, scope, submodules)
        self._search = SearchTools(inside)
        # A role without a writable path gets a read-only workspace, so its commands cannot change any path.
        self._bash_changes = scope.can_write or not sandbox.status.is_isolated
        self._bash = BashTool(
            inside.root,
            sandbox.with_binds(binds),
            patterns=self._grants.get("Bash"),
            writable=self._bash_changes,
            network=network,
            read_only=read_only or {},
        )

    async def run_tool(self, name: str, data: Any) -> ToolOutcome:
        """Run one call. Its faults become outcomes; only DiskFull and cancellation are raised."""
        began = time.monotonic()
        touched: set[str] | None = set()
        exit_code: int | None = None
        try:
            if name not in self._grants:
                raise ToolFault(
                    f"There is no tool {name[:60]!r} for you; you have {', '.join(self._grants) or 'none'}."
                )
            if self._grants[name] is not None and name != "Bash":
                raise ToolFault(f"{name} is restricted by patterns, which is possible for Bash only.")
            content, touched, exit_code = await self._dispatch_call(name, data)
            failed = exit_code not in (None, 0)
        except ToolFault as fault:
            content, failed, touched = str(fault), True, fault.touched
        except SandboxUnavailable as error:
            content, failed = f"Commands cannot be run on this machine: {error}", True
        except OSError as error:
            if is_disk_full(error):
                raise DiskFull("No space left on the disk for a workspace; free some, and the run goes on.") from error
            content, failed = f"{name}: {(error.strerror or 'failed').lower()}.", True
            touched = None
        return ToolOutcome(
            content=cut_middle(content, policies.MAX_TOOL_OUTPUT) or "(no output)",
            is_error=failed,
            touched=touched,
            seconds=time.monotonic() - began,
            exit_code=exit_code,
        )

    async def _dispatch_call(self, name: str, data: Any) -> tuple[str, set[str] | None, int | None]:
        match name:
            case "Read":
                return await self._files.read_file(read_input(ReadInput, name, data)), set(), None
            case "Glob":
                return await self._search.find_files(read_input(GlobInput, name, data)), set(), None
            case "Grep":
                return await self._search.find_lines(read_input(GrepInput, name, data)), set(), None
            case "Write":
                content, path = await self._files.write_file(read_input(WriteInput, name, data))
                return content, {path}, None
            case "Edit":
                content, path = await self._files.edit_file(read_input(EditInput, name, data))
                return content, {path}, None
            case "Bash":
                content, code = await self._bash.run_command(read_input(BashInput, name, data))
                return content, None if self._bash_changes else set(), code
            case _:
                raise ToolFault(f"There is no tool {name[:60]!r}.")
