"""Results of test runners by what they print."""

import pytest

from tests.support.growth import assert_linear
from workspaces.environments.test_report import TestReport, parse_report
from workspaces.environments.trial import Verdict, judge_all, judge_run

OUTPUTS = {
    "pytest": (
        "FAILED tests/test_a.py::test_x - assert 0\nERROR tests/test_b.py - ImportError: no\n"
        "=== 1 failed, 3 passed, 2 skipped, 1 error in 0.21s ===\n"
    ),
    "unittest": (
        "ERROR: test_b (tests.Shop.test_b)\nFAIL: test_a (tests.Shop.test_a)\n"
        "----\nRan 7 tests in 0.001s\n\nFAILED (failures=1, errors=1, skipped=2)\n"
    ),
    "jest": "FAIL src/a.test.js\n  ● sum \u203a adds\n\nTests:       1 failed, 1 skipped, 3 passed, 5 total\n",
    "vitest": " FAIL  src/a.test.ts > sum > adds\n\n      Tests  1 failed | 3 passed | 1 skipped (5)\n",
    "mocha": "  3 passing (4ms)\n  1 pending\n  1 failing\n\n  1) sum\n       adds:\n",
    "node:test": "✖ adds (0.5ms)\n\u2139 pass 3\n\u2139 fail 1\n\u2139 skipped 1\n",
    "cargo": "test sum::adds ... FAILED\n\ntest result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured\n",
    "go": "--- FAIL: TestAdds (0.00s)\nFAIL\nFAIL\texample.org/shop\t0.002s\nok  \texample.org/a\t0.1s\n",
    "maven": "[ERROR]   SumTest.adds:12 expected\n[ERROR] Tests run: 5, Failures: 1, Errors: 0, Skipped: 1\n",
    "rspec": "5 examples, 1 failure, 1 pending\n\nrspec ./spec/sum_spec.rb:3 # adds\n",
    "phpunit": "1) SumTest::testAdds\n\nTests: 5, Assertions: 9, Failures: 1, Skipped: 1.\n",
    "tap": "ok 1 - a\nnot ok 2 - adds\nok 3 - b # SKIP\n",
}


@pytest.mark.parametrize("runner", OUTPUTS)
def test_each_runner_names_what_failed(runner: str) -> None:
    report = parse_report(OUTPUTS[runner])
    assert report.runner == runner
    assert min(report.failed, report.passed) >= 1, report
    assert report.failing
    assert not report.found_none


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("3 passed in 0.01s\n", (3, 0, 0)),
        ("\x1b[32m=== \x1b[1m3 passed\x1b[0m, 1 xfailed in 0.01s ===\x1b[0m\n", (4, 0, 0)),
        ("2 passed in 1s\n...\n1 failed, 1 passed in 1s\n", (3, 1, 0)),
        ("Ran 4 tests in 0.1s\n\nOK\n", (4, 0, 0)),
        ("Tests:       3 passed, 3 total\n", (3, 0, 0)),
        ("1 passed in 0.1s\nbogus\n  12 passing (1s)\n", (12, 0, 0)),
    ],
)
def test_counts(output: str, counts: tuple[int, int, int]) -> None:
    report = parse_report(output)
    assert (report.passed, report.failed, report.skipped) == counts


@pytest.mark.parametrize(
    "output", ["=== no tests ran in 0.00s ===\n", "Ran 0 tests in 0.000s\n\nNO TESTS RAN\n", "No test files found\n"]
)
def test_a_run_without_tests_is_told_apart(output: str) -> None:
    assert parse_report(output).found_none


@pytest.mark.parametrize(
    ("code", "report", "verdict"),
    [
        (0, TestReport(), "green"),
        (0, TestReport(runner="pytest", passed=3), "green"),
        (0, TestReport(runner="mocha"), "untested"),
        (5, TestReport(), "untested"),
        (1, TestReport(runner="pytest", passed=3, failed=1, failing=["a"]), "green_against_base"),
        (1, TestReport(runner="pytest", failed=1, failing=["a"]), "broken_environment"),
        (1, TestReport(), "red"),
        (1, TestReport(runner="go", passed=3, failed=1), "red"),
        (127, TestReport(), "broken_environment"),
    ],
)
def test_the_verdict_of_a_trial(code: int, report: TestReport, verdict: Verdict) -> None:
    assert judge_run(code, report) == verdict


def test_the_worst_verdict_counts() -> None:
    assert judge_all([]) == "untested"
    assert judge_all(["green", "green_against_base"]) == "green_against_base"
    assert judge_all(["green", "red", "untested"]) == "red"


def test_a_long_log_is_read_in_linear_time() -> None:
    def text(size: int) -> str:
        return "FAILED " * size + "\n" * size + "1 passed, " * size

    assert_linear(parse_report, text(2_000), text(4_000))
