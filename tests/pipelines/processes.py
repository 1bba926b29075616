"""Workers as processes of their own, to be killed."""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from baton.settings import Settings


def environment(settings: Settings, address: str) -> dict[str, str]:
    """The environment of a worker process: these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "ANTHROPIC_"))}
    assert settings.api_key is not None
    assert settings.base_url is not None
    return {
        **kept,
        "BATON_HOME": str(settings.home),
        "ANTHROPIC_API_KEY": settings.api_key.get_secret_value(),
        "ANTHROPIC_BASE_URL": settings.base_url,
        "TEMPORAL_ADDRESS": address,
        "BATON_LOG": settings.log,
        "BATON_LOG_LEVEL": settings.log_level,
        "BATON_DISK_FLOOR_GB": str(settings.disk_floor_gb),
        **({"BATON_STATE_REMOTE": settings.state_remote} if settings.state_remote else {}),
        **_github(settings),
    }


def _github(settings: Settings) -> dict[str, str]:
    """The settings of an App, where there is one."""
    if settings.github_private_key is None:
        return {}
    return {
        "BATON_GITHUB_APP_ID": str(settings.github_app_id),
        "BATON_GITHUB_PRIVATE_KEY": settings.github_private_key.get_secret_value(),
        "BATON_GITHUB_API_URL": settings.github_api_url,
        "BATON_GITHUB_URL": settings.github_url,
        "BATON_GITHUB_WRITES_PER_SECOND": str(settings.github_writes_per_second),
        "BATON_GITHUB_QUIET": str(settings.github_quiet),
    }


class Nursery:
    """`tests.faults.nursery`: forks processes of `baton`, which spares each the two seconds that its imports take."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._begun: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._buffered = b""
        self._number = 0

    def start(self, environment: dict[str, str], log: Path, *command: str) -> tuple[int, int]:
        """Start `baton` with these arguments; the number to ask by, and the id of the process."""
        self._number += 1
        order = {"id": self._number, "environment": environment, "log": str(log), "command": command}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        while self._number not in self._begun:
            self._listen(None)
        return self._number, self._begun[self._number]

    def ended(self, number: int, within: float) -> int | None:
        """The exit code of a process, negative where a signal ended it; None where it lives on so many seconds."""
        deadline = time.monotonic() + within
        while number not in self._ended:
            left = deadline - time.monotonic()
            if not self._listen(max(left, 0)) and left <= 0:
                return None
        return self._ended[number]

    def close(self) -> None:
        """End the nursery, and with it what is left of its processes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _listen(self, within: float | None) -> bool:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], within)[0]:
            return False
        *lines, self._buffered = (self._buffered + self._process.stdout.read(65_536)).split(b"\n")
        for line in lines:
            told = json.loads(line)
            (self._begun if "pid" in told else self._ended)[told["id"]] = told.get("pid", told.get("ended"))
        return True


@cache
def _nursery() -> Nursery:
    """The one of this test process."""
    made = Nursery()
    atexit.register(made.close)
    return made


class WorkerProcess:
    """`baton worker` in a process of its own."""

    def __init__(
        self, settings: Settings, address: str, log: Path, *arguments: str, within: Sequence[str] = ()
    ) -> None:
        """`within`: a command that makes the place it runs in, and runs in it what follows as its arguments."""
        self._within = within
        self._arguments = arguments
        self._settings = settings
        self._address = address
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._number = self._pid = 0

    def start(self) -> None:
        """Start the worker; it polls a second or two later."""
        told = environment(self._settings, self._address)
        if not self._within:
            self._number, self._pid = _nursery().start(told, self._log, "worker", *self._arguments)
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._within, str(Path(sys.executable).with_name("baton")), "worker", *self._arguments],
                env=told,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._pid = self._process.pid

    def kill(self) -> None:
        """SIGKILL: nothing can be tidied up."""
        self._signal(signal.SIGKILL)
        assert self._end(30) is not None

    def pause(self) -> None:
        """SIGSTOP: alive, and yet it does nothing."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT: it goes on where it was, whatever has happened meanwhile."""
        self._signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._pid
        return self._pid

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self._signal(signal.SIGTERM)
        code = self._end(30)
        assert code is not None, "the worker did not end within 30 s"
        return code

    def _signal(self, number: signal.Signals) -> None:
        assert self._pid
        if self._end(0) is None:
            os.kill(self._pid, number)

    def _end(self, within: float) -> int | None:
        if self._process is None:
            return _nursery().ended(self._number, within)
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None
