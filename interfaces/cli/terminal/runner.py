"""The event loop of a command: signals cancel the command's body, which returns the exit code."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import typer

from baton.errors import ExitCode
from interfaces.cli.terminal.output import write_message
from interfaces.cli.terminal.process_end import end_process

_SETTLE = timedelta(milliseconds=50)
"""Time between the last call and the end: https://github.com/temporalio/sdk-python/issues/300."""


@dataclass
class Farewell:
    """The sentence that a command ends with when it is interrupted. The command changes it as its work goes on."""

    text: str = ""


def run_body(
    body: Coroutine[Any, Any, int | None],
    *,
    farewell: Farewell | None = None,
    terminated: ExitCode = ExitCode.TERMINATED,
) -> NoReturn:
    """Run a command's body and exit with the code that it returns (None: done).

    The first Ctrl-C, SIGTERM or SIGHUP cancels the body, which lets go of worker and server; the second one ends the
    process at once. `terminated` is the exit code after a SIGTERM.
    """
    raise typer.Exit(int(asyncio.run(_run_supervised(body, farewell or Farewell(), terminated)) or ExitCode.DONE))


async def _run_supervised(
    body: Coroutine[Any, Any, int | None], farewell: Farewell, terminated: ExitCode
) -> int | None:
    task = asyncio.ensure_future(body)
    received: list[signal.Signals] = []

    def interrupt(number: signal.Signals) -> None:
        if received:
            end_process(_exit_code(number))
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A signal that the command was started to ignore (`nohup`) stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, interrupt, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        if farewell.text:
            # A terminal shows the ^C itself, at the end of the line that it is in.
            write_message(f"\n{farewell.text}" if sys.stderr.isatty() else farewell.text)
        return terminated if received[0] is signal.SIGTERM else _exit_code(received[0])
    finally:
        if "temporalio" in sys.modules:
            await asyncio.sleep(_SETTLE.total_seconds())


def _exit_code(number: signal.Signals) -> ExitCode:
    """Return the exit code of a command that a signal has ended, as a shell gives it."""
    return ExitCode(128 + number)
