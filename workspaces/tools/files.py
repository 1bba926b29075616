"""The Read, Write and Edit tools: confined to the scope and to plain files, with answers that a model can act on.

A Write to a FIFO would block; a link or a hard link would lead a change around the scope; an image that the API cannot
decode would make the transcript unusable. Changes keep a file's encoding, byte order mark, line ends (`text_files`) and
permissions. Parts of large files are read by the SDK's tool, which does not load the whole file.

The SDK is imported where it is used: that takes a second, and workflow code, which `baton show` runs, needs no SDK.
"""

import os
import secrets
import shutil
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

from baton.tool_inputs import EditInput, ReadInput, WriteInput
from system.disk_errors import is_disk_full
from workspaces.checkpoints.gitlinks import is_within
from workspaces.checkpoints.walk import MAX_DEPTH, MAX_PATH, is_deep, is_long
from workspaces.project.scopes import Scope
from workspaces.tools.inputs import ToolFault
from workspaces.tools.paths import WorkspacePath, WorkspacePaths
from workspaces.tools.stored_forms import recognise_file
from workspaces.tools.text_files import NotText, TextFile, parse_text, replace_text, rewrite_text

MAX_READ_BYTES = 64 << 20
MAX_EDIT_BYTES = 4 << 20
_MAX_READ_LINES = 2_000
_MAX_LINE = 2_000
_HEAD = 4_096
_BINARY = frozenset((".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf"))


@lru_cache(maxsize=256)
def _read_tool(root: Path) -> Any:
    """Return the SDK's tool on a directory; cached, because making it takes milliseconds and it holds only the path."""
    from anthropic.lib.tools.agent_toolset import AgentToolContext, beta_read_tool

    return beta_read_tool(AgentToolContext(workdir=root, max_file_bytes=MAX_EDIT_BYTES))


class FileTools:
    """The file tools on one workspace for one role."""

    def __init__(self, inside: WorkspacePaths, scope: Scope, submodules: Collection[str] = ()) -> None:
        self._submodules = frozenset(submodules)
        self._inside = inside
        self._scope = scope
        self._read = _read_tool(inside.root)

    async def read_file(self, call: ReadInput) -> str:
        """Return numbered lines of a text file."""
        place = self._inside.find_path(call.file_path)
        status = self._inside.plain_file(place, "Read")
        stored = recognise_file(self._inside, place.path)
        if stored and place.target.suffix.lower() in _BINARY:
            raise ToolFault(f"Read: {place.shown} is {stored} ({status.st_size:,} bytes).")
        if place.target.suffix.lower() in _BINARY:
            # An image block would stay in the transcript; one that the API cannot decode ends the session.
            raise ToolFault(
                f"Read: {place.shown} is an image or PDF ({status.st_size:,} bytes); only text can be read."
            )
        if status.st_size > MAX_READ_BYTES:
            raise ToolFault(f"Read: {place.shown} has {status.st_size:,} bytes; read parts of it with Grep or Bash.")
        first, limit = max(call.offset or 1, 1), call.limit or _MAX_READ_LINES
        if stored and _has_nul(place.target):
            raise ToolFault(f"Read: {place.shown} is {stored} ({status.st_size:,} bytes).")
        if status.st_size <= MAX_EDIT_BYTES:
            lines = _parse_file(place, "Read").shown_lines[first - 1 : first + limit + 1]
        else:
            lines = await self._lines_of_large(place, first, first + limit + 1)
        # Two more lines than requested show whether lines follow, or only the end of the last line.
        if len(lines) <= limit + 1 and lines[-1:] == [""]:
            lines.pop()
        more = len(lines) > limit
        lines = lines[:limit]
        if not lines:
            return "(the file is empty)" if status.st_size == 0 else f"(the file has fewer than {first} lines)"
        shown = "\n".join(f"{number:6}\t{_shorten_line(line)}" for number, line in enumerate(lines, first))
        if stored:
            shown = f"{shown}\n(this is {stored})"
        return f"{shown}\n(more lines follow: read on with offset={first + limit})" if more else shown

    async def write_file(self, call: WriteInput) -> tuple[str, str]:
        """Create or replace a file; return the answer and the path that changed."""
        place = self._find_writable(call.file_path, "Write")
        data, note = call.content.encode(), ""
        status = place.read_status()
        if status is not None:
            self._inside.plain_file(place, "Write")
            _own_copy(place.target)
            if status.st_size <= MAX_READ_BYTES:
                data, note = _rewrite_file(place, call.content)
        self._write_bytes(place, data, "Write")
        return f"Wrote {place.shown} ({len(data):,} bytes{note}).", place.path

    async def edit_file(self, call: EditInput) -> tuple[str, str]:
        """Replace text in a file; return the answer and the path that changed."""
        place = self._find_writable(call.file_path, "Edit")
        status = self._inside.plain_file(place, "Edit")
        if not call.old_string:
            raise ToolFault("Edit: old_string is empty; use Write to replace a whole file.")
        if call.old_string == call.new_string:
            raise ToolFault("Edit: old_string and new_string are the same; nothing was changed.")
        if status.st_size > MAX_EDIT_BYTES:
            raise ToolFault(
                f"Edit: {place.shown} has {status.st_size:,} bytes, more than the {MAX_EDIT_BYTES:,} that can be "
                "edited; change it with Bash."
            )
        file = _parse_file(place, "Edit")
        text, count = replace_text(file, call.old_string, call.new_string, everywhere=call.replace_all)
        if not count:
            raise ToolFault(f"Edit: old_string not found in {place.shown}.")
        if count > 1 and not call.replace_all:
            raise ToolFault(f"Edit: old_string appears {count} times in {place.shown} (must be unique).")
        if text == file.text:
            raise ToolFault(
                f"Edit: {place.shown} keeps its line ends and byte order mark, and apart from these old_string "
                "and new_string are the same; nothing was changed."
            )
        _own_copy(place.target)
        self._write_bytes(place, file.encode_text(text), "Edit")
        return f"Edited {place.shown}.", place.path

    def _find_writable(self, text: str, tool: str) -> WorkspacePath:
        place = self._inside.find_path(text)
        if not place.path:
            raise ToolFault(f"{tool}: {text} is the workspace itself.")
        if is_within(place.path, self._submodules):
            raise ToolFault(
                f"{tool}: {place.shown} is inside a submodule and was not changed: the branch keeps submodules as they"
                " are. A change there belongs in the submodule's own repository; say so in your hand-off."
            )
        if not self._scope.allows_path(place.path):
            raise ToolFault(f"{tool}: {self._scope.explain_refusal(place.path)}")
        return place

    def _write_bytes(self, place: WorkspacePath, data: bytes, tool: str) -> None:
        if (is_deep(place.path) or is_long(place.path)) and not os.path.isdir(place.target.parent):
            raise ToolFault(
                f"{tool}: {place.shown} lies more than {MAX_DEPTH} directories deep, or its path is longer than"
                f" {MAX_PATH:,} bytes: such a file is not saved. Give a shorter path."
            )
        try:
            place.target.parent.mkdir(parents=True, exist_ok=True)
            place.target.write_bytes(data)
        except OSError as error:
            if is_disk_full(error):
                raise
            # Directories may exist by now, and part of the content.
            reason = (error.strerror or "cannot be written").lower()
            raise ToolFault(f"{tool}: {place.shown}: {reason}.", touched={place.path}) from error

    async def _lines_of_large(self, place: WorkspacePath, first: int, last: int) -> list[str]:
        text: str = await self._call_tool(self._read, file_path=place.path, view_range=[first, last])
        return (text.removeprefix("\ufeff") if first == 1 else text).split("\n")

    async def _call_tool(self, tool: Any, **arguments: object) -> str:
        from anthropic.lib.tools import ToolError

        try:
            result = await tool.call(arguments)
        except ToolError as error:
            if error.__cause__ is not None and is_disk_full(error.__cause__):
                raise error.__cause__ from None
            content = error.content
            text = content if isinstance(content, str) else str(error)
            raise ToolFault(self._clean_message(text) or "The tool failed without saying why.") from error
        except ValueError as error:
            raise ToolFault(self._clean_message(str(error)) or "The tool failed without saying why.") from error
        return result if isinstance(result, str) else str(result)

    def _clean_message(self, text: str) -> str:
        text = self._inside.hide_root(text)
        if "view_range" in text:
            return "Read: these lines are too long to be shown; request fewer with limit, or use Grep."
        return text[:1].upper() + text[1:]


def _parse_file(place: WorkspacePath, tool: str) -> TextFile:
    try:
        return parse_text(place.target.read_bytes())
    except NotText as error:
        raise ToolFault(
            f"{tool}: {place.shown} {error}; read and change it with Bash, by a program that knows its encoding."
        ) from error
    except OSError as error:
        raise ToolFault(f"{tool}: {place.shown}: {(error.strerror or 'cannot be read').lower()}.") from error


def _rewrite_file(place: WorkspacePath, content: str) -> tuple[bytes, str]:
    """Return the bytes of a file with new content, and a note about them for the answer."""
    try:
        file = parse_text(place.target.read_bytes())
    except NotText as error:
        return content.encode(), f"; the file that it replaces {error}, this one is"
    except OSError:
        return content.encode(), ""  # the write will report the error
    data = file.encode_text(rewrite_text(file, content))
    about = parse_text(data).describe_format()
    return data, f"; as before with {about}" if about and about == file.describe_format() else ""


def _has_nul(target: Path) -> bool:
    with target.open("rb") as file:
        return b"\0" in file.read(_HEAD)


def _own_copy(target: Path) -> None:
    """Separate a file from its hard links, so that a write under this name does not change a forbidden one."""
    if os.lstat(target).st_nlink < 2:
        return
    copy = target.with_name(f".baton-{secrets.token_hex(8)}")
    try:
        shutil.copy2(target, copy, follow_symlinks=False)
        os.replace(copy, target)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise ToolFault(f"{target.name}: {(error.strerror or 'cannot be written').lower()}.") from error


def _shorten_line(line: str) -> str:
    line = line.removesuffix("\r")
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]} [... {len(line) - _MAX_LINE:,} characters more]"
