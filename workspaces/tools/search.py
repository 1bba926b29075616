"""Glob and Grep: ripgrep from the wheel, as a process of its own that is bounded in time and output.

Not the SDK's: those give this machine's paths, collect all output in memory, and walk on the event loop.
"""

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from baton import policies
from baton.tool_inputs import GlobInput, GrepInput
from system.path_patterns import PathPattern, parse_pattern
from system.uncancellable import finish
from workspaces.sandbox.bounds import bounds_of
from workspaces.sandbox.command import Command
from workspaces.sandbox.environment import SYSTEM_PATH
from workspaces.sandbox.output_capture import cut_middle
from workspaces.sandbox.process_group import run_process
from workspaces.tools.inputs import ToolFault
from workspaces.tools.paths import Inside, Place
from workspaces.tools.stored_forms import recognise_file

_SECONDS = 20.0
_MAX_LISTING = 20_000_000
_MAX_FILES = 200
_MAX_ALTERNATIVES = 64
_MAX_LOOKED_INTO = 200
_MAX_SAID = 10

# What is never looked through, even where a pattern would name it.
_LEAVE_OUT = ("!.git", "!node_modules", "!.venv", "!__pycache__")
_COMMON = ["--no-config", "--hidden", "--no-require-git", "--no-ignore-parent", "--no-ignore-global", "--no-messages"]


class SearchTools:
    """The search tools on one workspace."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    async def glob(self, call: GlobInput) -> str:
        """Paths that match, the newest first; what the project ignores is left out."""
        base, directory = self._base(call.path)
        if not directory:
            raise ToolFault(f"Glob: {base.shown} is a file, not a directory.")
        wanted = _relative(call.pattern)
        rules, fault = _compile([reading for pattern in _alternatives(wanted) for reading in _readings(pattern)])
        _code, listing = await self._ripgrep(["--files", "--null", *_left_out()], base.target, [], _MAX_LISTING)
        # A listing that was cut in its middle has a line there that is no path; it matches nothing that exists.
        names = [name.removeprefix("./") for name in listing.split("\0") if name]
        found = [name for name in names if name == wanted or any(rule.covers(name) for rule in rules)]
        if not found and fault:
            raise ToolFault(f"Glob: {fault}")
        if not found:
            return "No files match (files that the project ignores are left out)."
        found.sort(key=lambda name: (-_modified(base.target / name), name))
        prefix = f"{base.path}/" if base.path else ""
        lines = [f"{prefix}{name}" for name in found[:_MAX_FILES]]
        if len(found) > _MAX_FILES:
            lines.append(f"({len(found) - _MAX_FILES:,} more files match: narrow the pattern)")
        return "\n".join(lines)

    async def grep(self, call: GrepInput) -> str:
        """Lines that match, or only the files or their counts."""
        base, _directory = self._base(call.path)
        options = ["--no-heading", "--with-filename", "--color=never", "--max-columns=500", "--max-columns-preview"]
        options += {"content": [], "files_with_matches": ["--files-with-matches"], "count": ["--count"]}[
            call.output_mode
        ]
        if call.output_mode == "content":
            options.append("--line-number" if call.line_numbers else "--no-line-number")
            for flag, amount in (("-A", call.after), ("-B", call.before), ("-C", call.around)):
                options += [flag, str(amount)] if amount else []
        options += ["--ignore-case"] if call.ignore_case else []
        options += ["--multiline", "--multiline-dotall"] if call.multiline else []
        options += [f"--glob={pattern}" for pattern in _usable(_relative(call.glob))] if call.glob else []
        options += ["--sort=path", *_left_out(), "-e", call.pattern]
        # From the workspace's root, so that results can be given to Read as they are.
        where = [base.path or "."]
        code, output = await self._ripgrep(options, self._inside.root, where, policies.TOOL_OUTPUT_LIMIT)
        if code == 1:
            return f"No matches.{self._stored_forms([base.path])}"
        if code not in (0, 2) or (code == 2 and output.startswith("rg: ")):
            raise ToolFault(f"Grep: {self._inside.words(output.strip().removeprefix('rg: '))[:600] or 'it failed'}")
        # Not splitlines: a form feed, or a carriage return within a line, is a character that an Edit has to name.
        lines = [line.removesuffix("\r").removeprefix("./") for line in output.removesuffix("\n").split("\n")]
        if call.head_limit and len(lines) > call.head_limit:
            lines = [*lines[: call.head_limit], f"({len(lines) - call.head_limit:,} more lines)"]
        found = cut_middle("\n".join(lines), policies.TOOL_OUTPUT_LIMIT) or "No matches."
        return found + self._stored_forms([base.path, *_paths_in(lines)])

    def _stored_forms(self, paths: Iterable[str]) -> str:
        """A line each for files that were looked through and hold no content of their own: pointers, ciphertext."""
        said = []
        for path in islice(dict.fromkeys(paths), _MAX_LOOKED_INTO):
            words = recognise_file(self._inside, path) if path else ""
            if words:
                said.append(f"\n({path} is {words})")
        more = f"\n(and {len(said) - _MAX_SAID} more such files)" if len(said) > _MAX_SAID else ""
        return "".join(said[:_MAX_SAID]) + more

    def _base(self, path: str | None) -> tuple[Place, bool]:
        """Where to search, and whether that is a directory."""
        place = self._inside.find(path or ".")
        status = place.status()
        if status is None or not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            raise ToolFault(f"{place.shown}: there is no such file or directory.")
        return place, stat.S_ISDIR(status.st_mode)

    async def _ripgrep(self, options: list[str], cwd: Path, where: list[str], limit: int) -> tuple[int, str]:
        program = _program()
        if program is None:
            raise ToolFault("The search tool (ripgrep) is not installed here; list and search files with Bash.")
        argv = [str(program), *_COMMON, *options, "--", *where]
        # A line can be as long as a file: the memory of a search is bounded as that of a command.
        bound, result = await bounds_of().begin(Command(argv=argv)), None
        try:
            line = bound.line(argv, clear=True)
            finished = await run_process(line, env={}, timeout=_SECONDS, output_limit=limit, cwd=cwd, bound=bound)
            result = finished.result
        finally:
            result = await finish(bound.end(result))
        assert result is not None, "an error was raised"
        if result.timed_out:
            raise ToolFault(f"The search took longer than {_SECONDS:g} s; narrow it with path or glob.")
        if result.exceeded:
            raise ToolFault(f"The search was {result.exceeded}. Narrow it with path or glob.")
        return result.exit_code, result.output


def _paths_in(lines: Sequence[str]) -> Iterator[str]:
    """What may be the path at the start of each line: before its first colon, or all of it."""
    for line in lines:
        yield line.partition(":")[0]


def _program() -> Path | None:
    beside = Path(sys.executable).parent / "rg"
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    found = shutil.which("rg", path=":".join(SYSTEM_PATH))
    return Path(found) if found else None


def _left_out() -> list[str]:
    return [f"--glob={pattern}" for pattern in _LEAVE_OUT]


def _relative(pattern: str) -> str:
    """A glob relative to where the search begins."""
    pattern = pattern.removeprefix("/workspace/").removeprefix("./")
    if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
        raise ToolFault(
            f"The pattern {pattern[:100]} leads outside the workspace; give a relative one, such as src/**/*.py."
        )
    if pattern.startswith("!"):
        raise ToolFault("A pattern that begins with ! takes nothing in.")
    return pattern


def _alternatives(pattern: str) -> list[str]:
    """`src/*.{ts,tsx}` as two patterns, for .gitignore's syntax knows no braces."""
    done: list[str] = []
    todo = [pattern]
    while todo:
        text = todo.pop()
        match = re.search(r"\{([^{}]*)\}", text)
        if match is None:
            done.append(text)
        else:
            todo += [text[: match.start()] + part + text[match.end() :] for part in match[1].split(",")]
        if len(done) + len(todo) > _MAX_ALTERNATIVES:
            raise ToolFault("The pattern has too many alternatives in braces.")
    return done


def _readings(pattern: str) -> list[str]:
    """The pattern, and the same with its brackets as characters: `app/[slug]/page.tsx` is the name of a file."""
    return list(dict.fromkeys([pattern, pattern.replace("[", "[[]")]))


def _usable(pattern: str) -> list[str]:
    """The readings that ripgrep is given: where its brackets are no sets of characters, it would refuse a pattern."""
    first, *more = _readings(pattern)
    return [first, *more] if not more or _compile([first])[0] else more


def _compile(patterns: list[str]) -> tuple[list[PathPattern], str]:
    """Expressions for patterns, and what is wrong with the first one that is none.

    With a directory in it, a pattern is tied to where the search begins; a bare name is found at any depth.
    """
    found: list[PathPattern] = []
    fault = ""
    for pattern in patterns:
        try:
            found.append(parse_pattern(pattern.rstrip("/") or "**"))
        except ValueError as error:
            fault = fault or str(error)
    return found, fault


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
