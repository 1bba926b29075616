"""Read, Write and Edit: confined to scope and plain files, with answers that a model can act on.

A Write to a FIFO would block, a hard link or a link lead a change around the scope, an image that the API cannot
decode would spoil the transcript for good. Changes keep what a file has: encoding, byte order mark, line ends
(`text_files`), permissions. Parts of large files are read by the SDK's tool, which does not load all of them.

The SDK is imported by who uses it: that takes a second, and workflow code, which `baton show` runs, does without.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

from workspaces.checkpoints.gitlinks import is_within
from workspaces.checkpoints.walk import MAX_DEPTH, MAX_PATH, is_deep, is_long
from workspaces.project.scopes import Scope
from workspaces.tools.inputs import EditInput, ReadInput, ToolFault, WriteInput
from workspaces.tools.paths import Inside, Place
from workspaces.tools.stored_forms import recognise_file
from workspaces.tools.text_files import NotText, TextFile, parse_text, replace_text, rewrite_text

MAX_READ_BYTES = 64 << 20
MAX_EDIT_BYTES = 4 << 20
_MAX_LINE = 2_000
_HEAD = 4_096
_BINARY = frozenset((".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf"))


@lru_cache(maxsize=256)
def _read_tool(root: Path) -> Any:
    """The SDK's tool on a directory. It holds nothing but its path, and making it takes milliseconds."""
    from anthropic.lib.tools.agent_toolset import AgentToolContext, beta_read_tool

    return beta_read_tool(AgentToolContext(workdir=root, max_file_bytes=MAX_EDIT_BYTES))


class FileTools:
    """The file tools on one workspace for one role."""

    def __init__(self, inside: Inside, scope: Scope, submodules: Collection[str] = ()) -> None:
        self._submodules = frozenset(submodules)
        self._inside = inside
        self._scope = scope
        self._read = _read_tool(inside.root)

    async def read(self, call: ReadInput) -> str:
        """Lines of a text file, numbered."""
        place = self._inside.find(call.file_path)
        status = self._inside.plain_file(place, "Read")
        stored = recognise_file(self._inside, place.path)
        if stored and place.target.suffix.lower() in _BINARY:
            raise ToolFault(f"Read: {place.shown} is {stored} ({status.st_size:,} bytes).")
        if place.target.suffix.lower() in _BINARY:
            # As an image block it would stay in the transcript; one that the API cannot decode ends the session.
            raise ToolFault(
                f"Read: {place.shown} is an image or PDF ({status.st_size:,} bytes); only text can be read."
            )
        if status.st_size > MAX_READ_BYTES:
            raise ToolFault(f"Read: {place.shown} has {status.st_size:,} bytes; look at parts of it with Grep or Bash.")
        first = max(call.offset, 1)
        if stored and _has_nul(place.target):
            raise ToolFault(f"Read: {place.shown} is {stored} ({status.st_size:,} bytes).")
        if status.st_size <= MAX_EDIT_BYTES:
            lines = _parsed(place, "Read").lines[first - 1 : first + call.limit + 1]
        else:
            lines = await self._lines_of_large(place, first, first + call.limit + 1)
        # Two lines more than asked for show whether there are more, or only the last line's own end.
        if len(lines) <= call.limit + 1 and lines[-1:] == [""]:
            lines.pop()
        more = len(lines) > call.limit
        lines = lines[: call.limit]
        if not lines:
            return "(the file is empty)" if status.st_size == 0 else f"(the file has fewer than {first} lines)"
        shown = "\n".join(f"{number:6}\t{_short(line)}" for number, line in enumerate(lines, first))
        if stored:
            shown = f"{shown}\n(this is {stored})"
        return f"{shown}\n(more lines follow: read on with offset={first + call.limit})" if more else shown

    async def write(self, call: WriteInput) -> tuple[str, str]:
        """Make or replace a file: the answer, and the path that changed."""
        place = self._place(call.file_path, "Write")
        data, note = call.content.encode(), ""
        status = place.status()
        if status is not None:
            self._inside.plain_file(place, "Write")
            _own_copy(place.target)
            if status.st_size <= MAX_READ_BYTES:
                data, note = _rewritten(place, call.content)
        self._store(place, data, "Write")
        return f"Wrote {place.shown} ({len(data):,} bytes{note}).", place.path

    async def edit(self, call: EditInput) -> tuple[str, str]:
        """Replace text in a file: the answer, and the path that changed."""
        place = self._place(call.file_path, "Edit")
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
        file = _parsed(place, "Edit")
        text, count = replace_text(file, call.old_string, call.new_string, everywhere=call.replace_all)
        if not count:
            raise ToolFault(f"Edit: old_string not found in {place.shown}.")
        if count > 1 and not call.replace_all:
            raise ToolFault(f"Edit: old_string appears {count} times in {place.shown} (must be unique).")
        if text == file.text:
            raise ToolFault(
                f"Edit: {place.shown} keeps its line ends and byte order mark, and but for these old_string and "
                "new_string are the same; nothing was changed."
            )
        _own_copy(place.target)
        self._store(place, file.dump(text), "Edit")
        return f"Edited {place.shown}.", place.path

    def _place(self, text: str, tool: str) -> Place:
        place = self._inside.find(text)
        if not place.path:
            raise ToolFault(f"{tool}: {text} is the workspace itself.")
        if is_within(place.path, self._submodules):
            raise ToolFault(
                f"{tool}: {place.shown} is in the place of a submodule and was not changed: the branch keeps submodules"
                " as they are. A change there is for the submodule's own repository; say so in your hand-off."
            )
        if not self._scope.allows(place.path):
            raise ToolFault(f"{tool}: {self._scope.refusal(place.path)}")
        return place

    def _store(self, place: Place, data: bytes, tool: str) -> None:
        if (is_deep(place.path) or is_long(place.path)) and not os.path.isdir(place.target.parent):
            raise ToolFault(
                f"{tool}: {place.shown} lies more than {MAX_DEPTH} directories deep, or its path is longer than"
                f" {MAX_PATH:,} bytes: nothing of the kind is kept. Give a shorter path."
            )
        try:
            place.target.parent.mkdir(parents=True, exist_ok=True)
            place.target.write_bytes(data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            # Directories may have been made, half of the content written.
            reason = (error.strerror or "cannot be written").lower()
            raise ToolFault(f"{tool}: {place.shown}: {reason}.", touched={place.path}) from error

    async def _lines_of_large(self, place: Place, first: int, last: int) -> list[str]:
        text: str = await self._call(self._read, file_path=place.path, view_range=[first, last])
        return (text.removeprefix("\ufeff") if first == 1 else text).split("\n")

    async def _call(self, tool: Any, **arguments: object) -> str:
        from anthropic.lib.tools import ToolError

        try:
            result = await tool.call(arguments)
        except ToolError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT):
                raise error.__cause__ from None
            content = error.content
            text = content if isinstance(content, str) else str(error)
            raise ToolFault(self._readable(text) or "The tool failed without saying why.") from error
        except ValueError as error:
            raise ToolFault(self._readable(str(error)) or "The tool failed without saying why.") from error
        return result if isinstance(result, str) else str(result)

    def _readable(self, text: str) -> str:
        text = self._inside.words(text)
        if "view_range" in text:
            return "Read: these lines are too long to be shown; ask for fewer with limit, or look with Grep."
        return text[:1].upper() + text[1:]


def _parsed(place: Place, tool: str) -> TextFile:
    try:
        return parse_text(place.target.read_bytes())
    except NotText as error:
        raise ToolFault(
            f"{tool}: {place.shown} {error}; look at it and change it with Bash, by a program that knows its encoding."
        ) from error
    except OSError as error:
        raise ToolFault(f"{tool}: {place.shown}: {(error.strerror or 'cannot be read').lower()}.") from error


def _rewritten(place: Place, content: str) -> tuple[bytes, str]:
    """The bytes of a file that gets another content, and what has to be said of them."""
    try:
        file = parse_text(place.target.read_bytes())
    except NotText as error:
        return content.encode(), f"; the file that it replaces {error}, this one is"
    except OSError:
        return content.encode(), ""  # writing says what is wrong
    data = file.dump(rewrite_text(file, content))
    about = parse_text(data).about()
    return data, f"; as before with {about}" if about and about == file.about() else ""


def _has_nul(target: Path) -> bool:
    with target.open("rb") as file:
        return b"\0" in file.read(_HEAD)


def _own_copy(target: Path) -> None:
    """Part a file from its hard links: what is written under this name must not appear under a forbidden one."""
    if os.lstat(target).st_nlink < 2:
        return
    copy = target.with_name(f".baton-{secrets.token_hex(8)}")
    try:
        shutil.copy2(target, copy, follow_symlinks=False)
        os.replace(copy, target)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise ToolFault(f"{target.name}: {(error.strerror or 'cannot be written').lower()}.") from error


def _short(line: str) -> str:
    line = line.removesuffix("\r")
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]} [... {len(line) - _MAX_LINE:,} characters more]"
