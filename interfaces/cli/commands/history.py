"""The commands `log` and `diff`: what agents said and did, and what came of it. Read from the stores alone."""

import base64
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baton.errors import UsageError
from interfaces.cli import options
from interfaces.cli.terminal.output import line, message, print_json, write, write_bytes
from interfaces.cli.terminal.runner import execute

if TYPE_CHECKING:
    from interfaces.cli.views.patch_size import FileChange

_SHOWN_LIMIT = 50_000_000
"""Bytes of a patch that a terminal is given; elsewhere all of it goes."""


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog="Example: baton log shop-add-pagination-x7k2 --task t1 --session 1-backend")(log)
    app.command(epilog="Example: baton diff shop-add-pagination-x7k2 --stat")(diff)


def log(
    run: options.Run,
    task: Annotated[str | None, typer.Option(metavar="TASK", help="Only this task (`plan` for the plan).")] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ROUND-ROLE", help="Only this session, for instance 1-backend.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Print the transcripts of a run.

    Every message, tool call and result of its sessions, in their order.
    """
    run = options.check_run_id(run)
    execute(_log(options.settings().home, run, task, session, as_json))


def diff(
    run: options.Run,
    against: Annotated[
        str | None, typer.Option(metavar="RUN", help="Against the result of another run of the same repository.")
    ] = None,
    stat: Annotated[bool, typer.Option("--stat", help="Only the files and how many lines changed.")] = False,
    as_json: options.Json = False,
) -> None:
    """Print the change that a run has made so far.

    As a patch against the commit that it started from, or against what another run has made. Into a file or a pipe it
    goes byte for byte, binary files included, for `git apply`.
    """
    run = options.check_run_id(run)
    against = against and options.check_run_id(against)
    execute(_diff(options.settings().home, run, against, stat, as_json))


async def _log(home: Path, run: str, task: str | None, session: str | None, as_json: bool) -> None:
    from baton.naming import is_task_id
    from interfaces.cli.runs.stored_run import find_run
    from interfaces.cli.views.transcript import render

    archive = await find_run(home, run)
    known = await archive.tasks()
    if task is not None and (not is_task_id(task) or task not in known):
        raise UsageError(f"The run {run} has no task {task!r}; it has: {', '.join(known)}.")
    found: list[dict[str, Any]] = []
    sessions: dict[str, None] = {}
    for name in [task] if task else known:
        whole = await archive.transcript(name)
        sessions |= dict.fromkeys(part.session for part in whole)
        parts = [part for part in whole if session in (None, part.session)]
        found += [
            {"task": name, "session": part.session, "number": part.number, "side": part.side, "entry": part.content}
            for part in parts
        ]
        if parts and not as_json:
            line("\n".join(render(parts, name)))
    if session is not None and sessions and not found:
        where = f"The task {task} of the run {run}" if task else f"The run {run}"
        raise UsageError(f"{where} has no session {session!r}; it has: {', '.join(sessions)}.")
    if as_json:
        print_json(found)
    elif not found:
        message("There is no transcript of that yet.")


async def _diff(home: Path, run: str, against: str | None, stat: bool, as_json: bool) -> None:
    from interfaces.cli.runs.stored_run import find_run
    from interfaces.cli.views.patch_size import parse_numstat
    from workspaces.store.diffs import count_lines, diff_text, write_patch

    archive = await find_run(home, run)
    start, head = await archive.base_commit(), await archive.result()
    if against is not None:
        other = await find_run(home, against)
        if other.store.repo != archive.store.repo:
            raise UsageError(f"The runs {run} and {against} are of different repositories, so they cannot be compared.")
        start = await other.result()
    if start is None or head is None or (against is None and start == head):
        message("There is no change yet: no task has been finished.")
        if as_json:
            print_json(
                {"run": run, "base_commit": start, "commit": None, "files": [], "patch": "", "patch_base64": None}
            )
        return
    files = parse_numstat(await count_lines(archive.store, start, head))
    if stat and not as_json:
        for file in files:
            write_bytes(os.fsencode(f"{file.as_line()}\n"))
        return
    if not as_json and sys.stdout.isatty():
        # For eyes: what is no text cannot be read either way.
        write(await diff_text(archive.store, start, head, _SHOWN_LIMIT))
        return
    with tempfile.TemporaryDirectory(prefix="baton-") as directory:
        path = Path(directory, "patch")
        if not stat:
            await write_patch(archive.store, start, head, path)
        if as_json:
            print_json(_as_json(run, start, head, files, b"" if stat else _data(path)))
        else:
            _copy_out(path)


def _data(path: Path) -> bytes:
    return path.read_bytes()


def _copy_out(path: Path) -> None:
    with path.open("rb") as patch:
        while piece := patch.read(1 << 20):
            write_bytes(piece)


def _as_json(run: str, start: str, head: str, files: "list[FileChange]", patch: bytes) -> dict[str, Any]:
    text = patch.decode(errors="replace")
    whole = text.encode() == patch
    return {
        "run": run,
        "base_commit": start,
        "commit": head,
        "files": [file.as_json() for file in files],
        "patch": text,
        # JSON holds no bytes: where the patch is not UTF-8, this is what can be applied.
        "patch_base64": None if whole else base64.b64encode(patch).decode(),
    }
