"""The command `diff`: the change that a run has made, as a patch, as JSON or as counts. Read from the stores alone."""

import base64
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from baton.errors import UsageError
from interfaces.cli.arguments import check_run_id, load_settings
from interfaces.cli.runs.stored_run import find_run
from interfaces.cli.terminal.output import print_json, write_bytes, write_message, write_text
from interfaces.cli.terminal.runner import run_body
from interfaces.cli.views.patch_size import FileChange, parse_numstat
from workspaces.store.diffs import count_lines, diff_text, write_patch

_MAX_SHOWN = 50_000_000
"""Bytes of a patch that a terminal gets; a file or a pipe gets all of it."""


def diff(run: str, against: str | None, stat: bool, as_json: bool) -> None:
    """Print the change of a run against its base commit, or against the result of another run."""
    run = check_run_id(run)
    against = against and check_run_id(against)
    run_body(_print_diff(load_settings().home, run, against, stat, as_json))


async def _print_diff(home: Path, run: str, against: str | None, stat: bool, as_json: bool) -> None:
    archive = await find_run(home, run)
    start, head = await archive.read_base_commit(), await archive.read_result()
    if against is not None:
        other = await find_run(home, against)
        if other.store.repo != archive.store.repo:
            raise UsageError(f"The runs {run} and {against} are of different repositories, so they cannot be compared.")
        start = await other.read_result()
    if start is None or head is None or (against is None and start == head):
        write_message("There is no change yet: no task has been finished.")
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
        # A person reads it, so that bytes that are no text may be replaced.
        write_text(await diff_text(archive.store, start, head, _MAX_SHOWN))
        return
    with tempfile.TemporaryDirectory(prefix="baton-") as directory:
        path = Path(directory, "patch")
        if not stat:
            await write_patch(archive.store, start, head, path)
        if as_json:
            print_json(_diff_document(run, start, head, files, b"" if stat else _read_patch(path)))
        else:
            _copy_out(path)


def _read_patch(path: Path) -> bytes:
    return path.read_bytes()


def _copy_out(path: Path) -> None:
    with path.open("rb") as patch:
        while piece := patch.read(1 << 20):
            write_bytes(piece)


def _diff_document(run: str, start: str, head: str, files: list[FileChange], patch: bytes) -> dict[str, Any]:
    text = patch.decode(errors="replace")
    whole = text.encode() == patch
    return {
        "run": run,
        "base_commit": start,
        "commit": head,
        "files": [file.as_json() for file in files],
        "patch": text,
        # JSON holds no bytes: a patch that is not UTF-8 can be applied from this field only.
        "patch_base64": None if whole else base64.b64encode(patch).decode(),
    }
