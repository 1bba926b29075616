"""Results of a test command by its output: counts, and the names of the tests that failed. Pure.

Each runner is known by the lines with which it closes. The output was written by a repository's own code: it names
tests, and the exit code decides.
"""

import re
from collections.abc import Iterable

from pydantic import BaseModel, Field

MAX_FAILING = 5_000
_MAX_NAME = 500

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class TestReport(BaseModel):
    """The counts and failing tests that a test command printed; no counts where its runner is not known."""

    __test__ = False

    runner: str = ""
    """Empty where the output is of no runner that is known."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failing: list[str] = Field(default_factory=list)
    """Names of tests, as their runner writes them."""

    @property
    def found_none(self) -> bool:
        """Whether a known runner ran no test at all."""
        return bool(self.runner) and not (self.passed or self.failed or self.skipped)


_COUNTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("pytest", re.compile(r"^=* ?(?:\d+ \w+(?:, )?)+ in [\d.:]+s?.*$|^=* ?no tests ran in .*$", re.MULTILINE)),
    ("unittest", re.compile(r"^Ran \d+ tests? in [\d.]+s\n+(?:OK|FAILED|NO TESTS RAN).*$", re.MULTILINE)),
    ("jest", re.compile(r"^Tests: +.*\d+ total$", re.MULTILINE)),
    ("vitest", re.compile(r"^ *Tests  +.*\(\d+\)$|^.*No test files found.*$", re.MULTILINE)),
    ("mocha", re.compile(r"^ *\d+ (?:passing|failing|pending)\b.*$", re.MULTILINE)),
    ("node:test", re.compile(r"^(?:#|\u2139) (?:pass|fail|skipped) \d+$", re.MULTILINE)),
    ("ava", re.compile(r"^ *\d+ tests? (?:passed|failed|skipped)$", re.MULTILINE)),
    ("cargo", re.compile(r"^test result: .*$", re.MULTILINE)),
    ("maven", re.compile(r"^(?:\[\w+\] )?Tests run: \d+, Failures: \d+, Errors: \d+, Skipped: \d+$", re.MULTILINE)),
    ("gradle", re.compile(r"^\d+ tests? completed.*$", re.MULTILINE)),
    ("rspec", re.compile(r"^\d+ examples?, \d+ failures?.*$", re.MULTILINE)),
    ("minitest", re.compile(r"^\d+ runs, \d+ assertions, .*$", re.MULTILINE)),
    ("phpunit", re.compile(r"^OK \(\d+ tests?.*$|^Tests: \d+, Assertions: .*$", re.MULTILINE)),
    ("dotnet", re.compile(r"^(?:Passed|Failed)! +- Failed: .*$", re.MULTILINE)),
    ("go", re.compile(r"^(?:ok +\t|FAIL\t|--- (?:PASS|FAIL|SKIP): ).*$", re.MULTILINE)),
    ("tap", re.compile(r"^(?:not )?ok \d+\b.*$", re.MULTILINE)),
)

_NUMBERS: dict[str, tuple[str, str, str]] = {
    "pytest": (r"(\d+) (?:passed|xfailed|xpassed)", r"(\d+) (?:failed|errors?)", r"(\d+) (?:skipped|deselected)"),
    "jest": (r"(\d+) passed", r"(\d+) failed", r"(\d+) (?:skipped|todo)"),
    "vitest": (r"(\d+) passed", r"(\d+) failed", r"(\d+) (?:skipped|todo)"),
    "mocha": (r"(\d+) passing", r"(\d+) failing", r"(\d+) pending"),
    "node:test": (r"pass (\d+)", r"fail (\d+)", r"skipped (\d+)"),
    "ava": (r"(\d+) tests? passed", r"(\d+) tests? failed", r"(\d+) tests? skipped"),
    "cargo": (r"(\d+) passed", r"(\d+) failed", r"(\d+) ignored"),
    "dotnet": (r"Passed: +(\d+)", r"Failed: +(\d+)", r"Skipped: +(\d+)"),
}
_OF_ALL: dict[str, tuple[str, str, str]] = {
    # Here the number of all tests is told, and those that passed are the rest.
    "unittest": (r"Ran (\d+) tests?", r"(?:failures|errors|unexpected successes)=(\d+)", r"skipped=(\d+)"),
    "maven": (r"Tests run: (\d+)", r"(?:Failures|Errors): (\d+)", r"Skipped: (\d+)"),
    "gradle": (r"(\d+) tests? completed", r"(\d+) failed", r"(\d+) skipped"),
    "rspec": (r"(\d+) examples?", r"(\d+) (?:failures?|errors? occurred)", r"(\d+) pending"),
    "minitest": (r"(\d+) runs", r"(\d+) (?:failures|errors)", r"(\d+) skips"),
    "phpunit": (r"(?:Tests: |OK \()(\d+)", r"(?:Failures|Errors): (\d+)", r"Skipped: (\d+)"),
}

_FAILING: dict[str, tuple[str, ...]] = {
    "pytest": (r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$",),
    "unittest": (r"^(?:FAIL|ERROR): (.+)$",),
    "jest": (r"^ +\u25cf (.+ \u203a .+|Test suite failed to run)$", r"^FAIL +(\S+)"),
    "vitest": (r"^ *(?:FAIL|\u00d7) +(\S.+?)(?: +\d+ms)?$",),
    "mocha": (r"^ +\d+\) (\S.*)$",),
    "node:test": (r"^ *not ok \d+ - (.+)$", r"^ *\u2716 (.+?)(?: \([\d.]+ms\))?$"),
    "ava": (r"^ *\u2718 \[fail\]: (.+)$",),
    "cargo": (r"^test (\S+) \.\.\. FAILED$", r"^---- (\S+) stdout ----$"),
    "maven": (r"^\[ERROR\] +([\w.$]+[.:]\w+).*$",),
    "gradle": (r"^(\S.* > .+) FAILED$",),
    "rspec": (r"^rspec (\S+)",),
    "minitest": (r"^(?:Failure|Error):\n(\S+)",),
    "phpunit": (r"^\d+\) (\S.*)$",),
    "dotnet": (r"^ +Failed (\S+)",),
    "go": (r"^ *--- FAIL: (\S+)", r"^FAIL\s+(\S+)"),
    "tap": (r"^ *not ok \d+ -? ?(.+?)(?: # .*)?$",),
}


def parse_report(output: str) -> TestReport:
    """Read the results out of the output of a test command; of several runners the one with the most tests counts.

    A command that calls its runner several times is added up.
    """
    plain = _ANSI.sub("", output).replace("\r\n", "\n")
    best = TestReport()
    for runner, closing in _COUNTS:
        closings = [match[0] for match in closing.finditer(plain)]
        if not closings:
            continue
        passed, failed, skipped = _count(runner, closings)
        failing = _unique(match for pattern in _FAILING[runner] for match in _found(pattern, plain))
        report = TestReport(
            runner=runner, passed=passed, failed=max(failed, 0), skipped=skipped, failing=failing if failed else []
        )
        if not best.runner or (report.passed + report.failed) > (best.passed + best.failed):
            best = report
    return best


def _count(runner: str, closings: list[str]) -> tuple[int, int, int]:
    if runner == "go":
        passed = sum(line.startswith(("ok", "--- PASS")) and "no test files" not in line for line in closings)
        return passed, sum(line.startswith(("FAIL", "--- FAIL")) for line in closings), 0
    if runner == "tap":
        skipped = sum(bool(re.search(r"# (?:skip|todo)", line, re.IGNORECASE)) for line in closings)
        failed = sum(line.startswith("not ok") and "# " not in line for line in closings)
        return len(closings) - failed - skipped, failed, skipped
    text = "\n".join(closings)
    numbers = _NUMBERS.get(runner) or _OF_ALL[runner]
    first, failed, skipped = (sum(map(int, re.findall(pattern, text))) for pattern in numbers)
    return (first if runner in _NUMBERS else max(0, first - failed - skipped)), failed, skipped


def _found(pattern: str, text: str) -> Iterable[str]:
    return (match[1].strip()[:_MAX_NAME] for match in re.finditer(pattern, text, re.MULTILINE))


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))[:MAX_FAILING]
