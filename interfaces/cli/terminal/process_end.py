"""The end of a command's process: errors as one sentence and an exit code, and no crash at exit."""

import os
import sys
from typing import NoReturn

from baton.errors import BatonError, ExitCode, TemporalUnreachable, UsageError
from interfaces.cli.terminal.stdio import drain_logs

_NO_HOME = "This user's home directory, which `~` stands for, is not known: set HOME, or write the whole path."


def explain_error(error: Exception) -> tuple[str, ExitCode] | None:
    """Return one sentence and an exit code for an error that is no fault in Baton; None for all others."""
    if isinstance(error, BatonError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}.", ExitCode.FAILED
    if isinstance(error, OSError) and error.errno:
        return f"{error.strerror}.", ExitCode.FAILED
    if isinstance(error, RuntimeError) and "home directory" in str(
        error
    ):  # of `LeftOutPath.expanduser` and `LeftOutPath.home`
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


def end_process(code: int) -> NoReturn:
    """End the process at once, after the streams are flushed.

    The interpreter is not shut down: the SDK's threads crash a short-lived process while that happens.
    """
    drain_logs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # The reader has gone (`baton log RUN | head`), or the terminal.
            continue
    os._exit(code)
