"""Workers as processes of their own, to be killed."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from baton.settings.core import Settings
from tests.conftest import server_environment
from tests.support.forked import BatonProcess, fork_server, inherited_environment
from tests.support.time_limits import HANGS


def environment(settings: Settings, address: str) -> dict[str, str]:
    """The environment of a worker process: these settings and no others."""
    assert settings.api_key is not None
    assert settings.base_url is not None
    return inherited_environment(
        BATON_HOME=str(settings.home),
        ANTHROPIC_API_KEY=settings.api_key.get_secret_value(),
        ANTHROPIC_BASE_URL=settings.base_url,
        **server_environment(address),
        BATON_LOG=settings.log,
        BATON_LOG_LEVEL=settings.log_level,
        BATON_MAX_ACTIVITIES=str(settings.max_activities),
        BATON_DISK_FLOOR_GB=str(settings.disk_floor_gb),
        **({"BATON_STATE_REMOTE": settings.state_remote} if settings.state_remote else {}),
        **_github(settings),
    )


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
        self._process: subprocess.Popen[bytes] | BatonProcess | None = None

    def start(self) -> None:
        """Start the worker; it polls a second or two later."""
        told = environment(self._settings, self._address)
        if not self._within:
            self._process = fork_server().start_logged(
                told, self._log, be="baton", arguments=["worker", *self._arguments]
            )
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._within, str(Path(sys.executable).with_name("baton")), "worker", *self._arguments],
                env=told,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """SIGKILL: nothing can be tidied up."""
        self._signal(signal.SIGKILL)
        assert self._end(HANGS.total_seconds()) is not None

    def pause(self) -> None:
        """SIGSTOP: alive, and yet it does nothing."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT: it goes on where it was, whatever has happened meanwhile."""
        self._signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._started.pid

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self._signal(signal.SIGTERM)
        code = self._end(HANGS.total_seconds())
        assert code is not None, "the worker does not end"
        return code

    @property
    def _started(self) -> subprocess.Popen[bytes] | BatonProcess:
        assert self._process is not None
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        self._started.send_signal(number)

    def _end(self, within: float) -> int | None:
        process = self._started
        if isinstance(process, BatonProcess):
            return process.wait_for_exit(within)
        try:
            return process.wait(within)
        except subprocess.TimeoutExpired:
            return None
