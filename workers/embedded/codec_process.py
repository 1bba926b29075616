"""The process of the codec server beside an embedded server, restarted with a growing backoff when it dies."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from workers.embedded.child_process import die_with_parent
from workers.embedded.server_log import write_note

MAX_WAIT = 600.0
"""Seconds: the longest wait before a restart; each wait is twice the one before."""


class CodecProcess:
    """The codec server on one port; port 0 means that none is needed."""

    def __init__(self, port: int, directory: Path) -> None:
        self._port = port
        self._directory = directory
        self._origins: Sequence[str] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths = 0
        self._next_start = 0.0
        """Earliest time of the next restart (`time.monotonic`)."""

    def ensure_started(self, ui_port: int) -> None:
        """Start the codec server for pages of the Web UI on this port, unless it was started before."""
        if self._port and self._process is None:
            self._origins = [f"http://{host}:{ui_port}" for host in ("127.0.0.1", "localhost")]
            self._start_process()

    def restart_if_dead(self) -> None:
        """Start the codec server again if it has died and its wait is over."""
        if self._process is None or self._process.poll() is None or time.monotonic() <= self._next_start:
            return
        self._deaths += 1
        wait = min(2.0**self._deaths, MAX_WAIT)
        self._next_start = time.monotonic() + wait
        write_note(
            f"the codec server ended with {self._process.returncode} and is started again;"
            f" the next time not before {wait:g} s"
        )
        self._start_process()

    def stop_process(self) -> None:
        """Stop the codec server; a no-op where none was started."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _start_process(self) -> None:
        # Unlike the server's, its environment has the encryption keys.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workers.codec_server", str(self._port), *self._origins],
            stdin=subprocess.DEVNULL,
            cwd=self._directory,
            preexec_fn=die_with_parent(),
        )
