"""A trial of a project's tests on a commit, in its environment and without a network: counts, and names of failures.

The trial on the base commit is what a later verdict compares with.
"""

import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from system.safe_directory import clear_away
from system.uncancellable import run_in_thread
from workspaces.environments.environment import Checkout, Environment
from workspaces.environments.test_report import TestReport, parse_report
from workspaces.sandbox.command import SandboxCommand
from workspaces.sandbox.sandbox import Sandbox

Verdict = Literal["green", "green_against_base", "red", "untested", "broken_environment"]

_CANNOT_RUN = (126, 127)
_PYTEST_NONE = 5
_MAX_LOG = 20_000_000
_TAIL = 6_000

REPORTING = {
    # Behind a project's own `addopts`, so that it holds: https://docs.pytest.org/en/stable/reference/customize.html
    "PYTEST_ADDOPTS": "-rfE --color=no --continue-on-collection-errors -p no:cacheprovider",
    "FORCE_COLOR": "0",
    "CI": "true",
}
"""Variables by which runners name the tests that fail; no project is changed for it."""


class TestRun(BaseModel):
    """How one test command went."""

    __test__ = False

    command: str
    exit_code: int
    seconds: float
    timed_out: bool = False
    verdict: Verdict
    report: TestReport = Field(default_factory=TestReport)
    output: str = ""
    """The end of its output."""
    exceeded: str = ""


def judge_run(exit_code: int, report: TestReport, *, timed_out: bool = False) -> Verdict:
    """Judge one test command on the base commit: which of its failures a later run can be compared with."""
    if exit_code in _CANNOT_RUN:
        return "broken_environment"
    if report.found_none or (exit_code == _PYTEST_NONE and report.runner in ("", "pytest")):
        return "untested"
    if exit_code == 0:
        return "green"
    if timed_out or not report.failing:
        return "red"
    if not report.passed:
        return "broken_environment" if report.runner == "pytest" else "red"
    return "green_against_base"


def judge_all(verdicts: Sequence[Verdict]) -> Verdict:
    """Join the verdicts of several commands: the worst one counts, and none at all is `untested`."""
    order: tuple[Verdict, ...] = ("broken_environment", "red", "untested", "green_against_base", "green")
    return min(verdicts, key=order.index, default="untested")


async def try_tests(
    command: str,
    environment: Environment,
    checkout: Checkout,
    sandbox: Sandbox,
    home: Path,
    *,
    timeout: timedelta,
) -> TestRun:
    """Run one test command in a fresh checkout with the environment beneath it; its directory is removed afterwards.

    Raises SandboxUnavailable, DiskFull, WorkspaceError.
    """
    parent = home / "trials"
    await run_in_thread(parent.mkdir, parents=True, exist_ok=True, mode=0o700)
    place = Path(await run_in_thread(tempfile.mkdtemp, dir=parent))
    log = place / "log"
    try:
        (place / "home").mkdir()
        await checkout(place / "work")
        done = await sandbox.run_command(
            SandboxCommand(
                argv=command,
                workspace=place / "work",
                layer=environment.tree,
                home=place / "home",
                home_layer=environment.home,
                env={**environment.env, **REPORTING},
                search_path=environment.search_path,
                timeout=timeout,
                output_limit=_TAIL,
            ),
            log=log,
        )
        text = await run_in_thread(_read_log, log)
    finally:
        await run_in_thread(clear_away, place)
    report = parse_report(text)
    return TestRun(
        command=command,
        exit_code=done.exit_code,
        seconds=round(done.seconds, 3),
        timed_out=done.timed_out,
        verdict=judge_run(done.exit_code, report, timed_out=done.timed_out),
        report=report,
        output=done.output[-_TAIL:],
        exceeded=done.exceeded,
    )


def _read_log(log: Path) -> str:
    with log.open("rb") as file:
        size = log.stat().st_size
        file.seek(max(0, size - _MAX_LOG))
        return file.read().decode(errors="replace")
