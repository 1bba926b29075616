"""The command `log`: the transcripts of a run's sessions, once or as they grow. Read from the stores alone."""

import asyncio
from datetime import timedelta
from typing import Any

from baton.errors import UnknownRun, UsageError, WorkspaceError
from baton.identifiers import is_task_id
from baton.settings.core import Settings
from interfaces.cli.arguments import check_run_id, load_settings
from interfaces.cli.runs.stored_run import StoredRun, TranscriptMessage, find_run
from interfaces.cli.terminal.output import print_json, write_line, write_message
from interfaces.cli.terminal.runner import run_body
from interfaces.cli.views.transcript import render_transcript

_POLL = timedelta(seconds=1)
"""Time between two reads of the stores with `--follow`."""

_POLLS_PER_CHECK = 15
"""Polls without a new message until a server, where one runs, is asked whether the run was ended from outside."""


def log(run: str, task: str | None, session: str | None, follow: bool, as_json: bool) -> None:
    """Print the transcripts of a run; with `follow`, until the run ends."""
    run = check_run_id(run)
    if follow and as_json:
        raise UsageError("--follow prints messages as they come and --json prints one document: leave one of them out.")
    settings = load_settings()
    run_body(
        _follow_transcripts(settings, run, task, session)
        if follow
        else _print_transcripts(settings, run, task, session, as_json)
    )


async def _print_transcripts(
    settings: Settings, run: str, task: str | None, session: str | None, as_json: bool
) -> None:
    archive = await find_run(settings.home, run)
    found: list[dict[str, Any]] = []
    sessions: dict[str, None] = {}
    for name in await _list_tasks(archive, task):
        whole = await archive.read_transcript(name)
        sessions |= dict.fromkeys(part.session for part in whole)
        parts = [part for part in whole if session in (None, part.session)]
        found += [
            {"task": name, "session": part.session, "number": part.number, "side": part.side, "entry": part.content}
            for part in parts
        ]
        if parts and not as_json:
            write_line("\n".join(render_transcript(parts, name)))
    if session is not None and sessions and not found:
        where = f"The task {task} of the run {run}" if task else f"The run {run}"
        raise UsageError(f"{where} has no session {session!r}; it has: {', '.join(sessions)}.")
    if as_json:
        print_json(found)
    elif not found:
        write_message("There is no transcript of that yet.")


async def _list_tasks(archive: StoredRun, task: str | None) -> list[str]:
    """Return the tasks to print; raises UsageError if the run does not have the one that was asked for."""
    known = await archive.list_tasks()
    if task is not None and (not is_task_id(task) or task not in known):
        raise UsageError(f"The run {archive.run} has no task {task!r}; it has: {', '.join(known)}.")
    return [task] if task else known


async def _follow_transcripts(settings: Settings, run: str, task: str | None, session: str | None) -> None:
    archive = await find_run(settings.home, run)
    heads: dict[str, str | None] = {}
    printed: set[tuple[str, str, int, str]] = set()
    heading = ("", "")
    still = 0
    while True:
        ended = await _is_over(archive) or (still >= _POLLS_PER_CHECK and await _ended_outside(settings, run))
        still = 0 if still >= _POLLS_PER_CHECK else still + 1
        for name in [task] if task and heads else await _list_tasks(archive, task):
            head = await archive.read_task_head(name)
            if head == heads.get(name):
                continue
            heads[name], still = head, 0
            for part in await archive.read_transcript(name):
                key = (name, part.session, part.number, part.side)
                if key not in printed and session in (None, part.session):
                    printed.add(key)
                    _print_part(part, name, heading)
                    heading = (name, part.session)
        if ended:
            write_message(f"The run {run} has ended.")
            return
        await asyncio.sleep(_POLL.total_seconds())
        archive = await find_run(settings.home, run)


def _print_part(part: TranscriptMessage, task: str, heading: tuple[str, str]) -> None:
    """Print one message, with the session's heading unless the message before was of the same session."""
    lines = list(render_transcript([part], task))
    write_line("\n".join(lines[heading == (task, part.session) :]))


async def _is_over(archive: StoredRun) -> bool:
    try:
        return (await archive.read_document()).status.is_final
    except WorkspaceError:
        return False


async def _ended_outside(settings: Settings, run: str) -> bool:
    # The SDK takes half a second to import, and only `--follow` asks a server.
    from interfaces.cli.runs.current_document import has_ended

    try:
        return await has_ended(settings, run)
    except UnknownRun:
        return False
