"""The Glob and Grep tools: ripgrep from the wheel, as a process with bounds on time, memory and output.

The SDK's tools do not serve: they return paths of this machine, collect all output in memory, and block the event loop.
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
from system.uncancellable import finish_work
from workspaces.sandbox.bounds import bounds_of
from workspaces.sandbox.command import SandboxCommand
from workspaces.sandbox.environment import SYSTEM_PATH
from workspaces.sandbox.output_capture import cut_middle
from workspaces.sandbox.process_group import run_process
from workspaces.tools.inputs import ToolFault
from workspaces.tools.paths import WorkspacePath, WorkspacePaths
from workspaces.tools.stored_forms import recognise_file

_SECONDS = 20.0
_MAX_LISTING = 20_000_000
_MAX_FILES = 200
_MAX_ALTERNATIVES = 64
_MAX_RECOGNISED = 200
_MAX_NAMED = 10

# Directories that are never searched, even if a pattern names them.
_LEAVE_OUT = ("!.git", "!node_modules", "!.venv", "!__pycache__")
_COMMON = ["--no-config", "--hidden", "--no-require-git", "--no-ignore-parent", "--no-ignore-global", "--no-messages"]


class SearchTools:
    """The search tools on one workspace."""

    def __init__(self, inside: WorkspacePaths) -> None:
        self._inside = inside

    async def find_files(self, call: GlobInput) -> str:
        """Return matching paths, the newest first, without those that the project ignores."""
        base, directory = self._find_base(call.path)
        if not directory:
            raise ToolFault(f"Glob: {base.shown} is a file, not a directory.")
        wanted = _relative_glob(call.pattern)
        rules, fault = _compile_patterns(
            [reading for pattern in _expand_braces(wanted) for reading in _bracket_readings(pattern)]
        )
        _code, listing = await self._run_ripgrep(["--files", "--null", *_left_out()], base.target, [], _MAX_LISTING)
        # A listing that was cut in its middle has a line that is no path; it matches no existing file.
        names = [name.removeprefix("./") for name in listing.split("\0") if name]
        found = [name for name in names if name == wanted or any(rule.covers_path(name) for rule in rules)]
        if not found and fault:
            raise ToolFault(f"Glob: {fault}")
        if not found:
            return "No files match (files that the project ignores are left out)."
        found.sort(key=lambda name: (-_modified_at(base.target / name), name))
        prefix = f"{base.path}/" if base.path else ""
        lines = [f"{prefix}{name}" for name in found[:_MAX_FILES]]
        if len(found) > _MAX_FILES:
            lines.append(f"({len(found) - _MAX_FILES:,} more files match: narrow the pattern)")
        return "\n".join(lines)

    async def find_lines(self, call: GrepInput) -> str:
        """Return matching lines, or only their files or counts."""
        base, _directory = self._find_base(call.path)
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
        options += [f"--glob={pattern}" for pattern in _ripgrep_globs(_relative_glob(call.glob))] if call.glob else []
        options += ["--sort=path", *_left_out(), "-e", call.pattern]
        # From the workspace's root, so that Read takes the paths of the results as they are.
        where = [base.path or "."]
        code, output = await self._run_ripgrep(options, self._inside.root, where, policies.MAX_TOOL_OUTPUT)
        if code == 1:
            return f"No matches.{self._stored_forms([base.path])}"
        if code not in (0, 2) or (code == 2 and output.startswith("rg: ")):
            raise ToolFault(f"Grep: {self._inside.hide_root(output.strip().removeprefix('rg: '))[:600] or 'it failed'}")
        # Not splitlines: a form feed or a carriage return inside a line is a character that an Edit must name.
        lines = [line.removesuffix("\r").removeprefix("./") for line in output.removesuffix("\n").split("\n")]
        if call.head_limit and len(lines) > call.head_limit:
            lines = [*lines[: call.head_limit], f"({len(lines) - call.head_limit:,} more lines)"]
        found = cut_middle("\n".join(lines), policies.MAX_TOOL_OUTPUT) or "No matches."
        return found + self._stored_forms([base.path, *_paths_in(lines)])

    def _stored_forms(self, paths: Iterable[str]) -> str:
        """Return a line for each file that holds a pointer or ciphertext instead of its content."""
        notes = []
        for path in islice(dict.fromkeys(paths), _MAX_RECOGNISED):
            form = recognise_file(self._inside, path) if path else ""
            if form:
                notes.append(f"\n({path} is {form})")
        more = f"\n(and {len(notes) - _MAX_NAMED} more such files)" if len(notes) > _MAX_NAMED else ""
        return "".join(notes[:_MAX_NAMED]) + more

    def _find_base(self, path: str | None) -> tuple[WorkspacePath, bool]:
        """Return the place to search, and whether it is a directory."""
        place = self._inside.find_path(path or ".")
        status = place.read_status()
        if status is None or not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            raise ToolFault(f"{place.shown}: there is no such file or directory.")
        return place, stat.S_ISDIR(status.st_mode)

    async def _run_ripgrep(self, options: list[str], cwd: Path, where: list[str], limit: int) -> tuple[int, str]:
        program = _find_ripgrep()
        if program is None:
            raise ToolFault("The search tool (ripgrep) is not installed here; list and search files with Bash.")
        argv = [str(program), *_COMMON, *options, "--", *where]
        # A line can be as long as a file, so a search has the memory bound of a command.
        bound, result = await bounds_of().begin_command(SandboxCommand(argv=argv)), None
        try:
            line = bound.wrap_argv(argv, clear=True)
            finished = await run_process(line, env={}, timeout=_SECONDS, output_limit=limit, cwd=cwd, bound=bound)
            result = finished.result
        finally:
            result = await finish_work(bound.end_command(result))
        assert result is not None, "an error was raised"
        if result.timed_out:
            raise ToolFault(f"The search took longer than {_SECONDS:g} s; narrow it with path or glob.")
        if result.exceeded:
            raise ToolFault(f"The search was {result.exceeded}. Narrow it with path or glob.")
        return result.exit_code, result.output


def _paths_in(lines: Sequence[str]) -> Iterator[str]:
    """Iterate over the possible paths at the start of lines: the text before the first colon, or the line."""
    for line in lines:
        yield line.partition(":")[0]


def _find_ripgrep() -> Path | None:
    beside = Path(sys.executable).parent / "rg"
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    found = shutil.which("rg", path=":".join(SYSTEM_PATH))
    return Path(found) if found else None


def _left_out() -> list[str]:
    return [f"--glob={pattern}" for pattern in _LEAVE_OUT]


def _relative_glob(pattern: str) -> str:
    """Return a glob relative to the place of the search. Raises ToolFault if it leads elsewhere."""
    pattern = pattern.removeprefix("/workspace/").removeprefix("./")
    if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
        raise ToolFault(
            f"The pattern {pattern[:100]} leads outside the workspace; give a relative one, such as src/**/*.py."
        )
    if pattern.startswith("!"):
        raise ToolFault("A pattern that begins with ! includes no files.")
    return pattern


def _expand_braces(pattern: str) -> list[str]:
    """Return `src/*.{ts,tsx}` as two patterns, because .gitignore's syntax has no braces."""
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


def _bracket_readings(pattern: str) -> list[str]:
    """Return a pattern, and the same with literal brackets: `app/[slug]/page.tsx` is a file name."""
    return list(dict.fromkeys([pattern, pattern.replace("[", "[[]")]))


def _ripgrep_globs(pattern: str) -> list[str]:
    """Return the readings for ripgrep, which refuses a pattern with brackets that are no sets of characters."""
    first, *more = _bracket_readings(pattern)
    return [first, *more] if not more or _compile_patterns([first])[0] else more


def _compile_patterns(patterns: list[str]) -> tuple[list[PathPattern], str]:
    """Return the valid patterns, and the fault of the first invalid one.

    A pattern with a slash is anchored to the place of the search; a bare name is found at any depth.
    """
    found: list[PathPattern] = []
    fault = ""
    for pattern in patterns:
        try:
            found.append(parse_pattern(pattern.rstrip("/") or "**"))
        except ValueError as error:
            fault = fault or str(error)
    return found, fault


def _modified_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
