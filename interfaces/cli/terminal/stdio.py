"""The streams of a command: stdout and stderr take any text, and log lines are written by a thread of their own.

Workflow code logs, too. The object in place of `sys.stderr` at that moment (a live display renders and redraws) must
not run in its thread, where the SDK's sandbox forbids clocks and imports: an error raised there would change the
course of the workflow.
"""

import io
import os
import queue
import sys
import threading


def prepare_streams() -> None:
    """Let stdout and stderr take any text: a closed stream discards it, and unknown characters become escapes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the life of the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class LogStream(io.TextIOBase):
    """A stream that takes log lines from any thread; a thread of its own writes them to the current `sys.stderr`."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._write_all, name="log lines", daemon=True).start()

    def write(self, text: str) -> int:
        """Queue a log line and return at once."""
        self._lines.put(text)
        return len(text)

    def flush(self) -> None:
        """Return at once: a thread that logs does not wait. `drain` waits."""

    def drain(self) -> None:
        """Wait until all queued lines are written."""
        self._lines.join()

    def _write_all(self) -> None:
        while True:
            text = self._lines.get()
            try:
                sys.stderr.write(text)
                sys.stderr.flush()
            except (OSError, ValueError):
                # The reader is gone; log lines are not worth an error.
                pass
            finally:
                self._lines.task_done()


_current: LogStream | None = None


def log_stream() -> LogStream:
    """Return the log stream of this process."""
    global _current
    if _current is None:
        _current = LogStream()
    return _current


def drain_logs() -> None:
    """Wait until the log lines of this process are written."""
    if _current is not None:
        _current.drain()
