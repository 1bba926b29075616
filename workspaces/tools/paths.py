"""Paths that a model writes, resolved inside the workspace with links followed; others raise ToolFault."""

import os
import posixpath
import stat
from dataclasses import dataclass
from pathlib import Path

from workspaces.sandbox.command import INSIDE
from workspaces.tools.inputs import ToolFault

_MAX_SHOWN = 300


@dataclass(frozen=True)
class WorkspacePath:
    """A path inside the workspace, which need not exist."""

    path: str
    """Path relative to the workspace, with links followed; the scope decides on it. Empty for the workspace itself."""
    target: Path
    """The same path on this machine."""
    shown: str
    """The path for messages: as the model wrote it, made relative and shortened."""

    def read_status(self) -> os.stat_result | None:
        """Return the state of the file; None if it does not exist."""
        try:
            return os.lstat(self.target)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ToolFault(f"{self.shown}: {(error.strerror or 'cannot be read').lower()}.") from error


class WorkspacePaths:
    """Resolves paths in one workspace."""

    def __init__(self, workspace: Path) -> None:
        from anthropic.lib.tools.agent_toolset import AgentToolContext

        self.root = workspace.resolve(strict=True)
        self.context = AgentToolContext(workdir=self.root)

    def find_path(self, text: str) -> WorkspacePath:
        """Resolve a path, relative or absolute below `/workspace`, without opening it. Raises ToolFault."""
        if text == INSIDE or text.startswith(INSIDE + "/"):
            text = text[len(INSIDE) :].lstrip("/") or "."
        elif text.startswith("/"):
            raise ToolFault(f"{text}: is outside the workspace. Give a path relative to it, such as src/app.py.")
        elif text.startswith("~"):
            raise ToolFault(f"{text}: there is no home directory here. Give a path relative to the workspace.")
        from anthropic.lib.tools.agent_toolset import resolve_path

        shown = posixpath.normpath(text)
        if shown == ".." or shown.startswith("../"):
            raise ToolFault(f"{text}: is outside the workspace.")
        if any(len(name.encode()) > 255 for name in shown.split("/")):
            raise ToolFault(f"{text[:100]}...: a name is longer than 255 bytes.")
        try:
            target = resolve_path(self.context, shown)
        except (ValueError, OSError, RecursionError) as error:  # one call for each link of a chain
            reason = "leads outside the workspace" if "is outside" in str(error) else "cannot be followed"
            raise ToolFault(f"{_shorten_path(shown)}: {reason}.") from error
        relative = target.relative_to(self.root).as_posix()
        return WorkspacePath("" if relative == "." else relative, target, _shorten_path(shown))

    def plain_file(self, place: WorkspacePath, tool: str) -> os.stat_result:
        """Return the state of a plain file. Raises ToolFault for others: a FIFO would block, a device do worse."""
        status = place.read_status()
        if status is None:
            raise ToolFault(f"{tool}: {place.shown}: there is no such file.")
        if stat.S_ISDIR(status.st_mode):
            raise ToolFault(f"{tool}: {place.shown} is a directory; use Glob to list it.")
        if not stat.S_ISREG(status.st_mode):
            raise ToolFault(f"{tool}: {place.shown} is not a plain file.")
        return status

    def hide_root(self, text: str) -> str:
        """Return a message of a library without paths of this machine."""
        return text.replace(f"{self.root}/", "").replace(str(self.root), INSIDE)


def _shorten_path(path: str) -> str:
    """Return a path for a message, without the end of a very long one."""
    return path if len(path) <= _MAX_SHOWN else f"{path[:_MAX_SHOWN]}..."
