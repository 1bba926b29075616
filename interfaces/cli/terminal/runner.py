"""How a command runs and ends: one event loop, signals, errors as one sentence and an exit code, no crash at exit."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import typer

from baton.errors import BatonError, ExitCode, TemporalUnreachable, UsageError
from interfaces.cli.terminal.output import message
from interfaces.cli.terminal.stdio import drain_logs

_SETTLE = 0.05
"""Seconds between the last call and the end: https://github.com/temporalio/sdk-python/issues/300."""

_NO_HOME = "This user's home directory, which `~` stands for, is not known: set HOME, or write the whole path."


def execute(
    body: Coroutine[Any, Any, int | None],
    *,
    farewell: Callable[[], str | None] | None = None,
    terminated: ExitCode = ExitCode.TERMINATED,
) -> NoReturn:
    """Run a command's body and exit with what it returns (None: done).

    The first Ctrl-C, SIGTERM or SIGHUP cancels the body, which lets go of worker and server; the second one ends the
    process at once. `farewell` says, when interrupted, what becomes of the work; `terminated` is the exit code after a
    SIGTERM.
    """
    raise typer.Exit(int(asyncio.run(_supervise(body, farewell, terminated)) or ExitCode.DONE))


async def _supervise(
    body: Coroutine[Any, Any, int | None], farewell: Callable[[], str | None] | None, terminated: ExitCode
) -> int | None:
    task = asyncio.ensure_future(body)
    received: list[signal.Signals] = []

    def interrupt(number: signal.Signals) -> None:
        if received:
            leave(_exit_code(number))
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # What a command was started to ignore (`nohup`), it goes on ignoring.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, interrupt, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        if farewell is not None and (words := farewell()):
            # A terminal shows the ^C itself, at the end of whatever line it is in.
            message(f"\n{words}" if sys.stderr.isatty() else words)
        return terminated if received[0] is signal.SIGTERM else _exit_code(received[0])
    finally:
        if "temporalio" in sys.modules:
            await asyncio.sleep(_SETTLE)


def _exit_code(number: signal.Signals) -> ExitCode:
    """The exit code of a command that a signal has ended, as a shell gives it."""
    return ExitCode(128 + number)


def explain(error: Exception) -> tuple[str, ExitCode] | None:
    """One sentence and an exit code for what can go wrong without a fault in Baton; None for anything else."""
    if isinstance(error, BatonError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}.", ExitCode.FAILED
    if isinstance(error, OSError) and error.errno:
        return f"{error.strerror}.", ExitCode.FAILED
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # of `Path.expanduser` and `Path.home`
        return _NO_HOME, ExitCode.USAGE
    service = sys.modules.get("temporalio.service")
    if service is not None and isinstance(error, service.RPCError):
        status = service.RPCStatusCode
        if error.status in (status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED):
            known = TemporalUnreachable("The Temporal service has stopped answering; try again when it is back.")
            return str(known), known.exit_code
        if error.status in (status.INVALID_ARGUMENT, status.NOT_FOUND):
            return f"The Temporal service refuses this: {error.message}.", UsageError.exit_code
        return f"The Temporal service failed: {error.message}.", ExitCode.FAILED
    client = sys.modules.get("temporalio.client")
    if client is not None and isinstance(error, client.WorkflowQueryFailedError):
        return f"The run's history cannot be read by this version of Baton: {error}.", ExitCode.FAILED
    return None


def leave(code: int) -> NoReturn:
    """End the process at once, with everything written that was said.

    The SDK's threads crash a short-lived process while the interpreter shuts down, so it is not given the chance.
    """
    drain_logs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # The reader has gone (`baton log RUN | head`), or the terminal.
            continue
    os._exit(code)
