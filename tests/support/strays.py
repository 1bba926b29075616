"""Stray processes: those that a test has started and left behind, whatever they are named and whoever their parent is.

A process belongs to a test where the test's directory stands in its command line, its environment, its working
directory, its open files or its mounts: sandboxed commands have neither our environment nor our paths, but they mount
a workspace.
"""

import os
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

_PLACES = ("cmdline", "environ", "mountinfo")


def running_processes() -> set[int]:
    """Return the ids of all processes of the machine."""
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}


def find_strays(directory: Path, among: Iterable[int]) -> dict[int, str]:
    """Return those of the given processes that belong to a directory, with their command lines.

    This process and those above it, such as a `timeout` with the directory among its arguments, are none.
    """
    wanted = os.fsencode(directory)
    found = {}
    for pid in set(among) - set(_own_line()):
        if _belongs(Path("/proc", str(pid)), wanted) and (line := _command_line(pid)):
            found[pid] = line
    return found


def strays_that_stay(directory: Path, among: Iterable[int], within: timedelta) -> dict[int, str]:
    """Return the stray processes of a directory that have not ended after a while; those that end by then are none."""
    deadline = time.monotonic() + within.total_seconds()
    pids = set(among)
    while (left := find_strays(directory, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
        pids = set(left)
    return left


def _own_line() -> Iterator[int]:
    """Yield the id of this process, of its parent, and so on."""
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: the parent is the second field after the name.
            pid = int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return


def _belongs(process: Path, wanted: bytes) -> bool:
    try:
        links = [process / "cwd", *(process / "fd").iterdir()]
        if any(os.fsencode(os.readlink(link)).startswith(wanted) for link in links):
            return True
        return any(wanted in (process / place).read_bytes() for place in _PLACES)
    except OSError:  # it has ended, or it belongs to another user
        return False


def _command_line(pid: int) -> str:
    """The command line of a process; empty for a zombie, which only waits for its parent."""
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
