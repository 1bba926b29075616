"""The streams of a command: they take any text, wherever they lead, and log lines go by a thread of their own.

Workflow code logs, too. Whatever stands in for `sys.stderr` at that moment (a live display renders and redraws) must
not run in its thread, where the SDK's sandbox forbids clocks and imports: an error raised there would change what
the workflow does.
"""

import io
import os
import queue
import sys
import threading


def fit_streams() -> None:
    """Let stdout and stderr take any text: a closed one leads nowhere, and no encoding makes an error of a word."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the life of the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class LogStream(io.TextIOBase):
    """Takes log lines from any thread; a thread of its own writes them to the current `sys.stderr`."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._write_all, name="log lines", daemon=True).start()

    def write(self, text: str) -> int:
        """Hand over a log line; returns at once."""
        self._lines.put(text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: whoever logs does not wait. `drain` does."""

    def drain(self) -> None:
        """Wait until everything has been written."""
        self._lines.join()

    def _write_all(self) -> None:
        while True:
            text = self._lines.get()
            try:
                sys.stderr.write(text)
                sys.stderr.flush()
            except (OSError, ValueError):
                # Nobody reads any more; log lines are not worth an error.
                pass
            finally:
                self._lines.task_done()


_current: LogStream | None = None


def log_stream() -> LogStream:
    """The stream of this process."""
    global _current
    if _current is None:
        _current = LogStream()
    return _current


def drain_logs() -> None:
    """Wait for the log lines of this process, if there are any."""
    if _current is not None:
        _current.drain()
