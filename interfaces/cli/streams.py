"""A stream for log lines that follows `sys.stderr`, which a live display replaces while it is shown."""

import io
import sys


class CurrentStderr(io.TextIOBase):
    """Writes to whatever `sys.stderr` is at that moment."""

    def write(self, text: str) -> int:
        """Write a part of a log line."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Hand on what was written."""
        sys.stderr.flush()
