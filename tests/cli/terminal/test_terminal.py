"""A person at a terminal: sees a run live, is asked, answers, and interrupts."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import BATON, Cli, nothing_runs
from tests.conftest import HANGS, assert_eventually

pytestmark = pytest.mark.server

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")


SHELL = """
import ctypes, fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def begin():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a test that fails leaves nothing behind
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
job = subprocess.Popen(sys.argv[1:], process_group=0, preexec_fn=begin)
def take(*_):
    os.tcsetpgrp(0, os.getpgrp())
    print("the shell reads", flush=True)
    os.read(0, 1000)
    print("the shell has read", flush=True)
    os.tcsetpgrp(0, job.pid)
signal.signal(signal.SIGUSR1, take)
signal.signal(signal.SIGUSR2, lambda *_: job.terminate())
if os.environ["FOREGROUND"] == "1":
    os.tcsetpgrp(0, job.pid)
print("began", flush=True)
print("ended with", job.wait(), flush=True)
"""
"""The least of a shell: it leads the session of the terminal, and its job has a process group of its own."""


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self.seen = ""
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @classmethod
    async def start(cls, cli: Cli, *arguments: str) -> "Terminal":
        ours, theirs = pty.openpty()
        env = {**cli.env, "TERM": "xterm-256color", "COLUMNS": "150", "LINES": "50"}
        process = await asyncio.create_subprocess_exec(
            str(BATON), *arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
        )
        cli.started.append(process)
        os.close(theirs)
        return cls(process, ours)

    @classmethod
    async def shell(cls, cli: Cli, arguments: list[str], *, foreground: bool = False) -> "Terminal":
        """Start a command as a job of a small shell with job control, in the background or in the foreground.

        SIGUSR1 lets the shell take the terminal, read a line and give it back; SIGUSR2 terminates the job.
        """
        ours, theirs = pty.openpty()
        env = {**cli.env, "TERM": "xterm-256color", "COLUMNS": "150", "LINES": "50", "FOREGROUND": str(int(foreground))}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SHELL, *arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            start_new_session=True,
        )
        cli.started.append(process)
        os.close(theirs)
        return cls(process, ours)

    def _read(self) -> None:
        try:
            piece = os.read(self._descriptor, 65_536)
        except OSError:  # the other side is closed
            piece = b""
        if not piece:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self.seen += _CONTROL.sub("", piece.decode(errors="replace"))

    async def until(self, text: str) -> None:
        """Wait for words on the screen."""
        deadline = asyncio.get_running_loop().time() + HANGS.total_seconds()
        while text not in self.seen:
            assert asyncio.get_running_loop().time() < deadline, f"no {text!r} after\n{self.seen[-3_000:]}"
            await asyncio.sleep(0.05)

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    async def end(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), HANGS.total_seconds())
        os.close(self._descriptor)
        return code


async def test_a_question_is_put_once_and_ctrl_c_leaves_the_run_to_be_continued(
    scripted: Cli, repository: Path, run_id: str
) -> None:
    person = await Terminal.start(scripted, "run", "Add pagination", "--repo", str(repository), "--run-id", run_id)
    await person.until("Choice (number or words; empty: leave it open): ")
    assert "decision D1 (task" in person.seen
    question = person.seen.partition("Decision D1")[2].splitlines()[1].strip()
    assert len(question) > 20
    person.type("nothing of this\n")
    await person.until("'nothing of this' is none of the choices.")
    person.type("2\n")
    await person.until("Note for the agent (may be empty): ")
    asked = person.seen
    person.type("as the others do\n")
    await person.until("decision D1 answered by")
    in_the_tree = asked.count(f"D1? {question[:40]}")  # which is wiped away before the question is put
    assert asked.count(question[:40]) - in_the_tree == 1, asked
    person.process.send_signal(signal.SIGINT)
    assert await person.end() == 130
    assert f"baton watch {run_id}" in person.seen
    assert "Traceback" not in person.seen
    await assert_eventually(lambda: nothing_runs(scripted.home))
    assert json.loads((await scripted("show", run_id, "--json")).out)["status"] in ("planning", "working")
    # Without anybody at work, stopping brings a worker of its own.
    assert (await scripted("stop", run_id)).out == f"{run_id} stopped\n"


async def test_a_command_in_the_background_is_not_stopped_by_a_key_and_asks_nothing(
    scripted: Cli, repository: Path, run_id: str
) -> None:
    """As `baton run ... &` in a shell: the shell leads the session, and its job is a group of its own."""
    arguments = [str(BATON), "run", "Add pagination", "--repo", str(repository), "--run-id", run_id]
    person = await Terminal.shell(scripted, arguments)
    await person.until("began")
    person.type("a key for the shell\n")
    # Without anybody to ask, the run's document is printed, and the exit code says that it waits.
    await person.until("ended with 3")
    assert "Choice (number" not in person.seen
    assert f"baton decide {run_id} D1" in person.seen
    await person.end()


async def test_a_question_comes_back_with_the_foreground(scripted: Cli, repository: Path, run_id: str) -> None:
    arguments = [str(BATON), "run", "Add pagination", "--repo", str(repository), "--run-id", run_id]
    person = await Terminal.shell(scripted, [*arguments], foreground=True)
    await person.until("Choice (number or words; empty: leave it open): ")
    person.process.send_signal(signal.SIGUSR1)  # the shell takes the terminal back
    await person.until("the shell reads")
    person.type("a line for the shell\n")
    await person.until("the shell has read")
    person.type("2\n\n")
    await person.until("decision D1 answered by")
    person.process.send_signal(signal.SIGUSR2)
    await person.until("ended with 143")
    await person.end()
